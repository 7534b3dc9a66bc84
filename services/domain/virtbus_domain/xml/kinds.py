"""What a device of one type has no use for: libvirt does not read it, so no definition keeps it.

One element serves many types: the ``source`` of an interface names a bridge, a socket or a host device, and the
attributes of the others count for nothing. The models declare all of them; here is dropped what the type of a device
leaves without a meaning, and what says nothing. The tables of what each type reads stand beside the models.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from virtbus_domain.xml.chardev import SOURCE_FIELDS as CHARDEV_SOURCE
from virtbus_domain.xml.chardev import TARGET_FIELDS, Chardev, ChardevSource
from virtbus_domain.xml.graphics import CHANNELS, Graphics
from virtbus_domain.xml.graphics import FIELDS as GRAPHICS
from virtbus_domain.xml.input import SOURCE_FIELDS as INPUT_SOURCE
from virtbus_domain.xml.input import Input
from virtbus_domain.xml.interface import SOURCE_FIELDS as INTERFACE_SOURCE
from virtbus_domain.xml.interface import VIRTIO_MODELS, Interface
from virtbus_domain.xml.network_port import FilterRef
from virtbus_domain.xml.redirdev import Redirdev
from virtbus_domain.xml.rng import EgdBackend
from virtbus_domain.xml.smartcard import Smartcard
from virtbus_domain.xml.sound import AUDIO_FIELDS, DIRECTION_FIELDS, Audio, Sound
from virtbus_domain.xml.storage_source import DiskSource
from virtbus_domain.xml.video import Video
from virtbus_shared.service.xml_lines import PLANS, Element, is_blank

HostEnd = Chardev | EgdBackend | Redirdev | Smartcard

_FILTERED = ("network", "bridge", "ethernet")
_HDA = ("ich6", "ich9")
_VARIABLE = re.compile("[a-zA-Z0-9_]*", re.ASCII)
_VALUE = re.compile("[a-zA-Z0-9_.:]+", re.ASCII)


@functools.cache
def _others(model: Any, names: tuple[str, ...], of: frozenset[str] | None
            ) -> tuple[Callable[[Any], Any], Any, list[str]]:
    """Of the fields that are not kept: how to get them all, what they are when empty, and their names."""
    defaults = PLANS[model].defaults
    others = [name for name in (defaults if of is None else of) if name not in names]
    empty = [[] if defaults[name] is list else defaults[name] for name in others]
    return (attrgetter(*others), empty[0] if len(empty) == 1 else tuple(empty), others) if others else (
        lambda model: None, None, others)


def keep(model: Element, names: tuple[str, ...], *, of: frozenset[str] | None = None) -> None:
    """Empty all fields, or those ``of`` a group, but the named ones. Most are: one look tells."""
    cls: Any = type(model)
    get, empty, others = _others(cls, names, of)
    if get(model) == empty:
        return
    defaults = PLANS[type(model)].defaults
    for name in others:
        setattr(model, name, [] if defaults[name] is list else defaults[name])


def all_of(table: dict[str, tuple[str, ...]]) -> frozenset[str]:
    """Every field that a table has for some type."""
    return frozenset(name for names in table.values() for name in names)


_GRAPHICS = {kind: ("type", *names) for kind, names in GRAPHICS.items()}
_INTERFACE_SOURCE = {kind: (*names, "ips", "routes") for kind, names in INTERFACE_SOURCE.items()}
_INPUT_SOURCE, _AUDIO, _DIRECTION = all_of(INPUT_SOURCE), all_of(AUDIO_FIELDS), all_of(DIRECTION_FIELDS)


def drop_from_interface(interface: Interface) -> None:
    """Sources of other types, virtio options of other cards, filters where none can be."""
    if interface.type != "hostdev":
        interface.managed = None
    _drop_from_source(interface)
    driver = interface.driver
    if driver and interface.type == "hostdev":
        keep(driver, ("name",))
    elif interface.model not in VIRTIO_MODELS:
        interface.driver = None
    if is_blank(interface.driver):
        interface.driver = None
    if interface.backend and interface.model not in VIRTIO_MODELS:
        interface.backend.vhost = None
    if is_blank(interface.backend):
        interface.backend = None
    if is_blank(interface.bandwidth):
        interface.bandwidth = None
    if interface.type not in _FILTERED or not (interface.filterref and interface.filterref.filter):
        interface.filterref = None
    else:
        _drop_from_filter(interface.filterref)


def _drop_from_source(interface: Interface) -> None:
    source, names = interface.source, _INTERFACE_SOURCE.get(interface.type or "", ("ips", "routes"))
    if source is None:
        return
    if interface.type == "user" and interface.backend and interface.backend.type:
        names = ("dev", *names)
    keep(source, names)
    if not source.reconnect_enabled:
        source.reconnect_timeout = None
    if len(names) == 2 and is_blank(source):  # its type has no source
        interface.source = None


def _drop_from_filter(filterref: FilterRef) -> None:
    """Variables that no filter could have; what is left comes sorted by name."""
    filterref.parameters = sorted(
        (parameter for parameter in filterref.parameters if parameter.name is not None
         and _VARIABLE.fullmatch(parameter.name) and _VALUE.fullmatch(parameter.value or "")),
        key=lambda parameter: str(parameter.name))


def drop_from_chardev(chardev: Chardev, element: str) -> None:
    """Sources and targets of other types; ``element`` is "serial", "parallel", "console" or "channel"."""
    _drop_from_host_end(chardev)
    if chardev.target:
        kind = (chardev.target.type or "") if element == "channel" else element
        keep(chardev.target, TARGET_FIELDS.get(kind, ("type",)))


def drop_from_host_end(device: HostEnd) -> None:
    """Sources of other types, of a device that is not a character device but has one as its other end."""
    for source in device.source:
        source.seclabels = []
    _drop_from_host_end(device)


def _drop_from_host_end(device: HostEnd) -> None:
    if device.source:
        _drop_from_sources(device, CHARDEV_SOURCE.get(device.type or "pty", ()))
    if device.type != "tcp":
        device.protocol = None
    if device.log_file is None:
        device.log_append = None


def _drop_from_sources(device: HostEnd, names: tuple[str, ...]) -> None:
    left = []
    for source in device.source:
        if device.type == "unix" and not source.path:
            continue
        keep(source, names)
        if not source.reconnect_enabled:
            source.reconnect_timeout = None
        if source.seclabels:
            settle_seclabels(source)
        if not is_blank(source):
            left.append(source)
    if device.type == "udp":
        left.sort(key=lambda source: source.mode != "bind")
    device.source = left


def settle_seclabels(source: ChardevSource | DiskSource) -> None:
    """Labels that say nothing go; one with a text is put on the file, which need not be said."""
    source.seclabels = [s for s in source.seclabels if s.relabel is not None or s.label is not None]
    for seclabel in source.seclabels:
        if seclabel.relabel is None:
            seclabel.relabel = True


def drop_from_graphics(graphics: Graphics) -> None:
    """Attributes of other types, rules for a password that is not there, and channels without a rule."""
    keep(graphics, _GRAPHICS.get(graphics.type or "", ("type",)))
    if graphics.passwd is None:
        graphics.passwd_valid_to = graphics.connected = None
    if graphics.channels:
        last = {channel.name: channel for channel in graphics.channels}
        graphics.channels = [last[name] for name in CHANNELS if name in last and last[name].mode != "any"]


def drop_from_video(video: Video) -> None:
    """A card that is none has no properties."""
    if video.model == "none":
        keep(video, ("model", "alias"))


def drop_from_input(device: Input) -> None:
    """Host devices of other types."""
    keep(device, INPUT_SOURCE.get(device.type or "", ()), of=_INPUT_SOURCE)


def drop_from_sound(sound: Sound) -> None:
    """Codecs of cards that have none."""
    if sound.model not in _HDA:
        sound.codecs = []


def drop_from_audio(audio: Audio) -> None:
    """Settings of other types, and directions of which nothing is said."""
    keep(audio, AUDIO_FIELDS.get(audio.type or "", ()), of=_AUDIO)
    for direction in (audio.input, audio.output):
        if direction:
            keep(direction, DIRECTION_FIELDS.get(audio.type or "", ()), of=_DIRECTION)
    audio.input = None if is_blank(audio.input) else audio.input
    audio.output = None if is_blank(audio.output) else audio.output
