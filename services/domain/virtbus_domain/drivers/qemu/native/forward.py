"""A domain as the command that would run it, without making anything for it.

What a start would make first (tap devices, sockets, files with secrets, a number for the guest) is named here as it
would be, so that the command shows what QEMU gets, though not every part of it can be run by hand.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice
from pathlib import Path

from virtbus_domain.drivers.qemu.capabilities import QemuCapabilities
from virtbus_domain.drivers.qemu.certificates import find_certificates
from virtbus_domain.drivers.qemu.command import Setup, boot_order, build
from virtbus_domain.drivers.qemu.command.interface import TAP_TYPES, VIRTIO
from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.firmware import complete_firmware, read_descriptors
from virtbus_domain.drivers.qemu.host_sysinfo import read_host_sysinfo
from virtbus_domain.drivers.qemu.names import assign_names
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.graphics import Graphics
from virtbus_domain.xml.interface import Interface

_FIRST_DESCRIPTOR = 3  # after standard input, output and error
_SPICE_PORT = 5901  # libvirt's in a conversion: the one after that of VNC's first display


class _SecretFiles(Mapping[str, Path]):
    """The file of each secret, by the id of its object. Which ones there are, only the builder finds out."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __getitem__(self, name: str) -> Path:
        return self._directory / name

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def native_arguments(model: Domain, capabilities: QemuCapabilities, run_dir: Path, nvram_dir: Path, *,
                     kvm_problem: str | None) -> str:
    """The command line of a completed definition. Raises ``LibvirtError`` for what cannot be run."""
    assert model.os is not None
    assert model.devices is not None
    if model.os.firmware_auto is not None or model.os.loader is not None:
        complete_firmware(model, read_descriptors(), nvram_dir)
    machine = capabilities.canonical_machine(model.os.machine)
    assign_names(model.devices, q35=machine.name.startswith("pc-q35"))
    _choose_ports(model.devices.graphics)
    paths = GuestPaths(run_dir, 0, str(model.uuid))
    setup = Setup(
        domain=model, capabilities=capabilities, machine=machine, run_dir=paths.directory,
        descriptors=_descriptors(model.devices.interfaces),
        secrets=_SecretFiles(paths.directory / "secrets"), boot=boot_order(model.os, model.devices),
        kvm_problem=kvm_problem, certificates=find_certificates(), host_sysinfo=read_host_sysinfo())
    line = build(setup, monitor=f"path={paths.monitor}")
    words = [*(f"{name}={shlex.quote(value)}" for name, value in line.environment.items()), shlex.join(line.argv)]
    return " ".join(words) + "\n"


def _descriptors(cards: Sequence[Interface]) -> dict[str, list[str]]:
    """The numbers of the open files of each card on a tap device, one for each of its queues."""
    following = count(_FIRST_DESCRIPTOR)
    taps = {str(card.alias): card for card in cards if card.type in TAP_TYPES}
    return {alias: [str(number) for number in islice(following, _queues(card))] for alias, card in taps.items()}


def _queues(card: Interface) -> int:
    several = card.driver.queues if card.driver and card.model in VIRTIO else None
    return max(several or 1, 1)


def _choose_ports(servers: Sequence[Graphics]) -> None:
    """A start looks for free ports; a conversion names the first."""
    for server in servers:
        if server.type == "spice" and server.autoport:
            server.port = _SPICE_PORT
