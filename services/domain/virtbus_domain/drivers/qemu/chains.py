"""The layers of a disk that its document does not name: found in the images when the domain starts.

Each image records the one that it is an overlay of. What is found is written into the live model, layer by layer, as
libvirt shows it; QEMU is then told of every layer and looks into no image for names by itself.
"""

from __future__ import annotations

import os
from pathlib import Path

from virtbus_domain.drivers.qemu.backing import source_of
from virtbus_domain.drivers.qemu.images import (
    Image,
    UnreadableError,
    can_have_backing,
    guess_format,
    is_block_device,
    read_header,
    read_image,
    storage_error,
)
from virtbus_domain.drivers.qemu.layers import Layer, Volumes, image_format, resolved
from virtbus_domain.xml.disk import BackingStore, Disk
from virtbus_domain.xml.domain import Devices
from virtbus_domain.xml.storage_source import FORMATS
from virtbus_shared import constants as c

_DEEPEST = 200  # layers: libvirt's limit


def find_layers(devices: Devices, volumes: Volumes) -> None:
    """Complete the chains of all disks; it blocks. Raises ``LibvirtError`` for a source that is not there.

    A drive whose medium is optional and missing is empty, and a disk of that kind is not there at all.
    """
    for disk in list(devices.disks):
        if disk.source is None:
            continue
        if disk.source.startup_policy == "optional" and _is_missing(disk, volumes):
            if disk.device in ("cdrom", "floppy"):
                disk.source = None
            else:
                devices.disks.remove(disk)
            continue
        complete_chain(disk, volumes)


def complete_chain(disk: Disk, volumes: Volumes) -> None:
    """Write the layers below a disk's source into it, from where its document ends. Raises ``LibvirtError``."""
    layer: Layer = disk
    above: str | None = None
    for _ in range(_DEEPEST):
        assert layer.source is not None
        path = _local_path(layer, volumes)
        if path is None:  # on a server: only QEMU can look into it
            return
        header = _header(path, above)
        if layer.backing_store is None:
            layer.backing_store = _below(path, header, image_format(layer))
        if layer.backing_store.source is None:
            return
        layer, above = layer.backing_store, path
    raise storage_error(c.VIR_ERR_INTERNAL_ERROR,
                        f"backing store for {_local_path(layer, volumes)} is self-referential or too deeply nested")


def _local_path(layer: Layer, volumes: Volumes) -> str | None:
    kind, source = resolved(layer, volumes)
    return source.path if kind in ("file", "block") else None


def _is_missing(disk: Disk, volumes: Volumes) -> bool:
    path = _local_path(disk, volumes)
    return path is not None and not os.access(path, os.R_OK)


def _header(path: str, above: str | None) -> bytes:
    try:
        return read_header(path)
    except OSError as error:
        what = f"storage file '{path}'" if above is None else f"backing file '{path}' of storage file '{above}'"
        raise storage_error(
            c.VIR_ERR_SYSTEM_ERROR,
            f"Cannot access {what} (as uid:{os.geteuid()}, gid:{os.getegid()}): {error.strerror}",
            error.errno or -1) from error


def _below(path: str, header: bytes, known: str) -> BackingStore:
    """The layer that an image names; one without a source when there is none."""
    image = _read(path, header, known)
    if image.has_data_file:
        raise storage_error(c.VIR_ERR_CONFIG_UNSUPPORTED, f"image '{path}' keeps its data in another file")
    if image.backing is None:
        return BackingStore()
    kind, source = source_of(image.backing, Path(path).parent)
    if kind == "file" and is_block_device(str(source.file)):
        kind, source.dev, source.file = "block", source.file, None
    below = BackingStore(type=kind, source=source, format=image.backing_format)
    if below.format is None:
        below.format = _only_safe_guess(below, image.backing, path)
    elif below.format not in FORMATS:
        raise storage_error(c.VIR_ERR_INTERNAL_ERROR,
                            f"unknown backing store format '{below.format}' of image '{path}'")
    return below


def _read(path: str, header: bytes, known: str) -> Image:
    try:
        return read_image(header, known)
    except UnreadableError as error:
        raise storage_error(c.VIR_ERR_INTERNAL_ERROR, f"image '{path}': {error}") from error


def _only_safe_guess(layer: BackingStore, name: str, above: str) -> str:
    """The format of an image for which none was recorded, if a wrong guess could lead to no other file."""
    path = _local_path(layer, {})
    if path is not None:
        header = _header(path, above)
        guessed = guess_format(header)
        if not can_have_backing(guessed) or _read(path, header, guessed) == Image():
            return guessed
    raise storage_error(
        c.VIR_ERR_OPERATION_INVALID,
        f"format of backing image '{name}' of image '{above}' was not specified in the image metadata "
        "(See https://libvirt.org/kbase/backing_chains.html for troubleshooting)")
