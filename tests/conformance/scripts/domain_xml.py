"""Defining, redefining and describing domains; documents that are refused, and what is said of them."""

from types import ModuleType
from typing import Any

from tests.support.recording import Recorder

UUID = "11111111-2222-3333-4444-555555555555"
FULL = f"""<domain type='test'>
  <name>full</name>
  <uuid>{UUID}</uuid>
  <title>A title</title>
  <description>Words &amp; more</description>
  <metadata><app:x xmlns:app="http://example.org/app">1</app:x></metadata>
  <memory unit='MiB'>64</memory>
  <currentMemory unit='KiB'>32768</currentMemory>
  <vcpu current='1'>4</vcpu>
  <os><type arch='i686'>hvm</type><boot dev='cdrom'/><boot dev='hd'/></os>
  <features><acpi/><apic/></features>
  <clock offset='localtime'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>preserve</on_crash>
  <devices>
    <disk type='file' device='disk'><source file='/a.img'/><target dev='vda' bus='virtio'/></disk>
    <interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/></interface>
    <console type='pty'/>
  </devices>
</domain>"""
MINIMAL = (f"<domain type='test'><name>m</name><uuid>{UUID}</uuid><memory>1024</memory>"
           "<os><type>hvm</type></os></domain>")
BAD = {
    "empty": "",
    "text": "hello",
    "unclosed": "<domain>",
    "mismatch": "<domain></network>",
    "another root": "<network/>",
    "no type": "<domain><name>m</name></domain>",
    "unknown type": MINIMAL.replace("'test'", "'nonsense'"),
    "other type": MINIMAL.replace("'test'", "'qemu'"),
    "no name": MINIMAL.replace("<name>m</name>", ""),
    "empty name": MINIMAL.replace(">m<", "><"),
    "slash in name": MINIMAL.replace(">m<", ">a/b<"),
    "newline in name": MINIMAL.replace(">m<", ">a\nb<"),
    "blank name": MINIMAL.replace(">m<", ">  <"),
    "bad uuid": MINIMAL.replace(UUID, "zz"),
    "no memory": MINIMAL.replace("<memory>1024</memory>", ""),
    "memory words": MINIMAL.replace(">1024<", ">lots<"),
    "memory unit": MINIMAL.replace("<memory>", "<memory unit='elephants'>"),
    "memory zero": MINIMAL.replace(">1024<", ">0<"),
    "memory negative": MINIMAL.replace(">1024<", ">-1<"),
    "no os": MINIMAL.replace("<os><type>hvm</type></os>", ""),
    "unknown os": MINIMAL.replace("hvm", "nonsense"),
    "unknown arch": MINIMAL.replace("<type>", "<type arch='nonsense'>"),
    "vcpu zero": MINIMAL.replace("<os>", "<vcpu>0</vcpu><os>"),
    "vcpu words": MINIMAL.replace("<os>", "<vcpu>x</vcpu><os>"),
    "vcpu current above": MINIMAL.replace("<os>", "<vcpu current='3'>2</vcpu><os>"),
    "unknown boot": MINIMAL.replace("</os>", "<boot dev='x'/></os>"),
    "unknown action": MINIMAL.replace("<os>", "<on_crash>x</on_crash><os>"),
    "unknown clock": MINIMAL.replace("<os>", "<clock offset='x'/><os>"),
    "disk without target": MINIMAL.replace("</domain>", "<devices><disk type='file'/></devices></domain>"),
    "disk bus": MINIMAL.replace(
        "</domain>", "<devices><disk type='file'><target dev='a' bus='x'/></disk></devices></domain>"),
    "interface type": MINIMAL.replace("</domain>", "<devices><interface type='x'/></devices></domain>"),
    "interface mac": MINIMAL.replace(
        "</domain>", "<devices><interface type='user'><mac address='x'/></interface></devices></domain>"),
    "id not a number": MINIMAL.replace("type='test'", "type='test' id='x'"),
}


def run(libvirt: ModuleType, uri: str) -> dict[str, Any]:
    """Documents in, documents out."""
    r = Recorder(libvirt)
    conn = libvirt.open(uri)
    r.section("the first domain")
    dom = conn.lookupByName("test")
    describe(r, libvirt, dom)
    r.section("minimal")
    dom = r.call(conn, "defineXML", MINIMAL, label="defineXML")
    describe(r, libvirt, dom)
    r.call(dom, "undefine")
    r.section("full")
    dom = r.call(conn, "defineXML", FULL, label="defineXML")
    describe(r, libvirt, dom)
    r.call(dom, "create")
    r.call(dom, "XMLDesc", libvirt.VIR_DOMAIN_XML_INACTIVE, label="XMLDesc INACTIVE while running")
    r.section("redefinition")
    r.call(conn, "defineXML", FULL.replace("A title", "Another title"), label="same name and UUID")
    r.call(dom, "XMLDesc", libvirt.VIR_DOMAIN_XML_INACTIVE, keep=lambda xml: "Another title" in xml,
           label="inactive changed")
    r.call(dom, "XMLDesc", 0, keep=lambda xml: "Another title" in xml, label="active changed")
    r.call(dom, "isUpdated")
    r.call(conn, "defineXML", FULL.replace(UUID, UUID[:-1] + "6"), label="same name, other UUID")
    r.call(conn, "defineXML", FULL.replace(">full<", ">other<"), label="other name, same UUID")
    r.call(conn, "createXML", FULL, 0, label="create what is running")
    r.call(conn, "defineXML", FULL.replace(f"<uuid>{UUID}</uuid>", ""), label="same name without UUID",
           keep=lambda found: found.name())
    r.section("generated")
    dom = r.call(conn, "defineXML", MINIMAL.replace(f"<uuid>{UUID}</uuid>", ""), label="no UUID",
                 keep=lambda found: (found.name(), len(found.UUIDString()), len(found.UUID())))
    r.call(dom, "undefine")
    for name in ("full", "other"):
        clear(libvirt, conn, name)
    r.section("refused")
    for name, xml in BAD.items():
        for method in ("defineXML", "createXML"):
            dom = r.call(conn, method, xml, label=f"{name}, {method}")
            if dom is not None:
                clear(libvirt, conn, dom.name())
    r.call(conn, "listAllDomains")
    return r.steps


def clear(libvirt: ModuleType, conn: Any, name: str) -> None:
    """Away with a domain, whatever its state."""
    for step in ("destroy", "undefine"):
        try:
            getattr(conn.lookupByName(name), step)()
        except libvirt.libvirtError:
            continue


def describe(r: Recorder, libvirt: ModuleType, dom: Any) -> None:
    """Everything that reads a domain."""
    r.call(dom, "XMLDesc")
    for name in ("INACTIVE", "SECURE", "UPDATE_CPU", "MIGRATABLE"):
        r.call(dom, "XMLDesc", getattr(libvirt, f"VIR_DOMAIN_XML_{name}"), label=f"XMLDesc {name}")
    r.call(dom, "info", keep=lambda info: (info[:4], isinstance(info[4], int)))
    for method in ("state", "name", "UUIDString", "isActive", "isPersistent", "isUpdated", "OSType", "maxMemory",
                   "maxVcpus", "autostart", "hasManagedSaveImage", "hasCurrentSnapshot", "snapshotNum", "schedulerType",
                   "controlInfo", "vcpusFlags", "fsInfo", "jobInfo", "hostname", "diskErrors", "securityLabel",
                   "memoryStats"):
        r.call(dom, method)
    r.call(dom, "metadata", libvirt.VIR_DOMAIN_METADATA_TITLE, None)
    r.call(dom, "metadata", libvirt.VIR_DOMAIN_METADATA_DESCRIPTION, None)
    r.call(dom, "setAutostart", 1)
    r.call(dom, "autostart")
    r.call(dom, "setAutostart", 0)
    r.call(dom, "autostart")
