"""The devices of a command line: one function from each QEMU driver back to the model it was built from.

Aliases that begin with "ua-" are the user's and come back; all others were generated. What a PC has without being
asked (PS/2 input, root buses) is there again when the document is completed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from virtbus_domain.drivers.qemu.native.cards import CARDS, read_card
from virtbus_domain.drivers.qemu.native.characters import CHARACTERS, read_forward
from virtbus_domain.drivers.qemu.native.controllers import CONTROLLERS, numbers_of, scsi_models
from virtbus_domain.drivers.qemu.native.memory import MODULES, read_module
from virtbus_domain.drivers.qemu.native.options import refusal
from virtbus_domain.drivers.qemu.native.reader import Reader
from virtbus_domain.drivers.qemu.native.screens import SCREENS, read_audio, read_graphics, read_passed_input
from virtbus_domain.drivers.qemu.native.small import SMALL
from virtbus_domain.drivers.qemu.native.storage import DISKS, settle_disks
from virtbus_domain.drivers.qemu.native.values import Command, Values
from virtbus_domain.xml.chardev import Chardev, ChardevTarget
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.input import Input
from virtbus_domain.xml.memballoon import Memballoon
from virtbus_domain.xml.qemu_namespace import QemuDeviceOverride, QemuOverride, QemuProperty
from virtbus_domain.xml.sound import Sound
from virtbus_domain.xml.video import Video
from virtbus_shared.service.xml_lines import Element

D = TypeVar("D", bound=Element)
Read = Callable[[Reader, Values], None]
_KINDS = ("network", "cdrom", "fd", "hd")  # of the boot order that an operating system's element lists


def read_devices(command: Command, domain: Domain) -> None:
    """All devices of a command, in its order."""
    assert domain.os is not None
    controllers = numbers_of(command, q35=(domain.os.machine or "").startswith(("pc-q35", "q35")))
    reader = Reader(command, domain, controllers, scsi_models(command, controllers))
    for option, item in command.options:
        if option == "-device":
            item.used = True
            # Cards have QEMU's own names, whichever there are.
            read = _DRIVERS.get(item.kind) or (read_card if item.has("netdev") else None)
            if read is None:
                raise refusal(item.what)
            read(reader, item)
        elif option == "-object" and item.kind == "input-linux":
            read_passed_input(reader, item)
        elif option == "-netdev" and item.has("guestfwd"):
            read_forward(reader, item)
    settle_disks(reader)
    read_graphics(reader)
    read_audio(reader)
    _read_overrides(reader)
    _restore_hidden(reader)
    _say_what_is_missing(reader)


def _module(reader: Reader, item: Values) -> None:
    reader.devices.memories.append(reader.sit(read_module(reader.command, reader.domain, item), item))


def _read_overrides(reader: Reader) -> None:
    """Properties of devices that we have no word for are those that a user said in QEMU's words."""
    overrides = []
    for item in reader.command.all("-device"):
        rest = item.rest() if item.id else {}
        if rest:
            overrides.append(QemuDeviceOverride(alias=item.id, frontend=[
                QemuProperty(name=name, type=_TYPES[type(value)], value=_said(value)) for name, value in rest.items()]))
    if overrides:
        reader.domain.qemu_override = QemuOverride(devices=overrides)


_TYPES = {str: "string", bool: "bool", int: "signed"}


def _said(value: str | int | bool) -> str:  # a value like others
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- what no option tells -------------------------------------------------------------------------------------------


def _restore_hidden(reader: Reader) -> None:
    """Devices that are part of the machine, or of the CPU: the numbers in the others' names tell of them."""
    devices = reader.devices
    speakers = [_speaker(item) for item in reader.command.all("-machine") if not item.kind]
    mirror = [Chardev(type="pty", target=ChardevTarget(type="serial"))] if devices.serials else []
    ps2 = [Input(type=kind, bus="ps2") for kind in ("mouse", "keyboard")]
    of_cpu = [panic for panic in devices.panics if panic.model == "hyperv"]
    of_board = [panic for panic in devices.panics if panic.model != "hyperv"]
    devices.inputs, _ = _restored(reader, devices.inputs, "input", ps2)
    devices.consoles, _ = _restored(reader, devices.consoles, "console", mirror)
    devices.panics, left = _restored(reader, of_board, "panic", of_cpu)
    devices.panics += left
    devices.sounds, silent = _restored(reader, devices.sounds, "sound", speakers)
    devices.sounds += silent


def _speaker(item: Values) -> Sound:
    return Sound(model="pcspk", audio_id=item.affixed("pcspk-audiodev", "audio"))


def _restored(reader: Reader, visible: list[D], prefix: str, hidden: list[D]) -> tuple[list[D], list[D]]:
    """The devices with hidden ones before those whose number is higher than their place, and the hidden ones left."""
    restored: list[D] = []
    for device in visible:
        number = reader.names.get(id(device), "").removeprefix(prefix)
        while hidden and number.isdecimal() and number != str(len(restored)):
            restored.append(hidden.pop(0))
        restored.append(device)
    return restored, hidden


def _say_what_is_missing(reader: Reader) -> None:
    """What a document has to rule out, lest it be added when it is completed."""
    devices = reader.devices
    if not any(controller.type == "usb" for controller in devices.controllers):
        devices.controllers.append(Controller(type="usb", index=0, model="none"))
    devices.memballoon = devices.memballoon or Memballoon(model="none")
    if devices.graphics and not devices.videos:
        devices.videos.append(Video(model="none"))
    _rule_out_booting(reader)


def _rule_out_booting(reader: Reader) -> None:
    """Where no device has a place in the boot order, the list names a kind of which there is none."""
    devices = reader.devices
    bootable: Iterable[Element] = (*devices.disks, *devices.interfaces, *devices.filesystems, *devices.hostdevs,
                                   *devices.redirdevs)
    kinds = {{"cdrom": "cdrom", "floppy": "fd"}.get(disk.device or "", "hd") for disk in devices.disks}
    kinds |= {"network"} if devices.interfaces else set()
    if "hd" in kinds and not any(getattr(device, "boot_order", None) for device in bootable):
        assert reader.domain.os is not None
        reader.domain.os.boot = [kind for kind in _KINDS if kind not in kinds][:1]


_DRIVERS: dict[str, Read] = {
    **CONTROLLERS, **DISKS, **CARDS, **CHARACTERS, **SCREENS, **SMALL, **dict.fromkeys(MODULES, _module)}
