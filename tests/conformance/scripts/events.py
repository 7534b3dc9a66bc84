"""Events of domains, networks and pools through the default loop: what comes, in which order, with what arguments."""

from types import ModuleType
from typing import Any

from tests.support.recording import Recorder

UUID = "11111111-2222-3333-4444-555555555555"
DOMAIN = (f"<domain type='test'><name>e</name><uuid>{UUID}</uuid><memory>1024</memory>"
          "<os><type>hvm</type></os></domain>")
NETWORK = "<network><name>e</name><bridge name='virbr9'/></network>"
POOL = "<pool type='dir'><name>e</name><target><path>/virtbus-e</path></target></pool>"
FENCES = {
    "DOMAIN": ("defineXML", DOMAIN.replace(">e<", ">fence<").replace(UUID, UUID[:-1] + "6")),
    "NETWORK": ("networkDefineXML", "<network><name>fence</name></network>"),
    "STORAGE_POOL": ("storagePoolDefineXML", POOL.replace(">e<", ">fence<").replace("-e<", "-fence<")),
}
Events = list[tuple[Any, ...]]


def run(libvirt: ModuleType, uri: str) -> dict[str, Any]:
    """Register, act, and turn the loop until the events are there."""
    r = Recorder(libvirt)
    r.section("without a loop")
    conn = libvirt.open(uri)
    r.call(conn, "domainEventRegisterAny", None, 0, print, None, label="domain")
    r.call(conn, "networkEventRegisterAny", None, 0, print, None, label="network")
    r.call(conn, "storagePoolEventRegisterAny", None, 0, print, None, label="pool")
    r.call(conn, "domainEventRegister", print, None, label="older form")
    r.call(conn, "registerCloseCallback", print, None, label="close callback")
    conn.close()
    r.section("loop")
    r.call(libvirt, "virEventRegisterDefaultImpl")
    conn = libvirt.open(uri)
    seen: Events = []

    def note(connection: Any, thing: Any, *rest: Any) -> None:
        seen.append((connection is conn, type(thing).__name__, thing.name(), *rest))

    registered = registrations(r, libvirt, conn, note)
    domains(r, libvirt, conn, seen)
    networks(r, libvirt, conn, seen)
    pools(r, libvirt, conn, seen)
    r.section("deregistered")
    for kind in ("domain", "network", "storagePool"):
        r.call(conn, f"{kind}EventDeregisterAny", registered[kind], label=kind)
        r.call(conn, f"{kind}EventDeregisterAny", registered[kind], label=f"{kind} again",
               keep=lambda answer: "went well")
    seen.clear()
    conn.lookupByName("test").suspend()
    conn.networkLookupByName("default").destroy()
    silence(libvirt)
    r.note("events", seen)
    filtered(r, libvirt, conn, seen, note)
    return r.steps


def fence(libvirt: ModuleType, conn: Any, seen: Events, kind: str) -> None:
    """Turn the loop until everything so far was delivered: the events of a thing made afterwards come last."""
    define, xml = FENCES[kind]
    getattr(conn, define)(xml).undefine()
    gone = getattr(libvirt, f"VIR_{kind}_EVENT_UNDEFINED")
    late: list[int] = []
    timer = libvirt.virEventAddTimeout(10_000, lambda number, opaque: late.append(number), None)
    while not late and not any(event[2:4] == ("fence", gone) for event in seen):
        libvirt.virEventRunDefaultImpl()
    libvirt.virEventRemoveTimeout(timer)
    seen[:] = [event for event in seen if event[2] != "fence"] + ([("nothing came",)] if late else [])


def silence(libvirt: ModuleType) -> None:
    """Turn the loop long enough for an event to come that should not."""
    fired: list[int] = []
    timer = libvirt.virEventAddTimeout(200, lambda number, opaque: fired.append(number), None)
    while not fired:
        libvirt.virEventRunDefaultImpl()
    libvirt.virEventRemoveTimeout(timer)


def registrations(r: Recorder, libvirt: ModuleType, conn: Any, note: Any) -> dict[str, int]:
    """One callback for each kind; unknown events and callbacks that cannot be."""
    r.section("registering")
    registered = {}
    for kind in ("domain", "network", "storagePool"):
        answer = r.call(conn, f"{kind}EventRegisterAny", None, 0, note, f"{kind} opaque", label=kind,
                        keep=lambda number: isinstance(number, int) and number >= 0)
        registered[kind] = -1 if answer is None else answer
    r.call(conn, "domainEventDeregisterAny", 77)
    r.call(conn, "networkEventDeregisterAny", 77)
    r.call(conn, "storagePoolEventDeregisterAny", 77)
    r.call(conn, "domainEventDeregisterAny", "x")
    r.call(conn, "secretEventRegisterAny", None, 0, print, None, label="secret")
    r.call(conn, "domainEventRegisterAny", None, "x", print, None, label="event of a wrong type")
    return registered


def act(r: Recorder, around: tuple[ModuleType, Any, Events, str], target: Any, *step: Any) -> Any:
    """One action and the events that follow it."""
    seen = around[2]
    seen.clear()
    result = r.call(target, *step, label=str(step[0]))
    fence(*around)
    r.note(f"events of {step[0]}", list(seen))
    return result


def domains(r: Recorder, libvirt: ModuleType, conn: Any, seen: Events) -> None:
    """The life of a domain, persistent and transient."""
    around = (libvirt, conn, seen, "DOMAIN")
    r.section("domain")
    dom = act(r, around, conn, "defineXML", DOMAIN)
    for step in ("create", "suspend", "resume", "shutdown", "create", "destroy"):
        act(r, around, dom, step)
    act(r, around, dom, "createWithFlags", libvirt.VIR_DOMAIN_START_PAUSED)
    act(r, around, dom, "reboot", 0)
    act(r, around, dom, "destroy")
    act(r, around, conn, "defineXML", DOMAIN)
    act(r, around, dom, "setAutostart", 1)
    act(r, around, dom, "undefine")
    r.section("transient domain")
    dom = act(r, around, conn, "createXML", DOMAIN, 0)
    act(r, around, dom, "suspend")
    act(r, around, dom, "suspend")
    act(r, around, dom, "shutdown")
    dom = act(r, around, conn, "createXML", DOMAIN, 0)
    act(r, around, dom, "destroy")
    act(r, around, dom, "destroy")


def networks(r: Recorder, libvirt: ModuleType, conn: Any, seen: Events) -> None:
    """The life of a network."""
    around = (libvirt, conn, seen, "NETWORK")
    r.section("network")
    net = act(r, around, conn, "networkDefineXML", NETWORK)
    for step in ("create", "destroy", "undefine"):
        act(r, around, net, step)
    net = act(r, around, conn, "networkCreateXML", NETWORK)
    act(r, around, net, "destroy")


def pools(r: Recorder, libvirt: ModuleType, conn: Any, seen: Events) -> None:
    """The life of a pool."""
    around = (libvirt, conn, seen, "STORAGE_POOL")
    r.section("pool")
    pool = act(r, around, conn, "storagePoolDefineXML", POOL)
    for step in ("build", "create", "refresh", "destroy", "delete", "undefine"):
        act(r, around, pool, step)
    pool = act(r, around, conn, "storagePoolCreateXML", POOL)
    act(r, around, pool, "destroy")


def filtered(r: Recorder, libvirt: ModuleType, conn: Any, seen: Events, note: Any) -> None:
    """Events of one domain only, and the older form, which is keyed by the callback."""
    r.section("one domain")
    seen.clear()
    other = conn.defineXML(DOMAIN)
    one = conn.lookupByName("test")
    number = r.call(conn, "domainEventRegisterAny", one, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, note, "one",
                    label="register", keep=lambda answer: answer >= 0)
    other.create()
    conn.lookupByName("test").resume()
    silence(libvirt)
    r.note("events", seen)
    r.call(conn, "domainEventDeregisterAny", number, label="deregister")
    r.section("older form")
    seen.clear()
    r.call(conn, "domainEventRegister", note, "old", label="register")
    conn.lookupByName("test").suspend()
    fence(libvirt, conn, seen, "DOMAIN")
    r.note("events", seen)
    r.call(conn, "domainEventDeregister", note, label="deregister")
    seen.clear()
    conn.lookupByName("test").resume()
    silence(libvirt)
    r.note("events after", seen)
    r.section("reboot event")
    seen.clear()
    r.call(conn, "domainEventRegisterAny", None, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, note, "reboot",
           label="register", keep=lambda answer: answer >= 0)
    r.call(other, "reboot", 0)
    silence(libvirt)
    r.note("events", seen)
