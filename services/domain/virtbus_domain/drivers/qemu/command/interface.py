"""Network cards: the host's end as a netdev, the guest's card on top of it."""

from __future__ import annotations

from collections.abc import Sequence

from virtbus_domain.drivers.qemu.command.arguments import Json, unsupported
from virtbus_domain.drivers.qemu.command.hostdev import assigned_function
from virtbus_domain.drivers.qemu.command.parts import Part, part_chardev, part_device, part_netdev
from virtbus_domain.drivers.qemu.command.place import place, rom, transitional, virtio_options
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.xml.address import PciAddress
from virtbus_domain.xml.interface import Interface, InterfaceDriver

# Types whose host end is a tap or macvtap device that is made before QEMU starts.
TAP_TYPES = ("network", "bridge", "ethernet", "direct")
VIRTIO = ("virtio", "virtio-transitional", "virtio-non-transitional")


def interface_parts(interface: Interface, setup: Setup) -> list[Part]:
    """One card and what it is connected to."""
    name = str(interface.alias)
    number = name.removeprefix("net")
    back_end = f"hostnet{number}" if number.isdecimal() else f"host{name}"
    if interface.type == "hostdev":
        return [_function(interface, setup)]
    return [*_host_end(interface, back_end, setup), _card(interface, back_end, setup)]


def _host_end(interface: Interface, name: str, setup: Setup) -> list[Part]:
    source = interface.source
    descriptors = list(setup.descriptors.get(str(interface.alias), ()))
    if interface.type in TAP_TYPES:
        if not descriptors:
            raise unsupported(f"'{interface.alias}' of type {interface.type} without a device on the host")
        vhost = setup.descriptors.get(vhost_descriptors(str(interface.alias)), ())
        return [part_netdev("tap", name, **_descriptors("fd", descriptors), vhost=True if vhost else None,
                            **_descriptors("vhostfd", vhost), sndbuf=interface.sndbuf)]
    match interface.type:
        case "user" if interface.backend is None or interface.backend.type is None:
            return [part_netdev("user", name, **_user_network(interface))]
        case "vhostuser" if source is not None:
            chardev = f"charnet{name.removeprefix('hostnet')}"
            listens = source.mode == "server"
            again = source.reconnect_timeout if source.reconnect_enabled else None
            socket: dict[str, Json] = {
                "addr": {"type": "unix", "data": {"path": source.path}}, "server": listens or None,
                "wait": False if listens else None, "reconnect": again}
            queues = interface.driver.queues if interface.driver else None
            return [part_chardev("socket", chardev, **socket),
                    part_netdev("vhost-user", name, chardev=chardev, queues=queues)]
        case "vdpa" if source is not None:
            return [part_netdev("vhost-vdpa", name, vhostdev=source.dev)]
        case "server" if source is not None:
            return [part_netdev("socket", name, listen=f"{source.address or ''}:{source.port}")]
        case "client" if source is not None:
            return [part_netdev("socket", name, connect=f"{source.address}:{source.port}")]
        case "mcast" if source is not None:
            return [part_netdev("socket", name, mcast=f"{source.address}:{source.port}")]
        case "udp" if source is not None:
            return [part_netdev("socket", name, udp=f"{source.address}:{source.port}",
                                localaddr=f"{source.local_address or ''}:{source.local_port}")]
    raise unsupported(f"'{interface.alias}' of type {interface.type}")


def vhost_descriptors(alias: str) -> str:
    """Under which name the open files of the kernel's help with a card stand."""
    return f"{alias}.vhost"


def _descriptors(name: str, descriptors: Sequence[str]) -> dict[str, Json]:
    """One file under a name, or several under its plural."""
    if len(descriptors) > 1:
        return {f"{name}s": ":".join(descriptors)}
    return {name: descriptors[0]} if descriptors else {}


def _function(interface: Interface, setup: Setup) -> Part:
    """A card of the host, or a function of one, that the guest gets for itself."""
    name = str(interface.alias)
    address = interface.source.device_address if interface.source else None
    driver = interface.driver.name if interface.driver else None
    if not isinstance(address, PciAddress) or driver not in (None, "vfio"):
        raise unsupported(f"the host's device of '{name}'")
    return assigned_function(interface, address, setup)


def _user_network(interface: Interface) -> dict[str, Json]:
    properties: dict[str, Json] = {}
    for address in interface.ips:
        if address.family == "ipv6":
            properties |= {"ipv6_prefix": address.address, "ipv6_prefixlen": address.prefix}
        else:
            properties["net"] = f"{address.address}/{address.prefix}" if address.prefix else address.address
    return properties


def _card(interface: Interface, back_end: str, setup: Setup) -> Part:
    name, model = str(interface.alias), interface.model or "rtl8139"
    properties = {"netdev": back_end, "mac": interface.mac, "bootindex": setup.boot.get(name),
                  **rom(interface), **place(interface, setup)}
    if model in VIRTIO:
        options = _virtio_card(interface.driver, interface)
        return part_device(transitional("virtio-net-pci", model), name, **options, **properties)
    return part_device(model, name, **properties)  # any other card is named as QEMU names it


def _virtio_card(driver: InterfaceDriver | None, interface: Interface) -> dict[str, Json]:
    options: dict[str, Json] = {"host_mtu": interface.mtu,
                                "failover": True if interface.teaming_type == "persistent" else None}
    if driver is None:
        return options
    queues = driver.queues or 0
    return options | {
        "tx": {"iothread": "bh", "timer": "timer"}.get(driver.txmode or ""),
        "ioeventfd": driver.ioeventfd, "event_idx": driver.event_idx,
        "csum": driver.host_csum, "gso": driver.host_gso, "host_tso4": driver.host_tso4,
        "host_tso6": driver.host_tso6, "host_ecn": driver.host_ecn, "host_ufo": driver.host_ufo,
        "mrg_rxbuf": driver.host_mrg_rxbuf, "guest_csum": driver.guest_csum, "guest_tso4": driver.guest_tso4,
        "guest_tso6": driver.guest_tso6, "guest_ecn": driver.guest_ecn, "guest_ufo": driver.guest_ufo,
        # Two interrupts a queue pair, one for the control queue and one for changes of configuration.
        "mq": True if queues > 1 else None, "vectors": 2 * queues + 2 if queues > 1 else None,
        "rx_queue_size": driver.rx_queue_size, "tx_queue_size": driver.tx_queue_size,
        "rss": driver.rss, "hash": driver.rss_hash_report,
        **virtio_options(iommu=driver.iommu, ats=driver.ats, packed=driver.packed, page_per_vq=driver.page_per_vq)}


