"""What a person sees, hears and types on: graphics, video, sound, input, as libvirt reads and completes them."""

from __future__ import annotations

from virtbus_domain.normalise.context import Context, unsupported, xml_error
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.graphics import Graphics, Listen
from virtbus_domain.xml.input import Input
from virtbus_domain.xml.sound import Audio
from virtbus_domain.xml.video import Video
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_VIDEO_MEMORY = {"vga": 16384, "cirrus": 16384, "vmvga": 16384, "bochs": 16384, "xen": 4096}  # KiB
_QXL_MEMORY = {"ram": 65536, "vram": 65536, "vgamem": 16384}  # KiB
_ROUNDED = ("ram", "vram", "vgamem")
_SERVERS = ("vnc", "spice", "rdp")
_X86 = ("x86_64", "i686")
# Whose sound is heard where: what a server adds, and what takes it away again.
_AUDIO_OF_SERVER = {"vnc": "none", "spice": "spice", "sdl": None}


def _missing(attribute: str, element: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_XML_ERROR, f"Missing required attribute '{attribute}' in element '{element}'",
                        domain=c.VIR_FROM_XML)


# --- graphics -------------------------------------------------------------------------------------------------------


def read_graphics(domain: Domain, context: Context) -> None:
    """Where servers listen, and their ports."""
    del context
    assert domain.devices
    for graphics in domain.devices.graphics:
        if graphics.type in _SERVERS:
            for listen in graphics.listens:
                _check_listen(listen, graphics)
            _complete_listen(graphics)
            _COMPLETE_PORTS[str(graphics.type)](graphics)
        elif graphics.type == "dbus" and graphics.p2p and graphics.dbus_address is not None:
            raise xml_error("D-Bus p2p with an address is not supported")


def _check_listen(listen: Listen, graphics: Graphics) -> None:
    if listen.type is None:
        raise _missing("type", "listen")
    if listen.type == "network":
        if listen.network is None:
            raise xml_error("'network' attribute is required for listen type 'network'")
    elif listen.network is not None:
        raise xml_error("'network' attribute is valid only for listen type 'network'")
    if graphics.type == "rdp" and listen.type in ("socket", "none"):
        raise unsupported(f"listen type '{listen.type}' is not available for graphics type 'rdp'")


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
    if first.type == "address" and first.address is None:
        first.address = graphics.listen
    graphics.listen = first.address if first.type == "address" else None
    graphics.socket = first.socket if first.type == "socket" and graphics.type == "vnc" else None


def _complete_vnc_port(graphics: Graphics) -> None:
    if graphics.listens[0].type not in ("address", "network"):
        graphics.port = graphics.autoport = None
    elif graphics.autoport or graphics.port == -1 or (not graphics.port and graphics.autoport is None):
        graphics.port, graphics.autoport = -1, True
    else:
        graphics.port, graphics.autoport = graphics.port or None, False


def _complete_spice_ports(graphics: Graphics) -> None:
    if graphics.listens[0].type not in ("address", "network"):
        graphics.port = graphics.tls_port = graphics.autoport = None
        return
    graphics.port, graphics.tls_port = graphics.port or None, graphics.tls_port or None
    if graphics.port == -1 and graphics.tls_port == -1:
        graphics.autoport = True
    if graphics.autoport:
        graphics.port = graphics.tls_port = None
    elif graphics.port is None and graphics.tls_port is None:
        graphics.listens, graphics.listen, graphics.autoport = [Listen(type="none")], None, None
    else:
        graphics.autoport = False


def _complete_rdp_port(graphics: Graphics) -> None:
    if graphics.autoport or not graphics.port:
        graphics.port, graphics.autoport = 0, True
    else:
        graphics.autoport = None


_COMPLETE_PORTS = {"vnc": _complete_vnc_port, "spice": _complete_spice_ports, "rdp": _complete_rdp_port}


# --- video ----------------------------------------------------------------------------------------------------------


def read_videos(domain: Domain, context: Context) -> None:
    """One screen a card, and one card that is the primary one, which comes first."""
    del context
    assert domain.devices
    videos = domain.devices.videos
    for video in videos:
        if video.heads is None and video.model != "none":
            video.heads = 1
        for one, other in (("x", "y"), ("y", "x")):
            if getattr(video, f"resolution_{one}") is not None and getattr(video, f"resolution_{other}") is None:
                raise _missing(other, "resolution")
        if video.resolution_x == 0 or video.resolution_y == 0:
            raise unsupported("video resolution values must be greater than 0")
    if sum(video.primary is True for video in videos) > 1:
        raise unsupported("Only one primary video device is supported")
    videos.sort(key=lambda video: video.primary is not True)


def add_video(domain: Domain, context: Context) -> None:
    """A screen that can be looked at has a card, and the first card is the primary one."""
    assert domain.devices
    devices = domain.devices
    if devices.graphics and not devices.videos:
        devices.videos = [Video(heads=1)]
    for number, video in enumerate(devices.videos):
        if video.model is None:
            video.model = "xen" if _is_paravirtual(domain, context, "xen") else "cirrus"
        if video.model in _VIDEO_MEMORY:
            video.vram = video.vram or _VIDEO_MEMORY[video.model]
        elif video.model == "qxl":
            for name in _QXL_MEMORY if context.qemu else ("ram", "vram"):
                setattr(video, name, getattr(video, name) or _QXL_MEMORY[name])
        for name in _ROUNDED if context.qemu else _ROUNDED[:2]:
            amount = getattr(video, name)
            if amount:
                setattr(video, name, 1 << (amount - 1).bit_length())
        if number == 0 and video.model != "none":
            video.primary = True


def _is_paravirtual(domain: Domain, context: Context, *kinds: str) -> bool:
    """Whether the guest has the devices of its hypervisor and no others."""
    return not context.qemu and domain.os is not None and domain.os.type in kinds


# --- input and sound ------------------------------------------------------------------------------------------------


def refuse_inputs(domain: Domain, context: Context) -> None:
    """A device of the host that is handed over is named by the attribute of its kind."""
    del context
    assert domain.devices
    for device in domain.devices.inputs:
        named = {"passthrough": device.source_evdev, "evdev": device.source_dev}
        if device.type in named and named[device.type] is None and (device.source_dev or device.source_evdev):
            raise xml_error("Missing evdev path for input device")


def complete_inputs(domain: Domain, context: Context) -> None:
    """Pointing devices sit on USB; every PC has a PS/2 mouse and keyboard."""
    assert domain.devices
    assert domain.os
    devices = domain.devices
    for device in devices.inputs:
        if device.bus is None and device.type != "evdev":
            device.bus = _bus(device, domain, context)
    if context.qemu and domain.os.type == "hvm" and domain.os.arch in _X86:
        found = {device.type for device in devices.inputs if device.bus == "ps2"}
        devices.inputs += [Input(type=kind, bus="ps2") for kind in ("mouse", "keyboard") if kind not in found]


def _bus(device: Input, domain: Domain, context: Context) -> str:
    assert domain.os
    if device.type == "passthrough":
        return "virtio"
    if _is_paravirtual(domain, context, "xen", "xenpvh"):
        return "xen"
    if device.type == "tablet":
        return "usb"
    return "ps2" if domain.os.arch in _X86 else "usb"


def add_audio(domain: Domain, context: Context) -> None:
    """One back end for sound, as the last of the servers wants it; silence where nobody could listen."""
    if context.qemu and domain.devices and not domain.devices.audios:
        audio = default_audio(domain.devices)
        if audio is not None:
            domain.devices.audios = [audio]


def default_audio(devices: Devices) -> Audio | None:
    """The back end of a guest for which none is named."""
    kind = None if devices.graphics else "none"
    for graphics in devices.graphics:
        kind = _AUDIO_OF_SERVER.get(graphics.type or "", kind)
    return None if kind is None else Audio(id=1, type=kind)
