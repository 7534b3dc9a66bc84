"""What the type of a storage or host device leaves without a meaning, and units that stand beside their number.

The counterpart of ``kinds.py`` for disks, controllers, shared folders, memory modules and host devices: libvirt does
not read what is dropped here, so no definition keeps it. The tables of what each type reads stand beside the models.
"""

from __future__ import annotations

import functools

from virtbus_domain.xml.controller import FIELDS as CONTROLLER
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.disk import BackingStore, Disk
from virtbus_domain.xml.filesystem import SOURCE_FIELDS as FILESYSTEM_SOURCE
from virtbus_domain.xml.filesystem import VIRTIOFS_FIELDS, Filesystem
from virtbus_domain.xml.hostdev import FIELDS as HOSTDEV
from virtbus_domain.xml.hostdev import SOURCE_FIELDS as HOSTDEV_SOURCE
from virtbus_domain.xml.hostdev import Hostdev
from virtbus_domain.xml.kinds import all_of, drop_from_host_end, keep, settle_seclabels
from virtbus_domain.xml.memory_device import FIELDS as MEMORY
from virtbus_domain.xml.memory_device import MemoryDevice
from virtbus_domain.xml.redirdev import Redirdev
from virtbus_domain.xml.rng import EgdBackend, Rng
from virtbus_domain.xml.shmem import Shmem
from virtbus_domain.xml.smartcard import FIELDS as SMARTCARD
from virtbus_domain.xml.smartcard import Smartcard
from virtbus_domain.xml.storage_source import COMMON_FIELDS, PROTOCOL_FIELDS, SOURCE_FIELDS, DiskSource, StorageHost
from virtbus_domain.xml.tpm import BACKEND_FIELDS, Tpm
from virtbus_shared.service.xml_lines import is_blank
from virtbus_shared.service.xml_values import unit_bytes

_ALL_CONTROLLER, _ALL_HOSTDEV, _ALL_MEMORY = all_of(CONTROLLER), all_of(HOSTDEV), all_of(MEMORY)
_ALL_SMARTCARD, _VIRTIOFS = all_of(SMARTCARD), frozenset(VIRTIOFS_FIELDS)
_ALL_FILESYSTEM = all_of(FILESYSTEM_SOURCE) | {"source_socket"}


@functools.cache
def _fields_of_source(kind: str, protocol: str | None) -> tuple[str, ...]:
    return (*COMMON_FIELDS, *SOURCE_FIELDS[kind], *PROTOCOL_FIELDS.get(protocol or "", ()))


def drop_from_disk(disk: Disk) -> None:
    """Sources of other types, a geometry that is not whole, and elements that say nothing.

    The type is that of the source: without one nobody asks for it, and a file is what will be put in.
    """
    if disk.source is None:
        disk.type = "file"
    else:
        drop_from_source(disk.source, disk.type or "file")
        if disk.source.is_empty and is_blank(disk.source):
            disk.source = None
    if disk.backing_store:
        _drop_from_backing_store(disk.backing_store)
    if not (disk.geometry_cyls and disk.geometry_heads and disk.geometry_secs):
        disk.geometry_cyls = disk.geometry_heads = disk.geometry_secs = disk.geometry_trans = None
    if disk.driver:
        disk.driver.metadata_cache_max_size = disk.driver.metadata_cache_max_size or None
        if disk.driver.type is None and is_blank(disk.driver):
            disk.driver = None
    if is_blank(disk.iotune):
        disk.iotune = None


def forget_running_disk(disk: Disk) -> None:
    """The numbers of a disk's layers, and where a job copies it to: both are those of a running domain."""
    layer: Disk | BackingStore | None = disk
    while layer:
        if layer.source:
            layer.source.index = None
        layer = layer.backing_store
        if layer:
            layer.index = None
    disk.mirror = None


def drop_from_source(source: DiskSource, kind: str) -> None:
    """What a source of this type, or of its protocol, has no use for."""
    keep(source, _fields_of_source(kind, source.protocol if kind == "network" else None))
    if source.slices:
        source.slices = [piece for piece in source.slices if piece.type == "storage"][:1]
    if source.seclabels:
        settle_seclabels(source)
    if not source.reconnect_enabled:
        source.reconnect_timeout = None
    for host in source.hosts:
        _drop_from_host(host)


def _drop_from_host(host: StorageHost) -> None:
    """TCP is what nobody needs to say; a socket has no name and no port."""
    if host.transport == "unix":
        host.name = host.port = None
    elif host.transport == "tcp":
        host.transport = None


def _drop_from_backing_store(layer: BackingStore) -> None:
    """A layer without a type is none: it only says that nothing is below."""
    if layer.type is None:
        keep(layer, ())
        return
    if layer.source:
        drop_from_source(layer.source, layer.type)
        layer.source.startup_policy = None
    if layer.backing_store:
        _drop_from_backing_store(layer.backing_store)


def drop_from_controller(controller: Controller) -> None:
    """Ports, targets and windows of other types."""
    keep(controller, CONTROLLER.get(controller.type or "", ()), of=_ALL_CONTROLLER)
    if controller.model not in ("pci-root", "pcie-root"):
        controller.pcihole64 = None
    if is_blank(controller.driver):
        controller.driver = None


def drop_from_filesystem(filesystem: Filesystem) -> None:
    """Sources of other types, and the daemon of a share that has none; the size of a RAM disk in KiB."""
    names = FILESYSTEM_SOURCE.get(filesystem.type or "mount", ())
    if names == ("source_dir",) and filesystem.source_socket:
        names = ("source_socket",)
    keep(filesystem, names, of=_ALL_FILESYSTEM)
    if filesystem.driver_type is None:
        filesystem.driver_format = filesystem.driver_wrpolicy = None
    if filesystem.driver_type != "virtiofs":
        keep(filesystem, (), of=_VIRTIOFS)
    filesystem.space_hard_limit = filesystem.space_hard_limit or None
    filesystem.space_soft_limit = filesystem.space_soft_limit or None
    if filesystem.source_usage is not None:
        filesystem.source_usage = filesystem.source_usage * unit_bytes(filesystem.source_units or "KiB") // 1024
        filesystem.source_units = "KiB"


def drop_from_hostdev(hostdev: Hostdev) -> None:
    """Sources and options of other types."""
    kind = hostdev.type or ""
    keep(hostdev, HOSTDEV.get(kind, ()), of=_ALL_HOSTDEV)
    if hostdev.mode == "capabilities":
        hostdev.managed = None
    source = hostdev.source
    if source is None:
        return
    if kind == "scsi" and source.protocol == "iscsi":
        kind = "iscsi"
    keep(source, HOSTDEV_SOURCE.get(kind, ()))
    for host in source.hosts:
        _drop_from_host(host)


def drop_from_memory(memory: MemoryDevice) -> None:
    """Sources and targets of other models; a label or a page that has no size."""
    keep(memory, MEMORY.get(memory.model or "", ()), of=_ALL_MEMORY)
    memory.pagesize, memory.alignsize, memory.label_size = (
        memory.pagesize or None, memory.alignsize or None, memory.label_size or None)


def drop_from_tpm(tpm: Tpm) -> None:
    """What another type of back end has."""
    if tpm.backend:
        keep(tpm.backend, ("type", *BACKEND_FIELDS.get(tpm.backend.type or "", ())))
        if is_blank(tpm.backend.active_pcr_banks):
            tpm.backend.active_pcr_banks = None


def drop_from_smartcard(smartcard: Smartcard) -> None:
    """What a card of another mode has."""
    keep(smartcard, SMARTCARD.get(smartcard.mode or "", ()), of=_ALL_SMARTCARD)
    drop_from_host_end(smartcard)


def drop_from_rng(rng: Rng) -> None:
    """A period in which nothing is limited, and the other ends of character devices."""
    if rng.rate_bytes is None:
        rng.rate_period = None
    if isinstance(rng.backend, EgdBackend):
        drop_from_host_end(rng.backend)


def drop_from_redirdev(redirdev: Redirdev) -> None:
    """The other ends of character devices."""
    drop_from_host_end(redirdev)


def settle_shmem(shmem: Shmem) -> None:
    """The size, in bytes unless it says otherwise, in whole MiB; a role that the first model does not have."""
    if shmem.model in (None, "ivshmem"):
        shmem.role = None
    if shmem.size is not None:
        shmem.size = shmem.size * unit_bytes(shmem.size_unit or "bytes") // 2**20
        shmem.size_unit = "M"
    else:
        shmem.size_unit = None
