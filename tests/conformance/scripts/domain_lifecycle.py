"""Every change of state from every state: which are allowed, what the others answer, and what state follows."""

from types import ModuleType
from typing import Any

from tests.support.recording import Recorder

XML = """<domain type='test'>
  <name>life</name>
  <uuid>11111111-2222-3333-4444-555555555555</uuid>
  <memory unit='KiB'>65536</memory>
  <vcpu>2</vcpu>
  <os><type arch='i686'>hvm</type></os>
</domain>"""
ACTIONS = (("create",), ("createWithFlags", 0), ("createWithFlags", 1), ("suspend",), ("resume",), ("shutdown",),
           ("shutdownFlags", 0), ("reboot", 0), ("reset", 0), ("destroy",), ("destroyFlags", 0), ("destroyFlags", 1),
           ("undefine",), ("undefineFlags", 0), ("managedSave", 0), ("setAutostart", 1))
# How to come to each state from a domain that is defined and shut off.
STATES = {"shutoff": (), "running": ("create",), "paused": ("create", "suspend"), "shut down": ("create", "shutdown"),
          "undefined": ("undefine",), "transient": ("create", "undefine")}


def run(libvirt: ModuleType, uri: str) -> dict[str, Any]:
    """The table of states and actions, then starts of other kinds."""
    r = Recorder(libvirt)
    conn = libvirt.open(uri)
    for state, path in STATES.items():
        for action, *arguments in ACTIONS:
            r.section(f"{state}, {action}({', '.join(map(str, arguments))})")
            dom = conn.defineXML(XML)
            for step in path:
                getattr(dom, step)()
            r.call(dom, action, *arguments, label="answer")
            observe(r, conn, dom)
            clear(libvirt, conn)
    starts(r, libvirt, conn)
    flags(r, conn)
    return r.steps


def observe(r: Recorder, conn: Any, dom: Any) -> None:
    """What can be seen of a domain afterwards; ids are counted by the library and not compared."""
    r.call(dom, "state")
    r.call(dom, "isActive")
    r.call(dom, "isPersistent")
    r.call(dom, "ID", keep=lambda number: number > 0)
    r.call(conn, "listAllDomains")


def clear(libvirt: ModuleType, conn: Any) -> None:
    """Away with the domain, whatever its state."""
    for step in ("destroy", "undefine"):
        try:
            dom = conn.lookupByName("life")
            dom.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE) if step == "undefine" else dom.destroy()
        except libvirt.libvirtError:
            continue


def starts(r: Recorder, libvirt: ModuleType, conn: Any) -> None:
    """createXML and createWithFlags with flags; a transient domain is gone when it stops."""
    for name in ("NONE", "START_PAUSED", "START_AUTODESTROY", "START_BYPASS_CACHE", "START_FORCE_BOOT",
                 "START_VALIDATE"):
        value = getattr(libvirt, f"VIR_DOMAIN_{name}")
        r.section(f"createXML {name}")
        dom = r.call(conn, "createXML", XML, value, label="answer")
        if dom is not None:
            observe(r, conn, dom)
            r.call(conn, "createXML", XML, 0, label="once more")
            for method in ("destroy", "name", "info"):
                r.call(dom, method)
        clear(libvirt, conn)
        r.section(f"createWithFlags {name}")
        dom = conn.defineXML(XML)
        r.call(dom, "createWithFlags", value, label="answer")
        observe(r, conn, dom)
        clear(libvirt, conn)
    r.section("createLinux")
    r.call(conn, "createLinux", XML, 0, label="answer")
    clear(libvirt, conn)


def flags(r: Recorder, conn: Any) -> None:
    """Flags that no call knows, and types that none takes."""
    r.section("unknown flags")
    dom = conn.lookupByName("test")
    for method in ("reboot", "reset", "shutdownFlags", "destroyFlags", "createWithFlags", "undefineFlags", "state",
                   "XMLDesc", "managedSave", "hasManagedSaveImage"):
        r.call(dom, method, 1 << 29)
    r.call(conn, "createXML", XML, 1 << 29, label="createXML")
    r.call(conn, "defineXMLFlags", XML, 1 << 29, label="defineXMLFlags")
    r.section("wrong types")
    for method in ("reboot", "setAutostart", "createWithFlags", "XMLDesc", "setMemory", "setVcpus"):
        r.call(dom, method, "x")
        r.call(dom, method, None)
    r.call(conn, "createXML", 5)
    r.call(conn, "defineXML", None)
