"""A client's document as an emulator of this node takes it: which one that is, and what it cannot do.

The passes of ``virtbus_domain.normalise`` complete a document; here is what they ask about the node. What the emulator
lacks is refused when all else about the document is known to be well, as in libvirt.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from virtbus_domain.drivers.qemu.capabilities import QemuCapabilities, find_emulators
from virtbus_domain.drivers.qemu.certificates import find_certificates
from virtbus_domain.normalise import Context, complete_definition, read_definition
from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_VIRT_TYPES = ("qemu", "kvm")


def find_emulator(model: Domain) -> Path:
    """The emulator that a document names, or this node's for its architecture. Raises ``LibvirtError``."""
    if model.devices and model.devices.emulator:
        path = Path(model.devices.emulator)
        if not path.exists():
            raise LibvirtError(c.VIR_ERR_SYSTEM_ERROR, f"Cannot check QEMU binary {path}: {os.strerror(errno.ENOENT)}",
                               domain=c.VIR_FROM_QEMU, int1=errno.ENOENT)
        return path
    arch = (model.os.arch if model.os else None) or os.uname().machine
    binary = find_emulators().get(arch)
    if binary is None:
        raise _unsupported(f"No emulator found for arch '{arch}'")
    return binary


def complete(model: Domain, capabilities: QemuCapabilities, nvram_dir: Path) -> None:
    """Complete a parsed document for an emulator, in place. Raises ``LibvirtError``."""
    read_model(model)
    complete_read(model, capabilities, nvram_dir)


def read_model(model: Domain) -> None:
    """The part of ``complete`` that needs no emulator: what is wrong there is told before one is looked for."""
    read_definition(model, Context("qemu"))


def complete_read(model: Domain, capabilities: QemuCapabilities, nvram_dir: Path) -> None:
    """The rest of ``complete``. Raises ``LibvirtError``."""
    assert model.devices is not None
    model.devices.emulator = str(capabilities.binary)
    machine = capabilities.machine((model.os.machine if model.os else None) or capabilities.default_machine.name)

    def canonical(arch: str, name: str | None) -> str | None:
        del arch
        return machine.name if machine else name

    def check(domain: Domain) -> None:
        _check_emulator(domain, capabilities)

    default_cpu = _model_name(machine.default_cpu if machine else None)
    complete_definition(model, Context("qemu", machine=canonical, check=check, default_cpu=default_cpu,
                                       nvram_dir=str(nvram_dir)))


def _check_emulator(domain: Domain, capabilities: QemuCapabilities) -> None:
    os_type = domain.os.type if domain.os else None
    if os_type != "hvm":
        raise _unsupported(f"Emulator '{capabilities.binary}' does not support os type '{os_type}'")
    if domain.type not in _VIRT_TYPES:
        raise _unsupported(f"Emulator '{capabilities.binary}' does not support virt type '{domain.type}'")
    machine = capabilities.canonical_machine(domain.os.machine if domain.os else None)
    if machine.max_cpus and (domain.vcpu or 0) > machine.max_cpus:
        raise _unsupported(f"Maximum CPUs greater than specified machine type limit {machine.max_cpus}")
    for graphics in domain.devices.graphics if domain.devices else []:
        if graphics.type == "spice" and (graphics.tls_port or 0) > 0 and find_certificates().spice is None:
            raise _unsupported("spice TLS port set in XML configuration, but there are no certificates on this node")


def _model_name(qom_type: str | None) -> str:
    """The CPU model of a QOM type such as "qemu64-x86_64-cpu"."""
    return (qom_type or "").removesuffix("-cpu").rpartition("-")[0] or "qemu64"


def _unsupported(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_QEMU)
