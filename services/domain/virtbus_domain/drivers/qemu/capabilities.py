"""What a QEMU binary on this node can do: asked of QEMU itself, once per binary.

A probe starts the binary without a machine and asks over QMP, which takes some tens of milliseconds, so the answer is
kept for as long as the file stays the same (path, inode, time of change, size): an upgrade is noticed at the next
use, without a restart of the service.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from virtbus_domain.drivers.qemu import kvm
from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.monitor import Monitor, listen
from virtbus_domain.drivers.qemu.process import launch
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

PROBE_TIMEOUT = 30.0  # seconds; a cold page cache on a busy disk can take several
_ARCHITECTURES = {"i386": "i686", "arm": "armv7l"}  # QEMU's name -> libvirt's, where they differ

Identity = tuple[str, int, int, int]
T = TypeVar("T")


@dataclass(frozen=True)
class Machine:
    """One machine type. ``alias`` is the short name of the newest version, such as q35."""

    name: str
    alias: str | None
    is_default: bool
    max_cpus: int
    ram_id: str | None  # the name that its main memory must have
    deprecated: bool


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


def find_emulators() -> dict[str, Path]:
    """The emulators in ``PATH``, by architecture in libvirt's words. They are found by name; nothing is started."""
    found: dict[str, Path] = {}
    for directory in os.get_exec_path():
        for path in sorted(Path(directory).glob("qemu-system-*")):
            name = path.name.removeprefix("qemu-system-")
            # Debian also ships special builds, such as qemu-system-x86_64-microvm: those are asked for by path.
            if "-" not in name and os.access(path, os.X_OK):
                found.setdefault(_ARCHITECTURES.get(name, name), path)
    return found


class _OncePerFile(Generic[T]):
    """Runs a probe once per state of a file, for however many callers at once; a failed probe is tried again."""

    def __init__(self, probe: Callable[[Path], Awaitable[T]]) -> None:
        self._probe = probe
        self._runs: dict[Path, tuple[Identity, asyncio.Task[T]]] = {}

    async def get(self, binary: Path) -> T:
        identity = _identity(binary)
        known = self._runs.get(binary)
        if known is None or known[0] != identity or _failed(known[1]):
            known = identity, asyncio.create_task(self._run(binary))
            self._runs[binary] = known
        # Shielded: a caller that gives up must not take the answer from the others.
        return await asyncio.shield(known[1])

    async def _run(self, binary: Path) -> T:
        return await self._probe(binary)


class CapabilitiesCache:
    """The answers of all emulators in use."""

    def __init__(self) -> None:
        self._probes = _OncePerFile(probe)
        self._kvm = _OncePerFile(kvm.problem)

    async def get(self, binary: Path) -> QemuCapabilities:
        """What this emulator can do; ``LibvirtError`` when it is not there, cannot run or does not answer."""
        return await self._probes.get(binary)

    async def kvm_problem(self, binary: Path) -> str | None:
        """Why this emulator cannot use KVM on this node, or None when it can.

        Takes up to ``kvm.TIMEOUT`` seconds the first time, when KVM is present but hangs.
        """
        problem = kvm.unavailable() or await self._unsuitable(binary)
        return problem or await self._kvm.get(binary)

    async def _unsuitable(self, binary: Path) -> str | None:
        capabilities = await self.get(binary)
        if not capabilities.has_kvm:
            return "the emulator was built without KVM"
        if capabilities.arch not in kvm.ARCHITECTURES:
            return f"KVM was not tested on {capabilities.arch}"
        return None


async def probe(binary: Path) -> QemuCapabilities:
    """Start the emulator without a machine and ask it. ``LibvirtError`` with its own words when it does not run."""
    with tempfile.TemporaryDirectory(prefix="virtbus-probe-") as scratch:
        paths = GuestPaths(Path(scratch), 1, "00000000-0000-0000-0000-000000000000")
        paths.create()
        listener = listen(paths.monitor)
        argv = [
            str(binary), "-S", "-no-user-config", "-nodefaults", "-display", "none", "-machine", "none",
            "-accel", "tcg", "-chardev", f"socket,id=charmonitor,fd={listener.fileno()},server=on,wait=off",
            "-mon", "chardev=charmonitor,mode=control"]
        process, monitor = await launch(argv, paths, listener, [], outlives_us=False)
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                return await _ask(binary, monitor)
        finally:
            await process.kill()
            await monitor.closed.wait()


async def _ask(binary: Path, monitor: Monitor) -> QemuCapabilities:
    version = await monitor.execute("query-version")
    target = await monitor.execute("query-target")
    machines = await monitor.execute("query-machines")
    accelerators = {item["name"] for item in await monitor.execute("qom-list-types", {"implements": "accel"})}
    number = version["qemu"]
    return QemuCapabilities(
        binary=binary,
        arch=_ARCHITECTURES.get(target["arch"], target["arch"]),
        version=number["major"] * 1_000_000 + number["minor"] * 1_000 + number["micro"],
        package=version["package"],
        machines=tuple(_machine(item) for item in machines if item["name"] != "none"),
        has_tcg="tcg-accel" in accelerators,
        has_kvm="kvm-accel" in accelerators,
    )


def _machine(item: dict[str, object]) -> Machine:
    alias, ram_id, max_cpus = item.get("alias"), item.get("default-ram-id"), item["cpu-max"]
    assert isinstance(max_cpus, int)
    return Machine(
        name=str(item["name"]), alias=None if alias is None else str(alias),
        is_default=item.get("is-default") is True, max_cpus=max_cpus,
        ram_id=None if ram_id is None else str(ram_id), deprecated=item.get("deprecated") is True)


def _identity(binary: Path) -> Identity:
    try:
        status = binary.stat()
    except OSError as error:
        # libvirt's words and code for an emulator that is not there.
        raise LibvirtError(c.VIR_ERR_SYSTEM_ERROR, f"Cannot check QEMU binary {binary}: {error.strerror}",
                           domain=c.VIR_FROM_QEMU, int1=error.errno or -1) from error
    return str(binary), status.st_ino, status.st_mtime_ns, status.st_size


def _failed(task: asyncio.Task[T]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
