"""What a person sees and types on: graphics servers, video cards, input devices."""

from __future__ import annotations

from collections.abc import Sequence

from virtbus_domain.drivers.qemu.command.arguments import Arguments, Json, Scalar, unsupported
from virtbus_domain.drivers.qemu.command.parts import Part, part_device, part_object
from virtbus_domain.drivers.qemu.command.place import place, transitional, virtio_options
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.xml.graphics import Graphics, Listen
from virtbus_domain.xml.input import Input
from virtbus_domain.xml.video import Video
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_VNC_FIRST_PORT = 5900  # RFB's display 0
_MIB = 1024  # KiB
_LOCAL = "127.0.0.1"


def append_graphics(arguments: Arguments, setup: Setup) -> None:
    """``-vnc``, ``-spice`` and ``-display``; without any of them QEMU is told to open no window."""
    kinds = {graphics.type for graphics in setup.devices.graphics}
    if not kinds & {"egl-headless", "dbus", "sdl"}:
        arguments.plain("-display", "none")
    for graphics in setup.devices.graphics:
        match graphics.type:
            case "vnc":
                _vnc(arguments, graphics, setup)
            case "spice":
                _spice(arguments, graphics, setup)
            case "egl-headless":
                arguments.keyed("-display", "egl-headless", rendernode=graphics.gl_rendernode)
            case _:
                raise unsupported(f"graphics of type '{graphics.type}'")


def _listen(graphics: Graphics) -> Listen:
    return graphics.listens[0] if graphics.listens else Listen(type="address")


def _vnc(arguments: Arguments, graphics: Graphics, setup: Setup) -> None:
    listen = _listen(graphics)
    if listen.type == "none":
        where = "none"
    elif listen.type == "socket":
        where = f"unix:{listen.socket or setup.run_dir / 'vnc.sock'}"
    else:
        address = listen.address or _LOCAL
        port = (graphics.port if graphics.port not in (None, -1) else _VNC_FIRST_PORT) or _VNC_FIRST_PORT
        where = f"{f'[{address}]' if ':' in address else address}:{port - _VNC_FIRST_PORT}"
    arguments.keyed(
        "-vnc", vnc=where, websocket=_websocket(graphics), share=graphics.share_policy,
        password=True if graphics.passwd else None, power_control=graphics.power_control,
        audiodev=f"audio{_audio(graphics, setup)}" if setup.devices.audios else None)
    if graphics.keymap:
        arguments.plain("-k", graphics.keymap)


def _websocket(graphics: Graphics) -> Scalar | None:
    return "on" if graphics.websocket == -1 else graphics.websocket


def _audio(graphics: Graphics, setup: Setup) -> int | None:
    return graphics.audio_id or setup.devices.audios[0].id


def _spice(arguments: Arguments, graphics: Graphics, setup: Setup) -> None:
    listen = _listen(graphics)
    where: dict[str, Scalar | None]
    if listen.type == "none":
        where = {"port": 0}
    elif listen.type == "socket":
        where = {"unix": True, "addr": listen.socket or str(setup.run_dir / "spice.sock")}
    else:
        where = {"port": _port(graphics.port), "tls-port": _port(graphics.tls_port), "addr": listen.address or _LOCAL}
    encrypted = where.get("tls-port") is not None
    if encrypted and setup.certificates.spice is None:
        raise _refusal("spice TLS port set in XML configuration, but there are no certificates on this node")
    values: list[tuple[str, Scalar | None]] = [
        *where.items(),
        ("agent-mouse", None if graphics.mouse_mode is None else graphics.mouse_mode == "client"),
        ("disable-ticketing", None if graphics.passwd else True),
        ("x509-dir", str(setup.certificates.spice) if encrypted else None), *_channels(graphics, encrypted=encrypted),
        ("image-compression", graphics.image_compression), ("jpeg-wan-compression", graphics.jpeg_compression),
        ("zlib-glz-wan-compression", graphics.zlib_compression),
        ("playback-compression", graphics.playback_compression), ("streaming-video", graphics.streaming_mode),
        ("disable-copy-paste", True if graphics.clipboard_copypaste is False else None),
        ("disable-agent-file-xfer", True if graphics.filetransfer_enable is False else None),
        ("gl", True if graphics.gl_enable else None), ("rendernode", graphics.gl_rendernode),
        ("seamless-migration", True)]
    arguments.pairs("-spice", values)
    if graphics.keymap:
        arguments.plain("-k", graphics.keymap)


def _port(number: int | None) -> int | None:
    """A port that is known: -1 asks for a free one, which a start would have chosen by now."""
    return number if number != -1 else None


def _channels(graphics: Graphics, *, encrypted: bool) -> list[tuple[str, Scalar | None]]:
    words = {"secure": "tls-channel", "insecure": "plaintext-channel"}
    if graphics.default_mode == "secure" and not encrypted:
        raise _refusal("spice defaultMode secure requested in XML configuration, but TLS connection is not available")
    if not encrypted and any(channel.mode == "secure" for channel in graphics.channels):
        raise _refusal("spice secure channels set in XML configuration, but TLS connection is not available")
    modes = [("default", graphics.default_mode), *((str(channel.name), channel.mode) for channel in graphics.channels)]
    return [(words[mode], name) for name, mode in modes if mode in words]


def _refusal(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_QEMU)


_PRIMARY = {"vga": "VGA", "cirrus": "cirrus-vga", "vmvga": "vmware-svga", "qxl": "qxl-vga", "virtio": "virtio-vga",
            "bochs": "bochs-display", "ramfb": "ramfb"}
_SECONDARY = {"qxl": "qxl", "virtio": "virtio-gpu-pci", "bochs": "bochs-display"}


def video_parts(video: Video, setup: Setup) -> list[Part]:
    """A graphics card; one of model none is none."""
    name, model = str(video.alias), video.model or "cirrus"
    if model == "none":
        return []
    table = _PRIMARY if video.primary else _SECONDARY
    if model not in table or video.driver_name == "vhostuser":
        raise unsupported(f"video model '{model}' of '{name}'")
    driver = table[model]
    properties: dict[str, Json] = {}
    if model == "virtio":
        if video.accel3d:
            driver = driver.replace("-vga", "-vga-gl").replace("gpu-pci", "gpu-gl-pci")
        properties = {"max_outputs": video.heads, "blob": video.blob, **virtio_options(
            iommu=video.driver_iommu, ats=video.driver_ats, packed=video.driver_packed,
            page_per_vq=video.driver_page_per_vq)}
    elif model == "qxl":
        properties = {"max_outputs": video.heads, "ram_size": (video.ram or 0) * 1024,
                      "vram_size": (video.vram or 0) * 1024, "vram64_size_mb": (video.vram64 or 0) // _MIB,
                      "vgamem_mb": (video.vgamem or 0) // _MIB}
    elif model in ("vga", "vmvga"):
        properties = {"vgamem_mb": video.vram // _MIB if video.vram else None}
    elif model == "bochs":
        properties = {"vgamem": video.vram * 1024 if video.vram else None}
    if model in ("virtio", "qxl", "vga", "bochs") and video.resolution_x:
        properties |= {"xres": video.resolution_x, "yres": video.resolution_y}
    return [part_device(driver, name, **properties, **place(video, setup))]


_USB_INPUTS = {"mouse": "usb-mouse", "tablet": "usb-tablet", "keyboard": "usb-kbd"}
_VIRTIO_INPUTS = {"mouse": "virtio-mouse-pci", "tablet": "virtio-tablet-pci", "keyboard": "virtio-keyboard-pci",
                  "passthrough": "virtio-input-host-pci"}


def input_parts(device: Input, setup: Setup) -> list[Part]:
    """A mouse, tablet or keyboard; a PC's own on PS/2 need nothing."""
    name, kind = str(device.alias), str(device.type)
    if kind == "evdev":
        return [part_object("input-linux", name, evdev=device.source_dev, repeat=device.repeat,
                            grab_all=True if device.grab == "all" else None, grab_toggle=device.grab_toggle)]
    if device.bus == "ps2":
        return []
    if device.bus == "usb" and kind in _USB_INPUTS:
        return [part_device(_USB_INPUTS[kind], name, **place(device, setup))]
    if device.bus == "virtio" and kind in _VIRTIO_INPUTS:
        return [part_device(
            transitional(_VIRTIO_INPUTS[kind], device.model), name, evdev=device.source_evdev,
            **virtio_options(iommu=device.driver_iommu, ats=device.driver_ats, packed=device.driver_packed,
                             page_per_vq=device.driver_page_per_vq), **place(device, setup))]
    raise unsupported(f"input '{kind}' on {device.bus}")


def ports_needed(graphics: Sequence[Graphics]) -> bool:
    """Whether a port has to be chosen when the guest starts."""
    return any(g.autoport and _listen(g).type in ("address", "network") for g in graphics)
