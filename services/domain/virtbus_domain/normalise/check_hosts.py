"""What a guest cannot get of its host: devices, folders, memory; for all of libvirt's drivers and for QEMU's."""

from __future__ import annotations

from virtbus_domain.normalise.chardevs import check_host_end
from virtbus_domain.normalise.context import internal_error, qemu_unsupported, unsupported, xml_detail, xml_error
from virtbus_domain.normalise.shared_memory import require_shared_memory
from virtbus_domain.xml.address import PciAddress, UnassignedAddress, UsbAddress
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.filesystem import Filesystem
from virtbus_domain.xml.hostdev import Hostdev
from virtbus_domain.xml.memory_device import MemoryDevice
from virtbus_domain.xml.redirdev import Redirdev
from virtbus_domain.xml.rng import EgdBackend, Rng
from virtbus_domain.xml.shmem import Shmem

_SMALLEST_BLOCK = 2048  # KiB, the size of a huge page
_NAMED_FILES = ("nvdimm", "virtio-pmem")
_KEPT = ("nvdimm", "virtio-pmem")
_FOREIGN_MDEVS = {"vfio-ap": "VFIO AP", "vfio-ccw": "VFIO CCW"}


# --- devices of the host --------------------------------------------------------------------------------------------


def check_hostdev(hostdev: Hostdev, domain: Domain) -> None:
    """A device sits where its kind can sit."""
    del domain
    address = hostdev.address
    if address is None:
        return
    if hostdev.type == "pci" and not isinstance(address, (PciAddress, UnassignedAddress)):
        raise internal_error("PCI host devices must use 'pci' or 'unassigned' address type")
    if hostdev.type == "usb" and not isinstance(address, UsbAddress):
        raise unsupported("USB host device must use 'usb' address type")


def check_qemu_hostdev(hostdev: Hostdev, domain: Domain) -> None:
    """Refuse what QEMU cannot hand over."""
    assert domain.devices
    if hostdev.mode == "capabilities":
        raise qemu_unsupported("hostdev mode 'capabilities' is not supported in qemu")
    if hostdev.source is not None and hostdev.source.write_filtering is not None:
        raise qemu_unsupported("Write filtering of PCI device configuration space is not supported by qemu")
    if hostdev.type == "mdev":
        if hostdev.model in _FOREIGN_MDEVS:
            raise qemu_unsupported(f"{_FOREIGN_MDEVS[hostdev.model]} device assignment is not supported by this "
                                   "version of QEMU")
        if hostdev.display and not domain.devices.graphics:
            raise qemu_unsupported("graphics device is needed for attribute value 'display=on' in <hostdev>")


def check_hostdev_twins(domain: Domain) -> None:
    """A device of the host is handed over once."""
    assert domain.devices
    hostdevs = domain.devices.hostdevs
    for number, hostdev in enumerate(hostdevs):
        for other in hostdevs[:number]:
            if hostdev.type == other.type and hostdev.source is not None and hostdev.source == other.source:
                raise xml_error("Hostdev already exists in the domain configuration")


def check_redirdev(redirdev: Redirdev, domain: Domain) -> None:
    """A device that is redirected is plugged into USB."""
    assert domain.devices
    check_host_end(redirdev, domain)
    if not any(other.type == "usb" and other.model != "none" for other in domain.devices.controllers):
        raise unsupported("cannot add redirected USB device: USB is disabled for this domain")


def check_rng(rng: Rng, domain: Domain) -> None:
    """A daemon that gathers random numbers is somewhere."""
    if isinstance(rng.backend, EgdBackend):
        check_host_end(rng.backend, domain)


# --- folders --------------------------------------------------------------------------------------------------------


def check_qemu_filesystem(filesystem: Filesystem, domain: Domain) -> None:
    """Refuse what neither 9p nor virtiofs can do."""
    if filesystem.type != "mount":
        raise qemu_unsupported("only supports mount filesystem type")
    if filesystem.driver_type == "virtiofs":
        if filesystem.readonly:
            raise qemu_unsupported("virtiofs does not yet support read-only mode")
        if filesystem.accessmode not in (None, "passthrough"):
            raise qemu_unsupported("virtiofs only supports passthrough accessmode")
        require_shared_memory(domain, "virtiofs")
    elif (filesystem.fmode or filesystem.dmode) and filesystem.accessmode != "mapped":
        raise qemu_unsupported("fmode and dmode must be used with accessmode=mapped")


# --- memory ---------------------------------------------------------------------------------------------------------


def check_memory(memory: MemoryDevice, domain: Domain) -> None:
    """Refuse a module that has no file or no node, and sizes that do not go together."""
    kind = memory.model
    if kind in _NAMED_FILES and memory.source_path is None:
        raise xml_detail(f"path is required for model '{kind}'")
    if kind in _KEPT and memory.discard:
        what = "nvdimms" if kind == "nvdimm" else f"model '{kind}'"
        raise unsupported(f"discard is not supported for {what}")
    if kind == "virtio-pmem" and memory.access != "shared":
        raise unsupported("shared access mode required for virtio-pmem device")
    if kind == "virtio-mem":
        _check_blocks(memory)
    cells = len(domain.cpu.numa) if domain.cpu else 0
    if memory.node is not None:
        if not cells:
            raise xml_detail("can't add memory backend as guest has no NUMA nodes configured")
        if memory.node >= cells:
            raise xml_detail(f"can't add memory backend for guest node '{memory.node}' as the guest has only '{cells}' "
                             "NUMA nodes configured")


def _check_blocks(memory: MemoryDevice) -> None:
    size, block, requested = memory.size or 0, memory.block or 0, memory.requested or 0
    if requested > size:
        raise xml_detail(f"requested size must be smaller than or equal to @size ({size}KiB)")
    if block.bit_count() != 1:
        raise xml_detail("block size must be a power of two")
    if block < _SMALLEST_BLOCK:
        raise xml_detail(f"block size too small, must be at least {_SMALLEST_BLOCK}KiB")
    if requested % block:
        raise xml_detail("requested size must be an integer multiple of block size")


def check_qemu_memory(memory: MemoryDevice, domain: Domain) -> None:
    """Memory is plugged into a node, where there is room for it."""
    if memory.model == "sgx-epc":
        raise qemu_unsupported("sgx epc isn't supported by this QEMU binary")
    if not domain.max_memory:
        raise qemu_unsupported("cannot use/hotplug a memory device when domain 'maxMemory' is not defined")
    if memory.node is None and memory.model != "virtio-pmem":
        raise qemu_unsupported("target NUMA node needs to be specified for memory device")


def check_shmem(shmem: Shmem, domain: Domain) -> None:
    """Shared memory has a name that can be a file's."""
    del domain
    name = shmem.name or ""
    if "/" in name:
        raise unsupported("shmem name cannot include '/' character")
    if name in (".", ".."):
        raise unsupported(f"shmem name cannot be equal to '{name}'")


def check_qemu_shmem(shmem: Shmem, domain: Domain) -> None:
    """The flavours that QEMU has: memory alone, or a server that also rings bells."""
    del domain
    model = shmem.model
    if model == "ivshmem":
        raise qemu_unsupported("ivshmem device is not supported with this QEMU binary")
    if model == "ivshmem-doorbell":
        if shmem.server is None:
            raise qemu_unsupported(f"shmem model '{model}' is supported only with server option enabled")
        if shmem.size:
            raise qemu_unsupported(f"shmem model '{model}' does not support size setting")
    elif shmem.server is not None:
        raise qemu_unsupported(f"shmem model '{model}' is supported only with server option disabled")
