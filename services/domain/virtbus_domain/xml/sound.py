"""Sound cards of a guest, and the host's audio systems that they play on."""

from __future__ import annotations

from virtbus_domain.xml.address import address, alias
from virtbus_shared.service.xml import attr, each, element, sub
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import INT, UINT, YESNO, words

SOUND_MODELS = ("sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb", "ich7")
AUDIO_TYPES = ("none", "alsa", "coreaudio", "jack", "oss", "pulseaudio", "sdl", "spice", "file", "dbus")
SAMPLE_FORMATS = ("u8", "s8", "u16", "s16", "u32", "s32", "f32")


@element
class Sound(Element):
    """One card; ``audio_id`` names the back end, the first one when absent."""

    model: str | None = attr("@model", words(*SOUND_MODELS))
    codecs: list[str] = each("codec/@type", words("duplex", "micro", "output"))
    audio_id: int | None = attr("audio/@id", UINT)
    alias: str | None = alias()
    acpi_index: int | None = attr("acpi/@index", UINT)
    address: Element | None = address()


@element
class AudioDirection(Element):
    """Recording or playing: buffer in microseconds, and what only one kind of back end knows.

    ``dev`` is ALSA's or OSS's; ``server_name`` to ``exact_name`` JACK's; ``name``, ``stream_name`` and ``latency`` (in
    microseconds) PulseAudio's.
    """

    mixing_engine: bool | None = attr("@mixingEngine", YESNO)
    fixed_settings: bool | None = attr("@fixedSettings", YESNO)
    voices: int | None = attr("@voices", UINT)
    buffer_length: int | None = attr("@bufferLength", UINT)
    dev: str | None = attr("@dev")
    buffer_count: int | None = attr("@bufferCount", UINT)
    try_poll: bool | None = attr("@tryPoll", YESNO)
    server_name: str | None = attr("@serverName")
    client_name: str | None = attr("@clientName")
    connect_ports: str | None = attr("@connectPorts")
    exact_name: bool | None = attr("@exactName", YESNO)
    name: str | None = attr("@name")
    stream_name: str | None = attr("@streamName")
    latency: int | None = attr("@latency", UINT)
    frequency: int | None = attr("settings/@frequency", UINT)
    channels: int | None = attr("settings/@channels", UINT)
    format: str | None = attr("settings/@format", words(*SAMPLE_FORMATS))


@element
class Audio(Element):
    """A back end on the host; ``timer_period`` in microseconds."""

    id: int | None = attr("@id", UINT)
    type: str | None = attr("@type", words(*AUDIO_TYPES))
    timer_period: int | None = attr("@timerPeriod", UINT)
    try_mmap: bool | None = attr("@tryMMap", YESNO)
    exclusive: bool | None = attr("@exclusive", YESNO)
    dsp_policy: int | None = attr("@dspPolicy", INT)
    server_name: str | None = attr("@serverName")
    driver: str | None = attr("@driver")
    path: str | None = attr("@path")
    input: AudioDirection | None = sub("input", AudioDirection)
    output: AudioDirection | None = sub("output", AudioDirection)
