"""A program of a user's, which only has to type-check under mypy's strict mode: the public types from outside.

``test_typing`` runs mypy over it. What a call gives is assigned to a variable of the type that the documentation
promises, so a type that gets lost, or widens, is an error here.
"""

from __future__ import annotations

import virtbus as libvirt


def connection() -> None:
    """Opening, facts, closing."""
    conn: libvirt.virConnect = libvirt.open("test:///default")
    with libvirt.openReadOnly("qemu+amqp://node-a/system") as reader:
        uri: str = reader.getURI()
    host: list[str | int] = conn.getInfo()
    free: int = conn.getFreeMemory()
    left: int = conn.close()
    outcome: libvirt.Outcome = conn.requestOutcome("id")
    print(uri, host, free, left, outcome.state, libvirt.LIBVIRT_VERSION)


def domains(conn: libvirt.virConnect) -> None:
    """A domain's life."""
    dom: libvirt.virDomain = conn.defineXML("<domain/>")
    started: int = dom.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    state: list[int] = dom.state()
    name: str = dom.name()
    raw: bytes = dom.UUID()
    names: list[str] = [each.name() for each in conn.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)]
    stats: list[tuple[libvirt.virDomain, dict[str, int | str | bool | float]]] = conn.getAllDomainStats()
    back: libvirt.virConnect = dom.connect()
    print(started, state, name, raw, names, stats, back)


def others(conn: libvirt.virConnect) -> None:
    """Networks, pools, volumes, devices."""
    net: libvirt.virNetwork = conn.networkLookupByName("default")
    bridge: str = net.bridgeName()
    pool: libvirt.virStoragePool = conn.storagePoolLookupByName("default")
    vol: libvirt.virStorageVol = pool.createXML("<volume/>")
    sizes: list[int] = vol.info()
    dev: libvirt.virNodeDevice = conn.nodeDeviceLookupByName("computer")
    parent: str | None = dev.parent()
    print(bridge, sizes, parent)


def events(conn: libvirt.virConnect) -> None:
    """Callbacks."""
    def lifecycle(connection: libvirt.virConnect, dom: libvirt.virDomain, event: int, detail: int, opaque: str) -> None:
        print(connection.getURI(), dom.name(), event, detail, opaque)

    def gap(connection: libvirt.virConnect, service: str, epoch: str, last: int, first: int, opaque: object) -> None:
        print(connection, service, epoch, last, first, opaque)

    libvirt.virEventRegisterDefaultImpl()
    number: int = conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, "mine")
    conn.registerGapCallback(gap, None)
    libvirt.virEventRunDefaultImpl()
    conn.domainEventDeregisterAny(number)


def errors(conn: libvirt.virConnect) -> None:
    """What fails."""
    try:
        conn.lookupByName("x")
    except libvirt.libvirtError as error:
        code: int | None = error.get_error_code()
        if code == libvirt.VIR_ERR_NO_DOMAIN:
            print(error.get_error_message())


def wrong(conn: libvirt.virConnect) -> None:
    """What a type checker must refuse: an ignore that is not needed is an error in strict mode."""
    conn.lookupByName(5)  # type: ignore[arg-type]
    conn.lookupByNaem("x")  # type: ignore[attr-defined]
    name: int = conn.lookupByName("x").name()  # type: ignore[assignment]
    print(name)
