"""What a disk cannot be: its device, bus, source and options contradict each other, or QEMU has no such thing.

``check_disk`` has what libvirt asks of every driver, ``check_qemu_disk`` what its QEMU driver asks; the order within
each is libvirt's, since only the first refusal is seen.
"""

from __future__ import annotations

import re

from virtbus_domain.normalise.context import internal_error, qemu_unsupported, unsupported, xml_error
from virtbus_domain.normalise.shared_memory import require_shared_memory
from virtbus_domain.xml.disk import Disk, DiskDriver, Iotune
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.storage_source import DiskSource, Encryption
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_EJECTED = ("cdrom", "floppy")
_HARD_DISKS = ("hd", "sd", "vd", "xvd", "ubd")
_VIRTIO_ONLY = (("ioeventfd", "disk ioeventfd mode"), ("event_idx", "disk event_idx mode"))
_SHAREABLE = (None, "raw")
_LARGEST_LIMIT = 10**15  # of QEMU's throttling
_SERIAL = re.compile(r"[A-Za-z0-9_\- .+:@/()\[\]]*", re.ASCII)
_LUN_PROTOCOLS = ("iscsi",)
_LUN_BUSES = ("virtio", "scsi")
_TURNING = ("scsi", "ide", "sata")


# --- for every driver -----------------------------------------------------------------------------------------------


def check_disk(disk: Disk, domain: Domain) -> None:
    """Refuse what no disk of its kind can be. Raises ``LibvirtError``."""
    del domain
    source = disk.source
    if disk.device not in _EJECTED:
        if source is None or source.is_empty:
            raise LibvirtError(c.VIR_ERR_NO_SOURCE, disk.target_dev, domain=c.VIR_FROM_DOMAIN)
        if disk.target_tray is not None:
            raise unsupported("tray is only valid for cdrom and floppy")
    if disk.device == "lun":
        _check_lun(disk, source)
    else:
        _check_no_lun(disk, source)
    _check_bus(disk)
    if disk.driver is not None and disk.target_bus != "virtio":
        _check_virtio_options(disk.driver)
    if disk.model is not None and disk.target_bus != "virtio":
        raise unsupported(f"disk model '{disk.model}' not supported for bus '{disk.target_bus}'")
    if disk.iotune is not None:
        _check_iotune(disk.iotune)
    if source is not None and source.startup_policy is not None:
        _check_startup_policy(disk, source)


def _check_lun(disk: Disk, source: DiskSource | None) -> None:
    if disk.type == "network" and source is not None:
        if source.protocol not in _LUN_PROTOCOLS:
            raise unsupported(f"disk device='lun' is not supported for protocol='{source.protocol}'")
    elif disk.type not in ("block", "volume"):
        raise unsupported("disk device='lun' is only valid for block type disk source")


def _check_no_lun(disk: Disk, source: DiskSource | None) -> None:
    if disk.rawio is not None:
        raise unsupported("rawio can be used only with device='lun'")
    if disk.sgio is not None:
        raise unsupported("sgio can be used only with device='lun'")
    if source is not None and source.reservations is not None:
        raise unsupported("<reservations/> allowed only for lun devices")


def _check_bus(disk: Disk) -> None:
    bus, target = disk.target_bus, disk.target_dev or ""
    if disk.device == "floppy":
        if bus != "fdc":
            raise internal_error(f"Invalid bus type '{bus}' for floppy disk")
        if not target.startswith("fd"):
            raise internal_error(f"Invalid floppy device name: {target}")
    else:
        if bus == "fdc":
            raise internal_error(f"Invalid bus type '{bus}' for disk")
        if not target.startswith(_HARD_DISKS):
            raise internal_error(f"Invalid harddisk device name: {target}")
    if disk.target_removable is not None and bus != "usb":
        raise xml_error("removable is only valid for usb disks")


def _check_virtio_options(driver: DiskDriver) -> None:
    if driver.queues:
        raise unsupported("queues attribute in disk driver element is only supported by virtio-blk")
    for name, what in _VIRTIO_ONLY[::-1]:
        if getattr(driver, name) is not None:
            raise unsupported(f"{what} supported only for virtio bus")


def _check_iotune(iotune: Iotune) -> None:
    for unit in ("bytes", "iops"):
        for suffix, shown in (("", ""), ("_max", "_max")):
            parts = (getattr(iotune, f"{direction}_{unit}_sec{suffix}") for direction in ("read", "write"))
            if getattr(iotune, f"total_{unit}_sec{suffix}") and any(parts):
                raise xml_error(f"total and read/write {unit}_sec{shown} cannot be set at the same time")


def _check_startup_policy(disk: Disk, source: DiskSource) -> None:
    policy = source.startup_policy
    if disk.type == "network":
        raise xml_error(f"disk startupPolicy '{policy}' is not allowed for disk of 'network' type")
    if policy == "requisite" and disk.device not in _EJECTED:
        raise xml_error(f"disk startupPolicy '{policy}' is allowed only for cdrom or floppy")


# --- for QEMU -------------------------------------------------------------------------------------------------------


def check_qemu_disk(disk: Disk, domain: Domain) -> None:
    """Refuse what QEMU, or libvirt's driver of it, does not have. Raises ``LibvirtError``."""
    _check_identity(disk)
    if disk.driver is not None:
        _check_driver(disk, disk.driver, domain)
    if disk.transient is not None and disk.readonly:
        raise qemu_unsupported(f"transient disk '{disk.target_dev}' must not be read-only")
    if disk.iotune is not None:
        _check_limits(disk.iotune)
    if disk.source is not None:
        _check_source(disk, disk.source, domain)
    if disk.device == "cdrom" and disk.target_bus == "virtio":
        raise qemu_unsupported(f"disk type of '{disk.target_dev}' does not support ejectable media")


def _check_identity(disk: Disk) -> None:
    if disk.geometry_trans is not None and disk.target_bus != "ide":
        raise qemu_unsupported(f"CHS translation mode can only be set for 'ide' bus not '{disk.target_bus}'")
    if disk.serial is not None and not _SERIAL.fullmatch(disk.serial):
        raise _internal(f"driver serial '{disk.serial}' contains unsafe characters")
    if (disk.target_dev or "")[-1:].isdigit():
        raise qemu_unsupported(f"invalid disk target '{disk.target_dev}', partitions can't appear in disk targets")
    if disk.wwn and disk.target_bus not in ("ide", "scsi"):
        raise qemu_unsupported("Only ide and scsi disk support wwn")
    if (disk.vendor or disk.product) and disk.target_bus != "scsi":
        raise qemu_unsupported("Only scsi disk supports vendor and product")
    if disk.target_rotation_rate and disk.target_bus not in _TURNING:
        raise _internal("rotation rate is only valid for SCSI/IDE/SATA bus")
    if disk.device == "lun" and disk.target_bus not in _LUN_BUSES:
        raise qemu_unsupported(f"disk device='lun' is not supported for bus='{disk.target_bus}'")


def _internal(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_INTERNAL_ERROR, detail, domain=c.VIR_FROM_QEMU)


def _check_driver(disk: Disk, driver: DiskDriver, domain: Domain) -> None:
    if driver.name not in (None, "qemu"):
        raise qemu_unsupported(f"unsupported driver name '{driver.name}' for disk '{disk.target_dev}'")
    if disk.shareable and driver.type not in _SHAREABLE:
        raise qemu_unsupported(f"shared access for disk '{disk.target_dev}' requires use of supported storage format")
    if driver.copy_on_read and disk.readonly:
        raise qemu_unsupported(f"copy_on_read is not compatible with read-only disk '{disk.target_dev}'")
    if driver.iothread:
        if disk.target_bus != "virtio":
            raise qemu_unsupported(f"IOThreads not available for bus {disk.target_bus} target {disk.target_dev}")
        if not has_iothread(domain, driver.iothread):
            raise qemu_unsupported(f"Disk iothread '{driver.iothread}' not defined in iothreadid")
    if driver.io == "native" and driver.cache not in ("none", "directsync"):
        raise qemu_unsupported("io='native' needs either no disk cache or directsync cache mode")
    if driver.type == "fat" and disk.type != "dir":
        raise qemu_unsupported("storage format 'fat' is supported only with 'dir' storage type")
    if driver.type == "iso":
        raise qemu_unsupported("storage format 'iso' is not directly supported by QEMU, use 'raw' instead")
    if driver.metadata_cache_max_size and driver.type != "qcow2":
        raise qemu_unsupported("metadata cache max size control is supported only with qcow2 images")


def has_iothread(domain: Domain, number: int) -> bool:
    """Whether the domain has a thread of this number."""
    if domain.iothreadids:
        return any(thread.id == number for thread in domain.iothreadids)
    return number <= (domain.iothreads or 0)


def _check_limits(iotune: Iotune) -> None:
    values = [getattr(iotune, f"{direction}_{unit}_sec{suffix}") or 0 for direction in ("total", "read", "write")
              for unit in ("bytes", "iops") for suffix in ("", "_max")]
    if max(values) > _LARGEST_LIMIT:
        raise LibvirtError(c.VIR_ERR_ARGUMENT_UNSUPPORTED,
                           f"block I/O throttle limit must be no more than {_LARGEST_LIMIT} using QEMU",
                           domain=c.VIR_FROM_QEMU)
    if iotune.group_name and not any(values):
        raise qemu_unsupported("group_name can be configured only together with settings")


def _check_source(disk: Disk, source: DiskSource, domain: Domain) -> None:
    if disk.type == "vhostuser":
        require_shared_memory(domain, "vhostuser")
    if source.protocol == "tftp":
        raise qemu_unsupported("'tftp' protocol is not supported with this QEMU binary")
    if source.protocol == "nfs" and len(source.hosts) != 1:
        raise qemu_unsupported("'nfs' protocol requires the usage of exactly one host")
    encryption = disk.encryption or source.encryption
    if encryption is not None:
        _check_encryption(encryption, disk, source)


def _check_encryption(encryption: Encryption, disk: Disk, source: DiskSource) -> None:
    if encryption.engine == "librbd":
        if source.protocol != "rbd":
            raise qemu_unsupported("librbd encryption is supported only with RBD backed disks")
        return
    if encryption.format == "luks2":
        raise qemu_unsupported("luks2 is currently not supported by the qemu encryption engine")
    if encryption.format == "qcow" and disk.driver and disk.driver.type == "qcow2":
        raise qemu_unsupported("old qcow/qcow2 encryption is not supported")
