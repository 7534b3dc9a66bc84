"""The remaining devices: what a machine has without being asked, and what is left out of a device."""

from __future__ import annotations

from virtbus_domain.normalise.context import Context
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.memballoon import Memballoon
from virtbus_domain.xml.rng import RandomBackend


def give_devices(domain: Domain, context: Context) -> None:
    """A document without devices has an empty list of them."""
    del context
    if domain.devices is None:
        domain.devices = Devices()


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
    """The ISA device, once at most."""
    assert domain.devices
    for panic in domain.devices.panics:
        if panic.model is None and context.qemu:
            panic.model = "isa"


def complete_tpms(domain: Domain, context: Context) -> None:
    """The interface that every guest knows, and the version that libvirt 9.0.0 chooses."""
    assert domain.devices
    for tpm in domain.devices.tpms:
        if tpm.model is None and context.qemu:
            tpm.model = "tpm-tis"
        if tpm.backend and tpm.backend.type == "emulator" and tpm.backend.version is None and context.qemu:
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
            if context.qemu and hostdev.type == "mdev" and hostdev.display is None and hostdev.model == "vfio-pci":
                hostdev.display = False


def complete_filesystems(domain: Domain, context: Context) -> None:
    """The guest's view of ownership is the host's; virtiofs shares the guest's memory."""
    assert domain.devices
    for filesystem in domain.devices.filesystems:
        filesystem.type = filesystem.type or "mount"
        if not filesystem.source_socket:  # whoever serves that one decides
            filesystem.accessmode = filesystem.accessmode or "passthrough"
