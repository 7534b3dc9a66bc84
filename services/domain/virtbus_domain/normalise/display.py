"""What a person sees, hears and types on: graphics, video, sound, input."""

from __future__ import annotations

from virtbus_domain.normalise.context import Context
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.graphics import Graphics, Listen
from virtbus_domain.xml.input import Input
from virtbus_domain.xml.sound import Audio
from virtbus_domain.xml.video import Video

_VIDEO_MEMORY = 16384  # KiB, of a card that has memory of its own and of which nothing else was said
_QXL_MEMORY = {"ram": 65536, "vram": 65536, "vgamem": 16384}  # KiB


def complete_graphics(domain: Domain, context: Context) -> None:
    """Where servers listen, and their ports."""
    del context
    assert domain.devices
    for graphics in domain.devices.graphics:
        if graphics.type in ("vnc", "spice", "rdp"):
            _complete_listen(graphics)
            if graphics.type == "vnc":
                _complete_vnc_port(graphics)
            elif graphics.type == "spice":
                _complete_spice_ports(graphics)


def _complete_listen(graphics: Graphics) -> None:
    """A server has a listen element; the attribute of the same name only repeats the first one's address."""
    if not graphics.listens:
        silent = graphics.type == "spice" and not graphics.autoport and not graphics.port and not graphics.tls_port
        if graphics.socket:
            first = Listen(type="socket", socket=graphics.socket)
        elif silent:
            first = Listen(type="none")
        else:
            first = Listen(type="address", address=graphics.listen)
        graphics.listens = [first]
    first = graphics.listens[0]
    graphics.listen = first.address if first.type == "address" else None
    graphics.socket = first.socket if first.type == "socket" and graphics.type == "vnc" else None


def _complete_vnc_port(graphics: Graphics) -> None:
    if graphics.listens[0].type not in ("address", "network"):
        graphics.port = graphics.autoport = None
    elif graphics.port in (None, 0, -1) or graphics.autoport:
        graphics.port, graphics.autoport = -1, True
    else:
        graphics.autoport = False


def _complete_spice_ports(graphics: Graphics) -> None:
    if graphics.listens[0].type not in ("address", "network"):
        graphics.port = graphics.tls_port = graphics.autoport = None
        return
    if graphics.port == -1 and graphics.tls_port == -1:
        graphics.autoport = True
    if graphics.port in (-1, 0):
        graphics.port = None
    if graphics.tls_port in (-1, 0):
        graphics.tls_port = None
    if graphics.autoport:
        graphics.port = graphics.tls_port = None
    elif graphics.port is None and graphics.tls_port is None:
        graphics.listens, graphics.listen, graphics.autoport = [Listen(type="none")], None, None
    else:
        graphics.autoport = False


def add_video(domain: Domain, context: Context) -> None:
    """A screen that can be looked at has a card, and the first card is the primary one."""
    assert domain.devices
    devices = domain.devices
    if devices.graphics and not devices.videos:
        devices.videos = [Video()]
    for number, video in enumerate(devices.videos):
        if video.model is None:
            video.model = "cirrus"
        if video.model in ("vga", "cirrus", "vmvga", "bochs"):
            video.vram = video.vram or _VIDEO_MEMORY
        elif video.model == "qxl":
            for name in _QXL_MEMORY if context.qemu else ("ram", "vram"):
                setattr(video, name, getattr(video, name) or _QXL_MEMORY[name])
        if video.model != "none":
            video.heads = video.heads or 1
        for name in ("ram", "vram", "vgamem"):
            if getattr(video, name):
                setattr(video, name, 1 << (getattr(video, name) - 1).bit_length())
        if number == 0 and video.model != "none" and not any(other.primary for other in devices.videos):
            video.primary = True


def complete_inputs(domain: Domain, context: Context) -> None:
    """Pointing devices sit on USB; every PC has a PS/2 mouse and keyboard."""
    assert domain.devices
    assert domain.os
    devices = domain.devices
    for device in devices.inputs:
        if device.bus is None and device.type != "evdev":
            device.bus = "usb" if device.type in ("tablet", "passthrough") else "ps2"
    x86 = domain.os.arch in ("x86_64", "i686")
    if context.qemu and domain.os.type == "hvm" and x86:
        for kind in ("mouse", "keyboard"):
            if not any(device.type == kind and device.bus == "ps2" for device in devices.inputs):
                devices.inputs.append(Input(type=kind, bus="ps2"))


def add_audio(domain: Domain, context: Context) -> None:
    """One back end for sound: spice where there is spice, else silence."""
    if context.qemu and domain.devices and not domain.devices.audios:
        domain.devices.audios = [default_audio(domain.devices)]


def default_audio(devices: Devices) -> Audio:
    """The back end of a guest for which none is named. libvirt looks at the first server only."""
    first = devices.graphics[0].type if devices.graphics else None
    return Audio(id=1, type=first if first in ("spice", "sdl") else "none")
