"""What a person sees, hears and types on, read from a command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from virtbus_domain.drivers.qemu.command.sound import DRIVERS as AUDIO_DRIVERS
from virtbus_domain.drivers.qemu.native.options import mapping, members, number, refusal, switched
from virtbus_domain.xml.graphics import Graphics, Listen, SpiceChannel
from virtbus_domain.xml.input import Input
from virtbus_domain.xml.sound import Audio, AudioDirection, Sound
from virtbus_domain.xml.video import Video

if TYPE_CHECKING:
    from virtbus_domain.drivers.qemu.native.devices import Reader

_VIDEO = {"VGA": "vga", "cirrus-vga": "cirrus", "vmware-svga": "vmvga", "qxl-vga": "qxl", "qxl": "qxl",
          "virtio-vga": "virtio", "virtio-gpu-pci": "virtio", "bochs-display": "bochs", "ramfb": "ramfb",
          "virtio-vga-gl": "virtio", "virtio-gpu-gl-pci": "virtio"}
_INPUTS = {"usb-mouse": ("mouse", "usb"), "usb-tablet": ("tablet", "usb"), "usb-kbd": ("keyboard", "usb"),
           "virtio-mouse-pci": ("mouse", "virtio"), "virtio-tablet-pci": ("tablet", "virtio"),
           "virtio-keyboard-pci": ("keyboard", "virtio"), "virtio-input-host-pci": ("passthrough", "virtio")}
_SOUND = {"intel-hda": "ich6", "ich9-intel-hda": "ich9", "AC97": "ac97", "ES1370": "es1370", "sb16": "sb16",
          "usb-audio": "usb"}
_CODECS = {"hda-duplex": "duplex", "hda-micro": "micro", "hda-output": "output"}
_AUDIO_OF = {driver: ours for ours, driver in AUDIO_DRIVERS.items()}
VIDEO_DRIVERS, INPUT_DRIVERS, SOUND_DRIVERS = tuple(_VIDEO), tuple(_INPUTS), (*_SOUND, *_CODECS)
_VNC_FIRST_PORT = 5900
_MIB = 1024  # KiB


def read_video(reader: Reader, item: Mapping[str, Any]) -> None:
    """A video card; the first is the primary one."""
    driver, model = item["driver"], _VIDEO[item["driver"]]
    video = Video(model=model, heads=item.get("max_outputs", 1), primary=not reader.devices.videos or None,
                  blob=item.get("blob"), resolution_x=item.get("xres"), resolution_y=item.get("yres"),
                  alias=reader.alias(item), address=reader.place(item))
    if model == "qxl":
        video.ram, video.vram = item["ram_size"] // 1024, item["vram_size"] // 1024
        video.vram64, video.vgamem = item["vram64_size_mb"] * _MIB or None, item["vgamem_mb"] * _MIB
    elif "vgamem_mb" in item:
        video.vram = item["vgamem_mb"] * _MIB
    elif "vgamem" in item:
        video.vram = item["vgamem"] // 1024
    if "-gl" in driver:
        video.accel3d = True
    video.driver_iommu, video.driver_ats = item.get("iommu_platform"), item.get("ats")
    video.driver_packed, video.driver_page_per_vq = item.get("packed"), item.get("page-per-vq")
    reader.devices.videos.append(video)


def read_input(reader: Reader, item: Mapping[str, Any]) -> None:
    """A mouse, tablet or keyboard."""
    kind, bus = _INPUTS[item["driver"]]
    reader.devices.inputs.append(Input(
        type=kind, bus=bus, source_evdev=item.get("evdev"), driver_iommu=item.get("iommu_platform"),
        driver_ats=item.get("ats"), driver_packed=item.get("packed"), driver_page_per_vq=item.get("page-per-vq"),
        alias=reader.alias(item), address=reader.place(item)))


def read_sound(reader: Reader, item: Mapping[str, Any]) -> None:
    """A sound card; its codecs come behind it."""
    sounds = reader.devices.sounds
    audio = number(str(item["audiodev"]).removeprefix("audio")) if "audiodev" in item else None
    if item["driver"] in _CODECS:
        sounds[-1].codecs.append(_CODECS[item["driver"]])
        sounds[-1].audio_id = audio
        return
    sounds.append(Sound(model=_SOUND[item["driver"]], audio_id=audio, alias=reader.alias(item),
                        address=reader.place(item)))


def read_audio(reader: Reader) -> None:
    """The back ends of sound."""
    for item in reader.words.objects("-audiodev"):
        reader.devices.audios.append(Audio(
            id=number(item["id"].removeprefix("audio")), type=_AUDIO_OF[item["driver"]],
            timer_period=item.get("timer-period"), path=item.get("path"), input=_direction(item.get("in")),
            output=_direction(item.get("out"))))
    if any("pcspk-audiodev" in text for text in reader.words.all("-machine")):
        reader.devices.sounds.append(Sound(model="pcspk"))


def _direction(values: Mapping[str, Any] | None) -> AudioDirection | None:
    if values is None:
        return None
    return AudioDirection(**{name.replace("-", "_"): value for name, value in values.items()})


def read_graphics(reader: Reader) -> None:
    """The servers, and the keyboard layout that belongs to the one before it."""
    for option, text in reader.words.options:
        match option:
            case "-vnc":
                reader.devices.graphics.append(_vnc(text))
            case "-spice":
                reader.devices.graphics.append(_spice(text))
            case "-display" if text.startswith("egl-headless"):
                values = mapping(text, "display")
                reader.devices.graphics.append(Graphics(type="egl-headless", gl_rendernode=values.get("rendernode")))
            case "-display" if text != "none":
                raise refusal(f"-display {text}")
            case "-k":
                reader.devices.graphics[-1].keymap = text


def _vnc(text: str) -> Graphics:
    values = mapping(text, "vnc")
    where = values["vnc"]
    graphics = Graphics(type="vnc", share_policy=values.get("share"))
    if where == "none":
        graphics.listens = [Listen(type="none")]
    elif where.startswith("unix:"):
        graphics.listens = [Listen(type="socket", socket=where.removeprefix("unix:"))]
    else:
        address, _, display = where.rpartition(":")
        graphics.port, graphics.autoport = int(display) + _VNC_FIRST_PORT, False
        graphics.listens = [Listen(type="address", address=address.strip("[]"))]
    if "websocket" in values:
        graphics.websocket = -1 if values["websocket"] == "on" else number(values["websocket"])
    graphics.power_control = switched(values.get("power-control"))
    return graphics


def _spice(text: str) -> Graphics:
    pairs = members(text)
    values = dict(pairs)
    graphics = Graphics(type="spice")
    if values.get("unix") == "on":
        graphics.listens = [Listen(type="socket", socket=values["addr"])]
    elif values.get("port") == "0":
        graphics.listens = [Listen(type="none")]
    else:
        graphics.port, graphics.autoport = number(values.get("port")), "port" not in values
        graphics.listens = [Listen(type="address", address=values["addr"])]
    for name, value in pairs:
        if name == "plaintext-channel":
            if value == "default":
                graphics.default_mode = "insecure"
            else:
                graphics.channels.append(SpiceChannel(name=value, mode="insecure"))
    graphics.mouse_mode = {"on": "client", "off": "server"}.get(values.get("agent-mouse", ""))
    graphics.image_compression = values.get("image-compression")
    graphics.jpeg_compression = values.get("jpeg-wan-compression")
    graphics.zlib_compression = values.get("zlib-glz-wan-compression")
    graphics.playback_compression = switched(values.get("playback-compression"))
    graphics.streaming_mode = values.get("streaming-video")
    graphics.clipboard_copypaste = False if values.get("disable-copy-paste") == "on" else None
    graphics.filetransfer_enable = False if values.get("disable-agent-file-xfer") == "on" else None
    graphics.gl_enable, graphics.gl_rendernode = switched(values.get("gl")), values.get("rendernode")
    return graphics
