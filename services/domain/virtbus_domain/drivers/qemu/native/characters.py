"""The character devices of a command line: ports, consoles, channels, and the host ends under them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from virtbus_domain.drivers.qemu.native.options import refusal, switched
from virtbus_domain.xml.address import VirtioSerialAddress
from virtbus_domain.xml.chardev import Chardev, ChardevSource, ChardevTarget
from virtbus_domain.xml.redirdev import Redirdev

if TYPE_CHECKING:
    from virtbus_domain.drivers.qemu.native.devices import Reader

_SERIALS = {"isa-serial": "isa-serial", "usb-serial": "usb-serial", "pci-serial": "pci-serial",
            "isa-debugcon": "isa-debug"}


def read_character(reader: Reader, item: Mapping[str, Any]) -> bool:
    """Read a device that speaks through a chardev; whether it is one."""
    driver = item["driver"]
    devices = reader.devices
    if driver in _SERIALS:
        target = ChardevTarget(type=_SERIALS[driver], port=item.get("index"))
        devices.serials.append(_chardev(reader, item, target))
    elif driver == "isa-parallel":
        devices.parallels.append(_chardev(reader, item, ChardevTarget()))
    elif driver == "virtconsole":
        devices.consoles.append(_chardev(reader, item, ChardevTarget(type="virtio")))
    elif driver == "virtserialport":
        devices.channels.append(_chardev(reader, item, ChardevTarget(type="virtio", name=item.get("name"))))
    elif driver == "usb-redir":
        end = _chardev(reader, item, ChardevTarget())
        devices.redirdevs.append(Redirdev(bus="usb", type=end.type, source=end.source, protocol=end.protocol,
                                          alias=end.alias, address=end.address))
    else:
        return False
    return True


def _chardev(reader: Reader, item: Mapping[str, Any], target: ChardevTarget) -> Chardev:
    chardev = Chardev(target=target, alias=reader.alias(item), address=reader.place(item))
    found = re.fullmatch(r"virtio-serial(\d+)\.(\d+)", item.get("bus", ""))
    if found:
        chardev.address = VirtioSerialAddress(controller=int(found[1]), bus=int(found[2]), port=item["nr"])
    _host_end(reader.chardevs[item["chardev"]], chardev)
    return chardev


def _host_end(values: Mapping[str, str], chardev: Chardev) -> None:
    backend = values["backend"]
    chardev.log_file, chardev.log_append = values.get("logfile"), switched(values.get("logappend"))
    match backend:
        case "pty" | "null" | "stdio" | "vc":
            chardev.type = backend
        case "file":
            chardev.type = "file"
            chardev.source = [ChardevSource(path=values["path"], append=switched(values.get("append")))]
        case "serial" | "parallel":
            chardev.type, chardev.source = "dev", [ChardevSource(path=values["path"])]
        case "pipe":
            chardev.type, chardev.source = "pipe", [ChardevSource(path=values["path"])]
        case "socket":
            _socket(values, chardev)
        case "udp":
            chardev.type = "udp"
            chardev.source = [ChardevSource(mode="connect", host=values["host"], service=values["port"])]
            if "localport" in values:
                chardev.source.insert(0, ChardevSource(mode="bind", host=values.get("localaddr") or None,
                                                       service=values["localport"]))
        case "spicevmc":
            chardev.type = "spicevmc"
        case "spiceport":
            chardev.type, chardev.source = "spiceport", [ChardevSource(channel=values["name"])]
        case "qemu-vdagent":
            chardev.type = "qemu-vdagent"
            mouse = {"on": "client", "off": "server"}.get(values.get("mouse", ""))
            chardev.source = [ChardevSource(clipboard_copypaste=switched(values.get("clipboard")), mouse_mode=mouse)]
        case _:
            raise refusal(f"-chardev {backend}")


def _socket(values: Mapping[str, str], chardev: Chardev) -> None:
    mode = "bind" if values.get("server") == "on" else "connect"
    source = ChardevSource(mode=mode)
    if "reconnect" in values:
        source.reconnect_enabled = values["reconnect"] != "0"
        source.reconnect_timeout = int(values["reconnect"]) or None
    if "path" in values:
        chardev.type, source.path = "unix", values["path"]
    else:
        chardev.type, source.host, source.service = "tcp", values["host"], values["port"]
        chardev.protocol = "telnet" if values.get("telnet") == "on" else "raw"
    chardev.source = [source]
