"""What a QEMU binary can do, as facts from which command lines and domain capabilities are decided.

``capabilities_probe`` asks QEMU for them, ``capabilities_cache`` keeps them. Names are QEMU's own throughout. Nothing
here depends on versions: what exists is listed, so that a distribution's build is taken for what it is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from virtbus_domain.drivers.qemu.cpu_models import CpuModel, HostModel
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

ARCHITECTURES = {"i386": "i686", "arm": "armv7l"}  # QEMU's name -> libvirt's, where they differ

# What can be asked of QMP's schema: paths as ``capabilities_probe`` explains them. Only these are kept of it.
SCHEMA_PATHS = frozenset({
    "blockdev-add/+file/aio/io_uring",
    "blockdev-add/+nbd/tls-hostname",
    "blockdev-add/+nbd/reconnect-delay",
    "blockdev-add/+nvme",
    "blockdev-add/+rbd/encrypt",
    "chardev-add/backend/+socket/data/reconnect-ms",
    "netdev_add/+dgram",
    "netdev_add/+stream/reconnect",
    "netdev_add/+stream/reconnect-ms",
    "netdev_add/+vhost-vdpa/vhostfd",
    "object-add/+iothread/thread-pool-max",
    "object-add/+memory-backend-file/reserve",
    "object-add/+memory-backend-file/rom",
    "screendump/device",
    "screendump/format",
    "set-action/panic",
})


@dataclass(frozen=True)
class Machine:
    """One machine type. ``alias`` is the short name of the newest version, such as q35."""

    name: str
    alias: str | None
    is_default: bool
    max_cpus: int
    ram_id: str | None  # the name that its main memory must have
    deprecated: bool
    default_cpu: str | None = None  # QOM type, as in CpuModel.typename
    hotplugs_cpus: bool = False
    numa_by_size: bool = False  # whether -numa node,mem= is still taken


@dataclass(frozen=True)
class Sev:
    """AMD's encrypted guests: where the encryption bit stands in an address, and how many address bits that costs."""

    cbitpos: int
    reduced_phys_bits: int


@dataclass(frozen=True)
class Accelerator:
    """What guests get from one accelerator, TCG or KVM.

    ``cpu_features`` are the switches that ``-cpu`` takes, ``cpu_available`` those of them that the accelerator can
    turn on; empty when the emulator cannot tell. ``host_model`` is the named CPU that comes closest to all of these.
    """

    cpu_models: tuple[CpuModel, ...]
    cpu_features: frozenset[str]
    cpu_available: frozenset[str]
    host_model: HostModel | None
    gic_versions: frozenset[int]  # of ARM's interrupt controller
    sev: Sev | None

    def cpu_model(self, name: str) -> CpuModel | None:
        """The CPU model of this name."""
        return next((model for model in self.cpu_models if model.name == name), None)


@dataclass(frozen=True)
class QemuCapabilities:
    """What one emulator answered. ``version`` is libvirt's number: major * 1000000 + minor * 1000 + micro."""

    binary: Path
    arch: str
    version: int
    package: str
    machines: tuple[Machine, ...]
    has_tcg: bool
    has_kvm: bool  # built in; whether the node's KVM works is another question: CapabilitiesCache.kvm_problem
    devices: frozenset[str]  # for -device
    objects: frozenset[str]  # for -object
    commands: frozenset[str]  # of QMP
    options: frozenset[str]  # of the command line: "sandbox", and their parameters where told: "sandbox.spawn"
    machine_properties: frozenset[str]  # for -machine: of any of the machines that have an alias
    netdevs: frozenset[str]  # for -netdev
    blockdevs: frozenset[str]  # drivers for -blockdev
    chardevs: frozenset[str]  # back ends of QMP's chardev-add
    displays: frozenset[str]  # for -display
    audiodevs: frozenset[str] | None  # for -audiodev; QEMU tells since 8.0
    tpm_models: frozenset[str]
    tpm_types: frozenset[str]
    schema: frozenset[str]  # those of SCHEMA_PATHS that exist; see knows()
    tcg: Accelerator | None
    kvm: Accelerator | None  # None also as long as nobody asked for KVM

    def machine(self, name: str) -> Machine | None:
        """The machine type of this name or alias."""
        return next((machine for machine in self.machines if name in (machine.name, machine.alias)), None)

    @property
    def default_machine(self) -> Machine:
        """What QEMU takes when nothing is said; its first one if it has no default (as for arm)."""
        return next((machine for machine in self.machines if machine.is_default), self.machines[0])

    def canonical_machine(self, name: str | None) -> Machine:
        """The machine type to write into a definition, so that a later QEMU shows the guest the same hardware.

        ``LibvirtError`` (``VIR_ERR_CONFIG_UNSUPPORTED``) when this emulator lacks it.
        """
        machine = self.default_machine if name is None else self.machine(name)
        if machine is None:
            detail = f"Emulator '{self.binary}' does not support machine type '{name}'"
            raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_QEMU)
        return machine

    def knows(self, path: str) -> bool:
        """Whether QMP has what a path of ``SCHEMA_PATHS`` names; ``KeyError`` for a path that was never asked."""
        if path not in SCHEMA_PATHS:
            raise KeyError(path)
        return path in self.schema

    def accelerator(self, domain_type: str | None) -> Accelerator | None:
        """The facts for domains of a type, "kvm" or "qemu"; None when they were not asked or do not exist."""
        return self.kvm if domain_type == "kvm" else self.tcg


def find_emulators() -> dict[str, Path]:
    """The emulators in ``PATH``, by architecture in libvirt's words. They are found by name; nothing is started."""
    found: dict[str, Path] = {}
    for directory in os.get_exec_path():
        try:
            paths = sorted(Path(directory).glob("qemu-system-*"))
        except PermissionError:  # another user's: nothing in it is for us
            continue
        for path in paths:
            name = path.name.removeprefix("qemu-system-")
            # Debian also ships special builds, such as qemu-system-x86_64-microvm: those are asked for by path.
            if "-" not in name and os.access(path, os.X_OK):
                found.setdefault(ARCHITECTURES.get(name, name), path)
    return found
