"""Character devices: the host end as a chardev, the guest end as the device that speaks through it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from virtbus_domain.drivers.qemu.command.arguments import Json, unsupported
from virtbus_domain.drivers.qemu.command.parts import Part, part_chardev, part_device, part_netdev
from virtbus_domain.drivers.qemu.command.place import place
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.xml.chardev import Chardev, ChardevSource

_SERIAL_DRIVERS = {"isa-serial": "isa-serial", "usb-serial": "usb-serial", "pci-serial": "pci-serial",
                   "isa-debug": "isa-debugcon", "isa-debugcon": "isa-debugcon"}


class HostEnd(Protocol):
    """What every element that has a character device on the host's side carries."""

    type: str | None
    source: list[ChardevSource]
    protocol: str | None
    log_file: str | None
    log_append: bool | None


def serial_parts(serial: Chardev, setup: Setup) -> list[Part]:
    """A serial port."""
    name, target = str(serial.alias), serial.target
    driver = _SERIAL_DRIVERS.get((target.type if target else None) or "isa-serial")
    if driver is None:
        raise unsupported(f"the target of '{name}'")
    index = target.port if target and driver == "isa-serial" and serial.address is None else None
    return [*host_end(serial, name, setup),
            part_device(driver, name, chardev=f"char{name}", index=index, **place(serial, setup))]


def parallel_parts(parallel: Chardev, setup: Setup) -> list[Part]:
    """A parallel port."""
    name = str(parallel.alias)
    return [*host_end(parallel, name, setup), part_device("isa-parallel", name, chardev=f"char{name}")]


def console_parts(console: Chardev, setup: Setup) -> list[Part]:
    """A virtio console; the console that is a serial port's other name is no device of its own."""
    name, target = str(console.alias), console.target
    if target is None or target.type == "serial":
        return []
    if target.type != "virtio":
        raise unsupported(f"the target of '{name}'")
    return [*host_end(console, name, setup),
            part_device("virtconsole", name, chardev=f"char{name}", **place(console, setup))]


def channel_parts(channel: Chardev, setup: Setup) -> list[Part]:
    """A named port between host and guest, or an address of the guest's user-mode network that leads to the host."""
    name, target = str(channel.alias), channel.target
    kind = target.type if target else None
    if kind == "guestfwd" and target is not None:
        forward: Mapping[str, Json] = {"str": f"tcp:{target.address}:{target.port}-chardev:char{name}"}
        return [*host_end(channel, name, setup), part_netdev("user", name, guestfwd=[forward])]
    if kind != "virtio" or target is None:
        raise unsupported(f"the target of '{name}'")
    return [*host_end(channel, name, setup),
            part_device("virtserialport", name, chardev=f"char{name}", name=target.name or None,
                        **place(channel, setup))]


def channel_path(name: str, run_dir: Path) -> Path:
    """The socket of a device for which the document names none."""
    return run_dir / f"{name}.sock"


def host_end(end: HostEnd, device: str, setup: Setup) -> list[Part]:
    """The chardev under the device of a name, with what it shows on an encrypted connection."""
    kind, data = _back_end(end, device, setup)
    log: Mapping[str, Json] = {"logfile": end.log_file, "logappend": end.log_append}
    name = f"char{device}"
    source = end.source[0] if end.source else ChardevSource()
    if not source.tls or end.type != "tcp":
        return [part_chardev(kind, name, **data, **log)]
    credentials = setup.credentials(name, server=source.mode != "connect")
    return [credentials, part_chardev(kind, name, **data, tls_creds=credentials.name, **log)]


def _back_end(end: HostEnd, device: str, setup: Setup) -> tuple[str, dict[str, Json]]:  # one line per type
    source = end.source[0] if end.source else ChardevSource()
    match end.type:
        case "pty" | "null" | "stdio" | "vc":
            return end.type, {}
        case "file":
            return "file", {"out": source.path, "append": source.append}
        case "dev":
            return ("parallel" if device.startswith("parallel") else "serial"), {"device": source.path}
        case "pipe":
            return "pipe", {"device": source.path}
        case "unix":
            path = source.path or str(channel_path(device, setup.run_dir))
            return "socket", _socket({"type": "unix", "data": {"path": path}}, source, end)
        case "tcp":
            if end.protocol not in (None, "raw", "telnet"):
                raise unsupported(f"protocol '{end.protocol}' of '{device}'")
            address: Json = {"type": "inet", "data": {"host": source.host or "", "port": source.service}}
            return "socket", _socket(address, source, end)
        case "udp":
            return "udp", _udp(end)
        case "spicevmc":
            return "spicevmc", {"type": "smartcard" if device.startswith("smartcard") else "vdagent"}
        case "spiceport":
            return "spiceport", {"fqdn": source.channel}
        case "qemu-vdagent":
            return "qemu-vdagent", {"clipboard": source.clipboard_copypaste, "mouse": _mouse(source.mouse_mode)}
        case "dbus":
            return "dbus", {"name": source.channel}
    raise unsupported(f"a character device of type '{end.type}'")


def _mouse(mode: str | None) -> bool | None:
    return None if mode is None else mode == "client"


def _socket(address: Json, source: ChardevSource, end: HostEnd) -> dict[str, Json]:
    listens = source.mode != "connect"
    again = source.reconnect_timeout if source.reconnect_enabled else 0 if source.reconnect_enabled is False else None
    return {"addr": address, "telnet": True if end.protocol == "telnet" else None,
            "server": True if listens else None, "wait": False if listens else None,
            "reconnect": None if listens else again}


def _udp(end: HostEnd) -> dict[str, Json]:
    """One source says where to send, the other where to listen."""
    send = next((source for source in end.source if source.mode != "bind"), ChardevSource())
    bind = next((source for source in end.source if source.mode == "bind"), None)
    local: Json = None
    if bind is not None:
        local = {"type": "inet", "data": {"host": bind.host or "", "port": bind.service or "0"}}
    return {"remote": {"type": "inet", "data": {"host": send.host or "", "port": send.service}}, "local": local}
