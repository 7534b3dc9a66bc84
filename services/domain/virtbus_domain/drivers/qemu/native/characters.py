"""Character devices read back: ports, consoles, channels, redirected USB devices, smart cards, and their host ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from virtbus_domain.drivers.qemu.native.options import refusal
from virtbus_domain.drivers.qemu.native.reader import Reader, encrypted
from virtbus_domain.drivers.qemu.native.values import Values
from virtbus_domain.xml.chardev import Chardev, ChardevSource, ChardevTarget
from virtbus_domain.xml.kinds import HostEnd
from virtbus_domain.xml.redirdev import Redirdev, RedirFilter, RedirFilterRule
from virtbus_domain.xml.smartcard import Smartcard

_SERIALS = {"isa-serial": "isa-serial", "usb-serial": "usb-serial", "pci-serial": "pci-serial",
            "isa-debugcon": "isa-debug"}
_FORWARD = re.compile(r"tcp:([0-9A-Fa-f.:]+):([0-9]{1,5})-chardev:(.*)", re.ASCII | re.DOTALL)
_RULE = re.compile(
    "(-1|0x[0-9A-F]{2}):(-1|0x[0-9A-F]{4,8}):(-1|0x[0-9A-F]{4,8}):(-1|0x[0-9A-F]{2}[0-9]{2}):([01])", re.ASCII)


def _serial(reader: Reader, item: Values) -> None:
    target = ChardevTarget(type=_SERIALS[item.kind], port=item.number("index"))
    reader.devices.serials.append(_chardev(reader, item, target))


def _parallel(reader: Reader, item: Values) -> None:
    reader.devices.parallels.append(_chardev(reader, item, ChardevTarget()))


def _console(reader: Reader, item: Values) -> None:
    reader.devices.consoles.append(_chardev(reader, item, ChardevTarget(type="virtio")))


def _channel(reader: Reader, item: Values) -> None:
    target = ChardevTarget(type="virtio", name=item.text("name"))
    reader.devices.channels.append(_chardev(reader, item, target))


def read_forward(reader: Reader, netdev: Values) -> None:
    """A channel that is an address in the guest's user-mode network."""
    netdev.used = True
    forwards = netdev.parts("guestfwd")
    found = _FORWARD.fullmatch(forwards[0].required_text("str")) if len(forwards) == 1 else None
    if found is None:
        raise netdev.wrong("guestfwd")
    channel = Chardev(target=ChardevTarget(type="guestfwd", address=found[1], port=int(found[2])))
    host_end(reader, found[3], netdev.id, reader.name(channel, netdev))
    reader.devices.channels.append(channel)


def _chardev(reader: Reader, item: Values, target: ChardevTarget) -> Chardev:
    chardev = reader.sit(Chardev(target=target), item)
    host_end(reader, item.required_text("chardev"), item.id, chardev)
    return chardev


def _redirdev(reader: Reader, item: Values) -> None:
    redirdev = reader.sit(Redirdev(bus="usb"), item)
    host_end(reader, item.required_text("chardev"), item.id, redirdev)
    rules = item.text("filter")
    if rules is not None:
        reader.devices.redirfilter = RedirFilter(usbdevs=[_rule(text, item) for text in rules.split("|")])
    reader.devices.redirdevs.append(redirdev)


def _rule(text: str, item: Values) -> RedirFilterRule:
    found = _RULE.fullmatch(text)
    if found is None:
        raise item.wrong("filter")
    numbers = [None if part == "-1" else int(part, 16) for part in found.groups()[:3]]
    version = None if found[4] == "-1" else f"{int(found[4][2:4], 16)}.{found[4][4:]}"
    return RedirFilterRule(class_=numbers[0], vendor=numbers[1], product=numbers[2], version=version,
                           allow=found[5] == "1")


def _card_of_host(reader: Reader, item: Values) -> None:
    item.expect("backend", "nss-emulated")
    reader.devices.smartcards.append(reader.sit(Smartcard(mode="host"), item))


def _card_of_client(reader: Reader, item: Values) -> None:
    card = reader.sit(Smartcard(mode="passthrough"), item)
    host_end(reader, item.required_text("chardev"), item.id, card)
    reader.devices.smartcards.append(card)


CHARACTERS: Mapping[str, Callable[[Reader, Values], None]] = {
    **dict.fromkeys(_SERIALS, _serial), "isa-parallel": _parallel, "virtconsole": _console,
    "virtserialport": _channel, "usb-redir": _redirdev, "ccid-card-emulated": _card_of_host,
    "ccid-card-passthru": _card_of_client}


# --- the host's end -------------------------------------------------------------------------------------------------


def host_end(reader: Reader, name: str, device: str, end: HostEnd) -> None:
    """Read the chardev of a name into the device that speaks through it; ``device`` is that one's name."""
    values = reader.command.named("-chardev", name)
    end.log_file, end.log_append = values.text("logfile"), values.flag("logappend")
    end.type = _TYPES.get(values.kind, values.kind)
    match values.kind:
        case "pty" | "null" | "stdio" | "vc":
            return
        case "file":
            source = ChardevSource(path=values.required_text("path"), append=values.flag("append"))
        case "serial" | "parallel" | "pipe":
            source = ChardevSource(path=values.required_text("path"))
        case "socket":
            source = _socket(values, end, f"{reader.command.run_directory}/{device}.sock")
            source.tls = encrypted(reader, values, server=source.mode == "bind")
        case "udp":
            end.source = _udp(values)
            return
        case "spicevmc":
            values.required_text("name")  # which the device decides
            return
        case "spiceport" | "dbus":
            source = ChardevSource(channel=values.required_text("name"))
        case "qemu-vdagent":
            mouse = values.flag("mouse")
            source = ChardevSource(clipboard_copypaste=values.flag("clipboard"),
                                   mouse_mode=None if mouse is None else "client" if mouse else "server")
        case _:
            raise refusal(values.what)
    end.source = [source]


_TYPES = {"serial": "dev", "parallel": "dev"}


def _socket(values: Values, end: HostEnd, own_path: str) -> ChardevSource:
    listens, again = values.flag("server") is True, values.number("reconnect")
    if listens:
        values.expect("wait", False)
    source = ChardevSource(mode="bind" if listens else "connect")
    if again is not None:
        source.reconnect_enabled, source.reconnect_timeout = again != 0, again or None
    path = values.text("path")
    if path is None:
        end.type, source.host, source.service = "tcp", values.required_text("host"), values.required_text("port")
    else:
        end.type, source.path = "unix", None if path == own_path else path
    telnet = values.flag("telnet")
    end.protocol = "telnet" if telnet else "raw" if path is None else None
    return source


def _udp(values: Values) -> list[ChardevSource]:
    sources = [ChardevSource(mode="connect", host=values.required_text("host"), service=values.required_text("port"))]
    if values.has("localport"):
        sources.insert(0, ChardevSource(mode="bind", host=values.text("localaddr"), service=values.text("localport")))
    return sources
