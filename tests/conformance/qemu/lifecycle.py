"""The life of a machine under QEMU: every change of state from every state, documents, lists, autostart, events.

No guest system runs in it, so that what is seen is the hypervisor's doing alone. ``qemu/lifecycle.json`` holds what
libvirt 9.0.0's own daemon answered.
"""

from types import ModuleType
from typing import Any

from tests.support.recording import Recorder

UUID = "11111111-2222-3333-4444-666666666666"
XML = f"""<domain type='qemu'>
  <name>virtbus-life</name>
  <uuid>{UUID}</uuid>
  <description>once</description>
  <memory unit='KiB'>65536</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
</domain>"""
ACTIONS = (("create",), ("createWithFlags", 0), ("createWithFlags", 1 << 29), ("suspend",), ("resume",), ("shutdown",),
           ("shutdownFlags", 0), ("reboot", 0), ("reset", 0), ("destroy",), ("destroyFlags", 1), ("undefine",),
           ("undefineFlags", 0), ("setAutostart", 1), ("setAutostart", 0), ("maxVcpus",), ("vcpusFlags", 0),
           ("vcpusFlags", 1), ("vcpusFlags", 2), ("vcpusFlags", 5), ("vcpusFlags", 6))
# How to come to each state from a domain that is defined and shut off.
STATES = {"shutoff": (), "running": ("create",), "paused": ("create", "suspend"), "undefined": ("undefine",),
          "transient": ("create", "undefine"), "destroyed": ("create", "destroy")}
KINDS = ("ACTIVE", "INACTIVE", "PERSISTENT", "TRANSIENT", "RUNNING", "PAUSED", "SHUTOFF", "OTHER", "AUTOSTART",
         "NO_AUTOSTART", "MANAGEDSAVE", "NO_MANAGEDSAVE", "HAS_SNAPSHOT", "NO_SNAPSHOT")
# What tells a running domain's document from a definition, and one definition from the other.
MARKS = ("<domain type='qemu' id=", "once", "twice", "<emulator>", "<alias", "<seclabel", "<memballoon")
Events = list[tuple[Any, ...]]


def run(libvirt: ModuleType, uri: str) -> dict[str, Any]:
    """All of it."""
    r = Recorder(libvirt)
    libvirt.virEventRegisterDefaultImpl()
    conn = libvirt.open(uri)
    for state, path in STATES.items():
        dom = prepared(libvirt, conn, path)
        for action, *arguments in ACTIONS:
            r.section(f"{state}, {action}({', '.join(map(str, arguments))})")
            before = snapshot(libvirt, dom)
            r.call(dom, action, *arguments, label="answer")
            observe(r, conn, dom)
            if snapshot(libvirt, dom) != before:
                dom = prepared(libvirt, conn, path)
    starts(r, libvirt, conn)
    documents(r, libvirt, conn)
    lists(r, libvirt, conn)
    events(r, libvirt, conn)
    clear(libvirt, conn)
    r.call(conn, "close", keep=lambda references: references >= 0)
    return r.steps


def prepared(libvirt: ModuleType, conn: Any, path: tuple[str, ...]) -> Any:
    """The domain, freshly brought to a state."""
    clear(libvirt, conn)
    dom = conn.defineXML(XML)
    for step in path:
        getattr(dom, step)()
    return dom


def snapshot(libvirt: ModuleType, dom: Any) -> Any:
    """What of a domain an action can change."""
    try:
        return dom.state(), dom.isPersistent(), dom.autostart()
    except libvirt.libvirtError as error:
        return error.get_error_code()


def observe(r: Recorder, conn: Any, dom: Any) -> None:
    """What can be seen of a domain."""
    r.call(dom, "state")
    r.call(dom, "isActive")
    r.call(dom, "isPersistent")
    r.call(dom, "autostart")
    r.call(conn, "listAllDomains")


def clear(libvirt: ModuleType, conn: Any) -> None:
    """Away with the domain, whatever its state."""
    for step in ("destroy", "undefine"):
        try:
            getattr(conn.lookupByUUIDString(UUID), step)()
        except libvirt.libvirtError:
            continue


def starts(r: Recorder, libvirt: ModuleType, conn: Any) -> None:
    """Paused starts, transient domains, and starting what runs."""
    r.section("start paused")
    dom = prepared(libvirt, conn, ())
    r.call(dom, "createWithFlags", libvirt.VIR_DOMAIN_START_PAUSED)
    observe(r, conn, dom)
    r.call(dom, "resume")
    observe(r, conn, dom)
    r.section("transient")
    clear(libvirt, conn)
    dom = r.call(conn, "createXML", XML, 0, label="createXML")
    observe(r, conn, dom)
    r.call(conn, "createXML", XML, 0, label="createXML again")
    r.call(conn, "createXML", XML, 1 << 29, label="unknown flags")
    r.call(conn, "defineXML", XML, label="define the running one")
    observe(r, conn, dom)
    r.call(dom, "undefine")
    r.call(dom, "destroy")
    r.call(dom, "info")
    r.call(conn, "lookupByUUIDString", UUID)
    r.call(conn, "lookupByName", "virtbus-life")
    r.call(conn, "lookupByID", 9999)
    r.section("conflicts")
    dom = prepared(libvirt, conn, ())
    for method in ("defineXML", "createXML"):
        rest = (0,) if method == "createXML" else ()
        r.call(conn, method, XML.replace(UUID, UUID[:-1] + "7"), *rest, label=f"{method}, same name, other UUID")
        r.call(conn, method, XML.replace("-life", "-other"), *rest, label=f"{method}, other name, same UUID")
    r.call(conn, "defineXML", XML.replace("'qemu'", "'xen'"), label="another hypervisor")


def documents(r: Recorder, libvirt: ModuleType, conn: Any) -> None:
    """Which of two definitions each flag shows; running and shut off."""
    for state, path in (("shut off", ()), ("running", ("create",))):
        r.section(f"documents, {state}")
        dom = prepared(libvirt, conn, path)
        r.call(dom, "isUpdated")
        conn.defineXML(XML.replace("once", "twice"))
        r.call(dom, "isUpdated", label="isUpdated after defineXML")
        for name in (None, "INACTIVE", "SECURE", "MIGRATABLE", "UPDATE_CPU"):
            label = f"XMLDesc {name}"
            xml = r.call(dom, "XMLDesc", getattr(libvirt, f"VIR_DOMAIN_XML_{name}") if name else 0, label=label,
                         keep=not_empty)
            for mark in MARKS:
                r.note(f"{label}, {mark}", xml is not None and mark in xml)
        r.call(dom, "XMLDesc", 1 << 29)
        for method in ("OSType", "maxMemory", "name", "UUIDString"):
            r.call(dom, method)
        r.call(dom, "info", keep=lambda info: [info[0], info[1], info[3]])
        r.call(dom, "reset", 1)
        r.call(dom, "state", 1 << 29)


def not_empty(text: str) -> bool:
    """A document is compared by its marks."""
    return len(text) > 0


def lists(r: Recorder, libvirt: ModuleType, conn: Any) -> None:
    """Each filter of listAllDomains for each state."""
    for state in ("shutoff", "running", "paused", "transient"):
        r.section(f"lists, {state}")
        prepared(libvirt, conn, STATES[state])
        for kind in KINDS:
            r.call(conn, "listAllDomains", getattr(libvirt, f"VIR_CONNECT_LIST_DOMAINS_{kind}"), label=kind)
        for method in ("numOfDomains", "numOfDefinedDomains", "listDefinedDomains"):
            r.call(conn, method)
        r.call(conn, "listDomainsID", keep=len)
    r.call(conn, "listAllDomains", 1 << 29)


def events(r: Recorder, libvirt: ModuleType, conn: Any) -> None:
    """The lifecycle events that follow each action, in their order."""
    r.section("events")
    clear(libvirt, conn)
    seen: Events = []
    number = conn.domainEventRegisterAny(
        None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
        lambda connection, domain, event, detail, opaque: seen.append((domain.name(), event, detail)), None)
    dom = act(r, libvirt, conn, seen, conn, "defineXML", XML)
    for step in ("create", "suspend", "resume", "suspend", "resume", "destroy", "setAutostart", "undefine"):
        act(r, libvirt, conn, seen, dom, step, *((1,) if step == "setAutostart" else ()))
    dom = act(r, libvirt, conn, seen, conn, "defineXML", XML)
    act(r, libvirt, conn, seen, dom, "createWithFlags", libvirt.VIR_DOMAIN_START_PAUSED)
    act(r, libvirt, conn, seen, conn, "defineXML", XML)
    act(r, libvirt, conn, seen, dom, "undefine")
    act(r, libvirt, conn, seen, dom, "destroy")
    dom = act(r, libvirt, conn, seen, conn, "createXML", XML, 0)
    act(r, libvirt, conn, seen, dom, "destroy")
    conn.domainEventDeregisterAny(number)


def act(r: Recorder, libvirt: ModuleType, conn: Any, seen: Events, target: Any, method: str, *arguments: Any) -> Any:
    """One action and the events that follow it; those of a thing that is made afterwards come last."""
    result = r.call(target, method, *arguments, label=method)
    fence = conn.defineXML(XML.replace("-life", "-fence").replace(UUID, UUID[:-1] + "8"))
    fence.undefine()
    late: list[int] = []
    timer = libvirt.virEventAddTimeout(20_000, lambda number, opaque: late.append(number), None)
    while not late and ("virtbus-fence", libvirt.VIR_DOMAIN_EVENT_UNDEFINED, 0) not in seen:
        libvirt.virEventRunDefaultImpl()
    libvirt.virEventRemoveTimeout(timer)
    r.note(f"events of {method}", [event for event in seen if event[0] == "virtbus-life"])
    seen.clear()
    return result
