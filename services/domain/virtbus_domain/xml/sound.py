"""Sound cards of a guest, and the host's audio systems that they play to and record from."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias
from virtbus_domain.xml.values import UINT_OR_ZERO
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import attr, each, element, sub
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import INT, ORDER, YESNO, Kind, words

SOUND_MODELS = ("sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb", "ich7")
CODECS = ("duplex", "micro", "output")
AUDIO_TYPES = ("none", "alsa", "coreaudio", "jack", "oss", "pulseaudio", "sdl", "spice", "file", "dbus")
SDL_DRIVERS = ("esd", "alsa", "arts", "pulseaudio")
SAMPLE_FORMATS = ("u8", "s8", "u16", "s16", "u32", "s32", "f32")

# What libvirt reads of a back end beyond the common fields, by type: of itself, and of its directions.
AUDIO_FIELDS: dict[str, tuple[str, ...]] = {
    "oss": ("try_mmap", "exclusive", "dsp_policy"), "pulseaudio": ("server_name",), "sdl": ("driver",),
    "file": ("path",),
}
DIRECTION_FIELDS: dict[str, tuple[str, ...]] = {
    "alsa": ("dev",), "coreaudio": ("buffer_count",), "sdl": ("buffer_count",),
    "jack": ("server_name", "client_name", "connect_ports", "exact_name"),
    "oss": ("dev", "buffer_count", "try_poll"), "pulseaudio": ("name", "stream_name", "latency"),
}


def _read_policy(text: str) -> int:
    assert INT.read
    policy = INT.read(text)
    if policy < 0:
        raise LibvirtError(c.VIR_ERR_XML_ERROR, f"cannot parse 'dspPolicy' value '{policy}'", domain=c.VIR_FROM_DOMAIN)
    return policy


@element
class Sound(Element):
    """One card; ``audio_id`` names the back end, the first one when absent."""

    model: str | None = attr("@model", words(*SOUND_MODELS), required=True)
    codecs: list[str] = each("codec/@type", words(*CODECS),
                             error=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown codec type '{value}'"))
    audio_id: int | None = attr("audio/@id", ORDER)
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()


@element
class AudioDirection(Element):
    """Recording or playing: buffer in microseconds, frequency in hertz, and what only one type of back end knows.

    ``dev`` is ALSA's or OSS's; ``server_name`` to ``exact_name`` JACK's; ``name``, ``stream_name`` and ``latency`` (in
    microseconds) PulseAudio's.
    """

    mixing_engine: bool | None = attr("@mixingEngine", YESNO)
    fixed_settings: bool | None = attr("@fixedSettings", YESNO)
    voices: int | None = attr("@voices", ORDER)
    buffer_length: int | None = attr("@bufferLength", ORDER)
    dev: str | None = attr("@dev")
    buffer_count: int | None = attr("@bufferCount", UINT_OR_ZERO)
    try_poll: bool | None = attr("@tryPoll", YESNO)
    server_name: str | None = attr("@serverName")
    client_name: str | None = attr("@clientName")
    connect_ports: str | None = attr("@connectPorts")
    exact_name: bool | None = attr("@exactName", YESNO)
    name: str | None = attr("@name")
    stream_name: str | None = attr("@streamName")
    latency: int | None = attr("@latency", UINT_OR_ZERO)
    frequency: int | None = attr("settings/@frequency", ORDER)
    channels: int | None = attr("settings/@channels", ORDER)
    format: str | None = attr("settings/@format", words(*SAMPLE_FORMATS))


@element
class Audio(Element):
    """A back end on the host; ``timer_period`` in microseconds."""

    id: int | None = attr("@id", ORDER, required=True)
    type: str | None = attr("@type", words(*AUDIO_TYPES), required=True)
    timer_period: int | None = attr("@timerPeriod", ORDER)
    try_mmap: bool | None = attr("@tryMMap", YESNO)
    exclusive: bool | None = attr("@exclusive", YESNO)
    dsp_policy: int | None = attr("@dspPolicy", Kind(_read_policy, str))
    server_name: str | None = attr("@serverName")
    driver: str | None = attr("@driver", words(*SDL_DRIVERS))
    path: str | None = attr("@path")
    input: AudioDirection | None = sub("input", AudioDirection)
    output: AudioDirection | None = sub("output", AudioDirection)
