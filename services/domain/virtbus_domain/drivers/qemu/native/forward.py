"""A domain as the command that would run it, without making anything for it.

What a start would make first (tap devices, sockets, a number for the guest) is named here as it would be, so that the
command shows what QEMU gets, though not every part of it can be run by hand.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from virtbus_domain.drivers.qemu.capabilities import QemuCapabilities
from virtbus_domain.drivers.qemu.command import Setup, boot_order, build
from virtbus_domain.drivers.qemu.command.interface import TAP_TYPES
from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.firmware import complete_firmware, read_descriptors
from virtbus_domain.drivers.qemu.names import assign_names
from virtbus_domain.xml.domain import Domain

_FIRST_DESCRIPTOR = 3  # after standard input, output and error


def native_arguments(model: Domain, capabilities: QemuCapabilities, run_dir: Path, nvram_dir: Path, *,
                     kvm_problem: str | None) -> str:
    """The command line of a completed definition. Raises ``LibvirtError`` for what cannot be run."""
    assert model.os is not None
    assert model.devices is not None
    if model.os.firmware_auto is not None or model.os.loader is not None:
        complete_firmware(model, read_descriptors(), nvram_dir)
    machine = capabilities.canonical_machine(model.os.machine)
    assign_names(model.devices, q35=machine.name.startswith("pc-q35"))
    paths = GuestPaths(run_dir, 0, str(model.uuid))
    taps = [str(card.alias) for card in model.devices.interfaces if card.type in TAP_TYPES]
    setup = Setup(
        domain=model, capabilities=capabilities, machine=machine, run_dir=paths.directory,
        descriptors={name: [str(number)] for number, name in enumerate(taps, _FIRST_DESCRIPTOR)},
        boot=boot_order(model.os, model.devices), kvm_problem=kvm_problem)
    line = build(setup, monitor=f"path={paths.monitor}")
    words = [*(f"{name}={shlex.quote(value)}" for name, value in line.environment.items()), shlex.join(line.argv)]
    return " ".join(words) + "\n"
