"""What screens, cards, input devices and sound cannot be, for every driver of libvirt's and for its QEMU driver."""

from __future__ import annotations

from virtbus_domain.normalise.check_virtio import refuse_virtio_options
from virtbus_domain.normalise.context import internal_error, qemu_unsupported, unsupported, xml_error
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.graphics import Graphics
from virtbus_domain.xml.input import Input
from virtbus_domain.xml.sound import Audio
from virtbus_domain.xml.video import Video

_VNC_PASSWORD = 8  # characters that the protocol has room for
_NO_QEMU_SCREENS = ("rdp", "desktop")
_QEMU_CARDS = ("vga", "cirrus", "vmvga", "qxl", "virtio", "none", "bochs", "ramfb")
_SECONDARY = ("qxl", "virtio")
_SEVERAL_HEADS = ("qxl", "virtio")
_SMALLEST_VGA = 1024  # KiB
_TYPED_ON = ("mouse", "keyboard")


# --- for every driver -----------------------------------------------------------------------------------------------


def check_video(video: Video, domain: Domain) -> None:
    """Refuse memory and options that only other cards have; a card that is none is the only one."""
    assert domain.devices
    if video.model == "none" and len(domain.devices.videos) > 1:
        raise unsupported("a 'none' video type must be the only video device defined for the domain")
    if video.model != "qxl":
        for name in ("ram", "vram64", "vgamem"):
            if getattr(video, name) is not None:
                raise unsupported(f"{name} attribute only supported for video type qxl")
    if video.model != "virtio" and video.driver_name == "vhostuser":
        raise unsupported("'vhostuser' driver is only supported with 'virtio' device")
    if video.model != "virtio":
        refuse_virtio_options(video)


def check_input(device: Input, domain: Domain) -> None:
    """Refuse a device on a bus that does not carry its like."""
    assert domain.os
    kind, bus = device.type, device.bus
    if domain.os.type == "hvm":
        if bus == "ps2" and kind not in _TYPED_ON:
            raise internal_error(f"ps2 bus does not support {kind} input device")
        if bus == "xen":
            raise internal_error(f"unsupported input bus {bus}")
    elif domain.os.type not in ("xen", "xenpvh"):
        raise internal_error("Input devices are not supported by this virtualization driver.")
    elif bus != "xen":
        raise internal_error(f"unsupported input bus {bus}")
    elif kind not in _TYPED_ON:
        raise internal_error(f"xen bus does not support {kind} input device")
    if kind == "passthrough" and bus != "virtio":
        raise unsupported(f"only bus 'virtio' is supported for '{kind}' input devices")
    if kind == "evdev" and bus is not None:
        raise unsupported(f"input {kind} doesn't support bus element")
    if device.model is not None and bus != "virtio":
        raise unsupported(f"only bus 'virtio' is supported for input model '{device.model}'")


def check_audio(audio: Audio, domain: Domain) -> None:
    """A direction that has its own format is mixed."""
    del domain
    for direction in (audio.input, audio.output):
        if direction is None:
            continue
        if direction.fixed_settings and not direction.mixing_engine:
            raise unsupported("fixed audio settings requires mixing engine")
        said = direction.frequency is not None or direction.channels is not None or direction.format is not None
        if said and not direction.fixed_settings:
            raise unsupported("audio settings specified without fixed settings flag")


def check_audio_ids(domain: Domain) -> None:
    """Back ends of sound have a number each, and others name those."""
    assert domain.devices
    devices = domain.devices
    numbers = [audio.id for audio in devices.audios]
    for number in numbers:
        if numbers.count(number) > 1:
            raise xml_error(f"audio ID {number} is used multiple times")
    for wanted in (*(sound.audio_id for sound in devices.sounds), *(screen.audio_id for screen in devices.graphics)):
        if wanted is not None and wanted not in numbers:
            raise xml_error(f"no audio device with ID {wanted}")


# --- for QEMU -------------------------------------------------------------------------------------------------------


def check_qemu_graphics(graphics: Graphics, domain: Domain) -> None:
    """Refuse screens of other hypervisors, and secrets that a protocol has no room for."""
    del domain
    if graphics.type in _NO_QEMU_SCREENS:
        raise qemu_unsupported(f"{graphics.type} graphics are not supported with this QEMU")
    if graphics.type == "vnc" and graphics.passwd is not None and len(graphics.passwd) > _VNC_PASSWORD:
        raise qemu_unsupported(f"VNC password is {len(graphics.passwd)} characters long, only {_VNC_PASSWORD} "
                               "permitted")


def check_qemu_video(video: Video, domain: Domain) -> None:
    """Refuse cards that QEMU does not have, and what its cards do not have."""
    del domain
    kind = video.model
    if kind not in _QEMU_CARDS:
        raise qemu_unsupported(f"domain configuration does not support video model '{kind}'")
    if not video.primary and kind not in (*_SECONDARY, "none"):
        raise qemu_unsupported(f"video type '{kind}' is only valid as primary video device")
    if video.accel2d is not None:
        raise qemu_unsupported("qemu does not support the accel2d setting")
    if video.accel3d and kind != "virtio":
        raise qemu_unsupported("3d acceleration is supported only with 'virtio' video device")
    if (video.heads or 0) > 1 and kind not in _SEVERAL_HEADS:
        raise qemu_unsupported(f"video type '{kind}' doesn't support multiple 'heads'")
    if video.vgamem is not None and video.vgamem < _SMALLEST_VGA:
        raise qemu_unsupported("value for 'vgamem' must be at least 1 MiB (1024 KiB)")


def check_qemu_input(device: Input, domain: Domain) -> None:
    """Refuse flavours of virtio that input devices do not come in."""
    del domain
    if device.model not in (None, "virtio") and device.type in ("mouse", "tablet", "keyboard"):
        raise qemu_unsupported(f"virtio (non-)transitional models are not supported for input type={device.type}")


def check_qemu_audio(audio: Audio, domain: Domain) -> None:
    """SPICE carries sound where there is SPICE."""
    assert domain.devices
    if audio.type == "spice" and not any(graphics.type == "spice" for graphics in domain.devices.graphics):
        raise qemu_unsupported("Spice audio is not supported without spice graphics")
