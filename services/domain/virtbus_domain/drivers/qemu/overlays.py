"""Transient disks: what the guest writes goes to an overlay that is made for its run, and forgotten after it.

In the live document the overlay is the disk's source, with the image it was made over as the first layer below, as
libvirt shows it. The files lie on disk, beside the service's state: a run directory is memory on most hosts.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from virtbus_domain.drivers.qemu.command.arguments import unsupported
from virtbus_domain.drivers.qemu.command.block import FORMATS
from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.layers import highest_number, image_format
from virtbus_domain.drivers.qemu.tools import run_tool
from virtbus_domain.xml.disk import BackingStore, Disk, DiskDriver
from virtbus_domain.xml.domain import Devices
from virtbus_domain.xml.storage_source import DiskSource
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


def overlay_directory(state_dir: Path, paths: GuestPaths) -> Path:
    """Where the overlays of one run of a guest lie."""
    return state_dir / "transient" / paths.directory.name


async def make_overlays(devices: Devices, directory: Path) -> None:
    """Put an overlay over each transient disk; the layers are numbered by then. Raises ``LibvirtError``."""
    number = highest_number(devices.disks)
    for disk in devices.disks:
        if disk.transient is not None:
            number += 1
            await _make(disk, directory, number)


async def _make(disk: Disk, directory: Path, number: int) -> None:
    if disk.type not in (None, "file") or disk.source is None or not disk.source.file:
        raise unsupported(f"the transient disk '{disk.target_dev}' that is no file")
    base_format = image_format(disk)
    path = directory / f"{disk.alias}.qcow2"
    _create(path)
    size = await _virtual_size(disk.source.file, FORMATS[base_format])
    # The layer below is named to QEMU by its node, so it need not be recorded.
    await run_tool("qemu-img", "create", "-q", "-f", "qcow2", str(path), str(size))
    below = BackingStore(type="file", format=base_format, index=disk.source.index,
                         source=disk.source, backing_store=disk.backing_store or BackingStore())
    disk.source.index = None
    disk.driver = disk.driver or DiskDriver()
    disk.source, disk.driver.type, disk.backing_store = DiskSource(file=str(path), index=number), "qcow2", below


def _create(path: Path) -> None:
    """An empty file that nobody else may read."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise LibvirtError(c.VIR_ERR_SYSTEM_ERROR, f"Failed to create file '{path}': {error.strerror}",
                           domain=c.VIR_FROM_QEMU, int1=error.errno or -1) from error


async def _virtual_size(path: str, driver: str) -> int:
    """The size in bytes that a guest sees."""
    answer = json.loads(await run_tool("qemu-img", "info", "--force-share", "--output=json", "-f", driver, "--", path))
    return int(answer["virtual-size"])


def remove_overlays(state_dir: Path, paths: GuestPaths) -> None:
    """Forget what a guest that has ended wrote; it blocks."""
    shutil.rmtree(overlay_directory(state_dir, paths), ignore_errors=True)


def remove_other_overlays(state_dir: Path, directory: Path) -> None:
    """Forget what guests wrote whose runs have no directory in this one any more; it blocks."""
    for overlays in (state_dir / "transient").glob("*"):
        if not (directory / overlays.name).exists():
            shutil.rmtree(overlays, ignore_errors=True)
