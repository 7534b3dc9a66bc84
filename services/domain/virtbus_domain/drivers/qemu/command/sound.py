"""Sound cards, and the back ends on the host that they play to and record from."""

from __future__ import annotations

from virtbus_domain.drivers.qemu.command.arguments import Arguments, Json, unsupported
from virtbus_domain.drivers.qemu.command.parts import Kind, Part, append, part_device
from virtbus_domain.drivers.qemu.command.place import place
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.xml.sound import Audio, AudioDirection, Sound

DRIVERS = {"none": "none", "alsa": "alsa", "oss": "oss", "spice": "spice", "file": "wav", "jack": "jack",
            "pulseaudio": "pa", "sdl": "sdl", "dbus": "dbus", "coreaudio": "coreaudio"}
_HDA = {"ich6": "intel-hda", "ich9": "ich9-intel-hda"}
_CODECS = {"duplex": "hda-duplex", "micro": "hda-micro", "output": "hda-output"}
_CARDS = {"ac97": "AC97", "es1370": "ES1370", "sb16": "sb16", "usb": "usb-audio"}


def append_audio(arguments: Arguments, setup: Setup) -> None:
    """``-audiodev`` for each back end."""
    for audio in setup.devices.audios:
        name = f"audio{audio.id}"
        append(arguments, [Part(Kind.AUDIODEV, name, {
            "id": name, "driver": DRIVERS[audio.type or "none"], "timer_period": audio.timer_period,
            **_of_driver(audio), "in": _direction(audio.input), "out": _direction(audio.output)})])
    for sound in setup.devices.sounds:
        if sound.model == "pcspk":  # part of every PC: what it plays to is a property of the machine
            arguments.keyed("-machine", pcspk_audiodev=_audio_of(sound, setup))


def _of_driver(audio: Audio) -> dict[str, Json]:
    match audio.type:
        case "file":
            return {"path": audio.path}
        case "oss":
            return {"try_mmap": audio.try_mmap, "exclusive": audio.exclusive, "dsp_policy": audio.dsp_policy}
        case "pulseaudio":
            return {"server": audio.server_name}
    return {}


def _direction(direction: AudioDirection | None) -> Json:
    if direction is None:
        return None
    return {
        "mixing_engine": direction.mixing_engine, "fixed_settings": direction.fixed_settings,
        "voices": direction.voices, "buffer_length": direction.buffer_length, "frequency": direction.frequency,
        "channels": direction.channels, "format": direction.format, "dev": direction.dev,
        "buffer_count": direction.buffer_count, "try_poll": direction.try_poll,
        "server_name": direction.server_name, "client_name": direction.client_name,
        "connect_ports": direction.connect_ports, "exact_name": direction.exact_name, "name": direction.name,
        "stream_name": direction.stream_name, "latency": direction.latency}


def sound_parts(sound: Sound, setup: Setup) -> list[Part]:
    """A card, with its codecs if it is of the kind that has them."""
    name, model = str(sound.alias), str(sound.model)
    if model == "pcspk":
        return []
    audio = _audio_of(sound, setup)
    if model in _HDA:
        codecs = sound.codecs or ["duplex"]
        return [part_device(_HDA[model], name, **place(sound, setup)),
                *(part_device(_CODECS[codec], f"{name}-codec{number}", bus=f"{name}.0", cad=number, audiodev=audio)
                  for number, codec in enumerate(codecs))]
    if model not in _CARDS:
        raise unsupported(f"sound card '{model}'")
    return [part_device(_CARDS[model], name, audiodev=audio, **place(sound, setup))]


def _audio_of(sound: Sound, setup: Setup) -> str | None:
    audios = setup.devices.audios
    number = sound.audio_id if sound.audio_id is not None else audios[0].id if audios else None
    return None if number is None else f"audio{number}"
