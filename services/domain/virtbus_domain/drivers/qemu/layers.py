"""The layers of a disk: its own source on top, then each image below it, and the numbers that name their nodes.

The number of the top layer stands at its source in the live document, that of a layer below at the layer itself.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from virtbus_domain.xml.disk import BackingStore, Disk
from virtbus_domain.xml.storage_source import DiskSource
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

Layer = Disk | BackingStore


class Volume(NamedTuple):
    """What backs a layer in the end: a type of storage other than "volume", and the source."""

    type: str
    source: DiskSource


Volumes = Mapping[tuple[str, str], Volume]
"""What volumes are on this node, by the names of pool and volume."""


def layers(disk: Disk) -> Iterator[Layer]:
    """The layers that have a source, the top one first."""
    layer: Layer | None = disk
    while layer is not None and layer.source is not None:
        yield layer
        layer = layer.backing_store


def source(layer: Layer) -> DiskSource:
    """What backs a layer."""
    assert layer.source is not None
    return layer.source


def resolved(layer: Layer, volumes: Volumes) -> Volume:
    """What backs a layer, a volume replaced by what it is. Raises ``LibvirtError`` for one that is not known."""
    given = source(layer)
    if layer.type != "volume":
        return Volume(layer.type or "file", given)
    volume = volumes.get((given.pool or "", given.volume or ""))
    if volume is None:
        raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED,
                           f"volume '{given.volume}' of pool '{given.pool}' is not known", domain=c.VIR_FROM_QEMU)
    complete = copy.copy(volume.source)
    complete.slices, complete.encryption = given.slices, given.encryption
    complete.startup_policy = given.startup_policy
    return Volume(volume.type, complete)


def storage_node(layer: Layer) -> str:
    """The name of the node that fetches a layer's bytes."""
    return f"libvirt-{number(layer)}-storage"


def format_node(layer: Layer) -> str:
    """The name of the node that knows a layer's image."""
    return f"libvirt-{number(layer)}-format"


def number(layer: Layer) -> int:
    """Its number; 0 before it has one."""
    return (layer.index if isinstance(layer, BackingStore) else source(layer).index) or 0


def set_number(layer: Layer, to: int) -> None:
    """Give it a number."""
    if isinstance(layer, BackingStore):
        layer.index = to
    else:
        source(layer).index = to


def image_format(layer: Layer) -> str:
    """The format of the image in it."""
    chosen = layer.format if isinstance(layer, BackingStore) else layer.driver.type if layer.driver else None
    return chosen or "raw"


def highest_number(disks: Iterable[Disk]) -> int:
    """The highest number that a layer has; 0 when none has any."""
    return max((number(layer) for disk in disks for layer in layers(disk)), default=0)


def number_layers(disks: Sequence[Disk]) -> None:
    """Number the layers of all disks, the last disk's top layer first: libvirt's order, and the names of nodes."""
    following = 0
    for disk in reversed(disks):
        following += 1  # of the drive, even an empty one
        for depth, layer in enumerate(layers(disk)):
            following += depth > 0
            set_number(layer, following)
