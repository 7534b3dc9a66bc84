"""What a person sees, hears and types on, read back: graphics servers, video cards, input devices, sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from virtbus_domain.drivers.qemu.command.sound import DRIVERS as AUDIO_DRIVERS
from virtbus_domain.drivers.qemu.native.options import refusal
from virtbus_domain.drivers.qemu.native.reader import Reader, transport
from virtbus_domain.drivers.qemu.native.values import Values
from virtbus_domain.xml.graphics import Graphics, Listen, SpiceChannel
from virtbus_domain.xml.input import Input
from virtbus_domain.xml.sound import Audio, AudioDirection, Sound
from virtbus_domain.xml.video import Video

_VIDEO = {
    "VGA": "vga", "cirrus-vga": "cirrus", "vmware-svga": "vmvga", "qxl-vga": "qxl", "qxl": "qxl",
    "virtio-vga": "virtio", "virtio-gpu-pci": "virtio", "virtio-vga-gl": "virtio", "virtio-gpu-gl-pci": "virtio",
    "bochs-display": "bochs", "ramfb": "ramfb"}
_FLAVOURS = ("", "-transitional", "-non-transitional")
_INPUTS = {"usb-mouse": ("mouse", "usb", None), "usb-tablet": ("tablet", "usb", None),
           "usb-kbd": ("keyboard", "usb", None)} | {
    f"{driver}{flavour}": (kind, "virtio", f"virtio{flavour}" if flavour else None)
    for driver, kind in {"virtio-mouse-pci": "mouse", "virtio-tablet-pci": "tablet", "virtio-keyboard-pci": "keyboard",
                         "virtio-input-host-pci": "passthrough"}.items() for flavour in _FLAVOURS}
_CARDS = {"intel-hda": "ich6", "ich9-intel-hda": "ich9", "AC97": "ac97", "ES1370": "es1370", "sb16": "sb16",
          "usb-audio": "usb"}
_CODECS = {"hda-duplex": "duplex", "hda-micro": "micro", "hda-output": "output"}
_AUDIO_OF = {driver: ours for ours, driver in AUDIO_DRIVERS.items()}
_VNC_FIRST_PORT = 5900
_MIB = 1024  # KiB


def _video(reader: Reader, item: Values) -> None:
    """A card; the first is the primary one."""
    model = _VIDEO[item.kind]
    video = Video(model=model, heads=item.number("max_outputs"), primary=not reader.devices.videos or None,
                  resolution_x=item.number("xres"), resolution_y=item.number("yres"))
    if model == "virtio":
        video.blob, video.accel3d = item.flag("blob"), "-gl" in item.kind or None
        for name, value in transport(item, "driver_").items():
            setattr(video, name, value)
    elif model == "qxl":
        video.ram, video.vram = item.kilobytes("ram_size"), item.kilobytes("vram_size")
        video.vram64, video.vgamem = (
            item.required_number(name) * _MIB or None for name in ("vram64_size_mb", "vgamem_mb"))
    elif item.has("vgamem_mb"):
        video.vram = item.required_number("vgamem_mb") * _MIB
    elif item.has("vgamem"):
        video.vram = item.kilobytes("vgamem")
    reader.devices.videos.append(reader.sit(video, item))


def _input(reader: Reader, item: Values) -> None:
    kind, bus, model = _INPUTS[item.kind]
    device = Input(type=kind, bus=bus, model=model, source_evdev=item.text("evdev"))
    if bus == "virtio":
        for name, value in transport(item, "driver_").items():
            setattr(device, name, value)
    reader.devices.inputs.append(reader.sit(device, item))


def read_passed_input(reader: Reader, item: Values) -> None:
    """An input device of the host that the guest shares with it."""
    item.used = True
    reader.devices.inputs.append(reader.name(Input(
        type="evdev", source_dev=item.text("evdev"), repeat=item.flag("repeat"), grab_toggle=item.text("grab-toggle"),
        grab="all" if item.flag("grab_all") else None), item))


def _sound(reader: Reader, item: Values) -> None:
    reader.devices.sounds.append(reader.sit(Sound(
        model=_CARDS[item.kind], audio_id=item.affixed("audiodev", "audio")), item))


def _codec(reader: Reader, item: Values) -> None:
    """A codec, which comes behind its card."""
    sound = reader.devices.sounds[-1] if reader.devices.sounds else None
    if sound is None or item.text("bus") != f"{reader.names[id(sound)]}.0":
        raise item.wrong("bus")
    item.expect("cad", len(sound.codecs))
    sound.codecs.append(_CODECS[item.kind])
    sound.audio_id = item.affixed("audiodev", "audio")


SCREENS: Mapping[str, Callable[[Reader, Values], None]] = {
    **dict.fromkeys(_VIDEO, _video), **dict.fromkeys(_INPUTS, _input), **dict.fromkeys(_CARDS, _sound),
    **dict.fromkeys(_CODECS, _codec)}


def read_audio(reader: Reader) -> None:
    """The back ends of sound."""
    for item in reader.command.all("-audiodev"):
        if item.kind not in _AUDIO_OF:
            raise refusal(item.what)
        audio = Audio(
            id=item.affixed("id", "audio"), type=_AUDIO_OF[item.kind], timer_period=item.number("timer-period"),
            input=_direction(item.part("in")), output=_direction(item.part("out")))
        match audio.type:
            case "file":
                audio.path = item.text("path")
            case "oss":
                audio.try_mmap, audio.exclusive = item.flag("try-mmap"), item.flag("exclusive")
                audio.dsp_policy = item.number("dsp-policy")
            case "pulseaudio":
                audio.server_name = item.text("server")
        reader.devices.audios.append(audio)


_SETTINGS: dict[str, Callable[[Values, str], Any]] = {
    **dict.fromkeys(("mixing_engine", "fixed_settings", "try_poll", "exact_name"), Values.flag),
    **dict.fromkeys(("voices", "buffer_length", "frequency", "channels", "buffer_count", "latency"), Values.number),
    **dict.fromkeys(("format", "dev", "server_name", "client_name", "connect_ports", "name", "stream_name"),
                    Values.text)}


def _direction(values: Values | None) -> AudioDirection | None:
    if values is None:
        return None
    return AudioDirection(**{name: ask(values, name.replace("_", "-")) for name, ask in _SETTINGS.items()})


# --- graphics -------------------------------------------------------------------------------------------------------


def read_graphics(reader: Reader) -> None:
    """The servers, each with the keyboard layout that stands behind it."""
    keymaps = iter(reader.command.keymaps)
    for option, values in reader.command.options:
        match option:
            case "-vnc":
                graphics = _vnc(values, reader)
            case "-spice":
                graphics = _spice(values, reader)
            case "-display" if values.kind == "egl-headless":
                graphics = Graphics(type="egl-headless", gl_rendernode=values.text("rendernode"))
            case "-display" if values.kind == "none":
                values.used = True
                continue
            case "-display":
                raise refusal(values.what)
            case _:
                continue
        values.used = True
        graphics.keymap = next(keymaps)
        reader.devices.graphics.append(graphics)


def _own_socket(reader: Reader, path: str, name: str) -> str | None:
    """The path of a socket, unless it is the one that it has when no document names one."""
    return None if path == f"{reader.command.run_directory}/{name}.sock" else path


def _vnc(values: Values, reader: Reader) -> Graphics:
    where = values.kind
    if values.flag("password"):
        raise refusal("-vnc with a password, which the command does not hold")
    graphics = Graphics(type="vnc", share_policy=values.text("share"), power_control=values.flag("power-control"),
                        audio_id=_audio(reader, values))
    if where == "none":
        graphics.listens = [Listen(type="none")]
    elif where.startswith("unix:"):
        graphics.listens = [Listen(type="socket", socket=_own_socket(reader, where.removeprefix("unix:"), "vnc"))]
    else:
        address, _, display = where.rpartition(":")
        if not display.isdecimal() or len(display) > len("65535"):
            raise refusal(f"-vnc {where}")
        graphics.port, graphics.autoport = int(display) + _VNC_FIRST_PORT, False
        graphics.listens = [Listen(type="address", address=address.strip("[]"))]
    if values.has("websocket"):
        graphics.websocket = -1 if values.text("websocket") == "on" else values.number("websocket")
    return graphics


def _audio(reader: Reader, values: Values) -> int | None:
    """The back end of a server's sound, unless it is the first."""
    number = values.affixed("audiodev", "audio")
    first = next((item.affixed("id", "audio") for item in reader.command.all("-audiodev")), None)
    return None if number == first else number


def _spice(values: Values, reader: Reader) -> Graphics:
    if values.flag("disable-ticketing") is not True:
        raise refusal("-spice with a password, which the command does not hold")
    values.expect("seamless-migration", True)
    graphics = Graphics(type="spice")
    port = values.number("port")
    if values.flag("unix"):
        graphics.listens = [Listen(type="socket", socket=_own_socket(reader, values.required_text("addr"), "spice"))]
    elif port == 0:
        graphics.listens = [Listen(type="none")]
    else:
        graphics.port, graphics.tls_port, graphics.autoport = port, values.number("tls-port"), False
        values.skip("x509-dir")  # the node's
        graphics.listens = [Listen(type="address", address=values.required_text("addr"))]
    for option, mode in (("tls-channel", "secure"), ("plaintext-channel", "insecure")):
        for name in values.texts(option):
            if name == "default":
                graphics.default_mode = mode
            else:
                graphics.channels.append(SpiceChannel(name=name, mode=mode))
    mouse = values.flag("agent-mouse")
    graphics.mouse_mode = None if mouse is None else "client" if mouse else "server"
    graphics.image_compression, graphics.jpeg_compression, graphics.zlib_compression = (
        values.text(name) for name in ("image-compression", "jpeg-wan-compression", "zlib-glz-wan-compression"))
    graphics.playback_compression, graphics.streaming_mode = (
        values.flag("playback-compression"), values.text("streaming-video"))
    graphics.clipboard_copypaste = False if values.flag("disable-copy-paste") else None
    graphics.filetransfer_enable = False if values.flag("disable-agent-file-xfer") else None
    graphics.gl_enable, graphics.gl_rendernode = values.flag("gl"), values.text("rendernode")
    return graphics
