"""The remaining devices: what a machine has without being asked, and what is left out of a device."""

from __future__ import annotations

from virtbus_domain.normalise.context import Context, internal_error, unsupported, xml_error
from virtbus_domain.normalise.disks import first_unit
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.hostdev import Hostdev
from virtbus_domain.xml.interface import Interface
from virtbus_domain.xml.memballoon import Memballoon
from virtbus_domain.xml.memory_device import MemoryDevice
from virtbus_domain.xml.rng import RandomBackend
from virtbus_domain.xml.shmem import ShmemMsi

_SMALLEST_LABEL = 128  # KiB
_WINDOW = 4  # MiB of shared memory that libvirt gives a device of which no size is said


def give_devices(domain: Domain, context: Context) -> None:
    """A document without devices has an empty list of them."""
    del context
    if domain.devices is None:
        domain.devices = Devices()


def refuse_without_usb(domain: Domain, context: Context) -> None:
    """Where there shall be no USB, nothing can be plugged into it."""
    del context
    assert domain.devices
    devices = domain.devices
    if not any(controller.type == "usb" and controller.model == "none" for controller in devices.controllers):
        return
    if any(device.bus == "usb" for device in devices.inputs):
        raise unsupported("Can't add USB input device. USB bus is disabled")
    if any(hostdev.type == "usb" for hostdev in devices.hostdevs):
        raise unsupported("Can't add host USB device: USB is disabled in this host")
    if devices.hubs:
        raise unsupported("Can't add USB hub: USB is disabled for this domain")


def read_others(domain: Domain, context: Context) -> None:
    """What libvirt takes for granted of a device that says little."""
    del context
    assert domain.devices
    devices = domain.devices
    for redirdev in devices.redirdevs:
        redirdev.bus = redirdev.bus or "usb"
    for shmem in devices.shmems:
        shmem.model = shmem.model or "ivshmem"
        if shmem.msi is not None and shmem.server is None:
            raise xml_error("msi option is only supported with a server")
    for memory in devices.memories:
        if memory.model == "virtio-pmem":
            memory.access = memory.access or "shared"
        if memory.label_size:
            _check_label(memory)
    for tpm in devices.tpms:
        if tpm.backend and tpm.backend.type == "passthrough":
            tpm.backend.device_path = tpm.backend.device_path or "/dev/tpm0"
    if devices.vsock is not None and devices.vsock.cid_auto is None:
        devices.vsock.cid_auto = devices.vsock.cid_address is None
    if devices.redirfilter is not None and not devices.redirfilter.usbdevs:
        devices.redirfilter = None
    if devices.memballoon is not None and devices.memballoon.model == "none":
        devices.memballoon.address = None
    if len(devices.watchdogs) > 1:
        raise internal_error("only a single watchdog device is supported")


def read_roms(domain: Domain, context: Context) -> None:
    """A ROM that is not there has no image and no place."""
    del context
    assert domain.devices
    tuned: tuple[Interface | Hostdev, ...] = (*domain.devices.interfaces, *domain.devices.hostdevs)
    for device in tuned:
        if device.rom_enabled is False and (device.rom_bar is not None or device.rom_file is not None):
            raise unsupported("ROM tuning is not supported when ROM is disabled")


def _check_label(memory: MemoryDevice) -> None:
    """The label of a persistent module has a least size, and leaves room for what is labelled."""
    assert memory.label_size is not None
    if memory.label_size < _SMALLEST_LABEL:
        raise xml_error(f"nvdimm label must be at least {_SMALLEST_LABEL}KiB")
    if memory.label_size >= (memory.size or 0):
        raise xml_error("label size must be smaller than NVDIMM size")


def add_memballoon(domain: Domain, context: Context) -> None:
    """A balloon lets memory be taken back; ``none`` says that there shall be none."""
    if context.qemu and domain.devices and domain.devices.memballoon is None:
        domain.devices.memballoon = Memballoon(model="virtio")


def complete_watchdogs(domain: Domain, context: Context) -> None:
    """A guest that hangs is reset."""
    del context
    assert domain.devices
    for watchdog in domain.devices.watchdogs:
        watchdog.action = watchdog.action or "reset"


def complete_panics(domain: Domain, context: Context) -> None:
    """The ISA device, where QEMU has one; elsewhere a device that says nothing is none."""
    assert domain.devices
    devices = domain.devices
    for panic in devices.panics:
        if panic.model is None and context.qemu:
            panic.model = "isa"
    if devices.panics and not context.qemu:
        devices.panics = [panic for panic in devices.panics if panic.model or panic.address or panic.alias]


def complete_tpms(domain: Domain, context: Context) -> None:
    """The interface that every guest knows, and the version that libvirt 9.0.0 chooses."""
    assert domain.devices
    for tpm in domain.devices.tpms if context.qemu else ():
        tpm.model = tpm.model or "tpm-tis"
        if tpm.backend and tpm.backend.type == "emulator" and tpm.backend.version is None:
            tpm.backend.version = "2.0" if tpm.model == "tpm-crb" else "1.2"


def complete_rngs(domain: Domain, context: Context) -> None:
    """Random numbers come from where the kernel offers them."""
    del context
    assert domain.devices
    for rng in domain.devices.rngs:
        if isinstance(rng.backend, RandomBackend) and not rng.backend.path:
            rng.backend.path = "/dev/random"


def complete_hostdevs(domain: Domain, context: Context) -> None:
    """Devices are the host's to detach unless said otherwise."""
    assert domain.devices
    for hostdev in domain.devices.hostdevs:
        if hostdev.mode == "subsystem":
            hostdev.managed = hostdev.managed or False
            if hostdev.source is not None and hostdev.source.protocol == "iscsi":
                hostdev.source.name = first_unit("iscsi", hostdev.source.name)
            if context.qemu and hostdev.type == "mdev" and hostdev.display is None and hostdev.model == "vfio-pci":
                hostdev.display = False


def complete_filesystems(domain: Domain, context: Context) -> None:
    """The guest's view of ownership is the host's."""
    del context
    assert domain.devices
    for filesystem in domain.devices.filesystems:
        filesystem.type = filesystem.type or "mount"
        if not filesystem.source_socket:  # whoever serves that one decides
            filesystem.accessmode = filesystem.accessmode or "passthrough"


def complete_windows(domain: Domain, context: Context) -> None:
    """The size of plain shared memory, and interrupts that need no detour; the flavour of a socket's device."""
    assert domain.devices
    if not context.qemu:
        return
    for shmem in domain.devices.shmems:
        if shmem.model == "ivshmem-plain" and shmem.size is None:
            shmem.size, shmem.size_unit = _WINDOW, "M"
        elif shmem.model == "ivshmem-doorbell":
            shmem.msi = shmem.msi or ShmemMsi()
            shmem.msi.ioeventfd = True if shmem.msi.ioeventfd is None else shmem.msi.ioeventfd
    if domain.devices.vsock is not None:
        domain.devices.vsock.model = domain.devices.vsock.model or "virtio"


def refuse_panic_twins(domain: Domain, context: Context) -> None:
    """Each kind of panic device is there once."""
    del context
    assert domain.devices
    models = [panic.model for panic in domain.devices.panics]
    for model in models:
        if models.count(model) > 1:
            raise xml_error(f"Multiple panic devices with model '{model or 'default'}'")
