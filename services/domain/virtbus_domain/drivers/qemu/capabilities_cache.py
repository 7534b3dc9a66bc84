"""The answers of all emulators in use: asked once per binary, kept in memory, and on disk for the next start.

An answer holds for as long as the file stays the same (path, inode, time of change, size): an upgrade is noticed at
the next use, without a restart of the service. What KVM offers holds until the host boots or loads its module anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from virtbus_domain.drivers.qemu import kvm
from virtbus_domain.drivers.qemu.capabilities import Accelerator, QemuCapabilities
from virtbus_domain.drivers.qemu.capabilities_probe import probe, probe_kvm
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

# Raised whenever what is asked or how it is kept changes, SCHEMA_PATHS included: older files are then asked anew.
FORMAT = 1

T = TypeVar("T")


@dataclass(frozen=True)
class Identity:
    """What an answer belongs to. ``host`` is empty for answers that are the same on any host."""

    format: int
    binary: str
    inode: int
    changed: int
    size: int
    host: str


@dataclass(frozen=True)
class _Stored(Generic[T]):
    identity: Identity
    answer: T


class _Files(Generic[T]):
    """Answers on disk, one file per binary. Without a directory nothing is kept."""

    def __init__(self, directory: Path | None, suffix: str, stored: TypeAdapter[_Stored[T]]) -> None:
        self._directory = directory
        self._suffix = suffix
        self._stored = stored

    def load(self, identity: Identity) -> T | None:
        """What was answered; None when that was never kept, or is damaged, or of another binary, host or format."""
        if self._directory is None:
            return None
        try:
            stored = self._stored.validate_json(self._path(identity).read_bytes())
        except (OSError, ValidationError):
            return None
        return stored.answer if stored.identity == identity else None

    def save(self, identity: Identity, answer: T) -> None:
        """Keep an answer: written aside, then renamed. What cannot be written is asked again by the next service."""
        if self._directory is None:
            return
        content = self._stored.dump_json(_Stored(identity, answer))
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(self._path(identity), content)
        except OSError:
            return

    def _path(self, identity: Identity) -> Path:
        assert self._directory is not None
        name = hashlib.sha256(os.fsencode(identity.binary)).hexdigest()[:32]
        return self._directory / f"{name}{self._suffix}"


def _write(path: Path, content: bytes) -> None:
    descriptor, aside = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        os.unlink(aside)
        raise


class _OncePerFile(Generic[T]):
    """Runs a probe once per state of a file, for however many callers at once; a failed probe is tried again."""

    def __init__(self, probe: Callable[[Path], Awaitable[T]]) -> None:
        self._probe = probe
        self._runs: dict[Path, tuple[Identity, asyncio.Task[T]]] = {}

    async def get(self, binary: Path) -> T:
        identity = identify(binary)
        known = self._runs.get(binary)
        if known is None or known[0] != identity or _failed(known[1]):
            known = identity, asyncio.create_task(self._run(binary))
            self._runs[binary] = known
        # Shielded: a caller that gives up must not take the answer from the others.
        return await asyncio.shield(known[1])

    async def _run(self, binary: Path) -> T:
        return await self._probe(binary)


class CapabilitiesCache:
    """The answers of all emulators in use. ``directory`` is where they outlive the service; None: nowhere."""

    def __init__(self, directory: Path | None = None) -> None:
        self._files = _Files(directory, ".json", TypeAdapter(_Stored[QemuCapabilities]))
        self._kvm_files = _Files(directory, ".kvm.json", TypeAdapter(_Stored[Accelerator]))
        self._probes = _OncePerFile(self._ask)
        self._kvm = _OncePerFile(self._ask_kvm)

    async def get(self, binary: Path, *, with_kvm: bool = False) -> QemuCapabilities:
        """What this emulator can do; ``LibvirtError`` when it is not there, cannot run or does not answer.

        ``with_kvm`` adds what it offers with KVM, where that works: see ``kvm_problem`` for the time it takes.
        """
        answer = await self._probes.get(binary)
        if with_kvm and await self.kvm_problem(binary) is None:
            found = await self._kvm.get(binary)
            assert isinstance(found, Accelerator)
            return replace(answer, kvm=found)
        return answer

    async def kvm_problem(self, binary: Path) -> str | None:
        """Why this emulator cannot use KVM on this node, or None when it can.

        Takes up to ``kvm.TIMEOUT`` seconds the first time, when KVM is present but hangs.
        """
        problem = kvm.unavailable() or await self._unsuitable(binary)
        if problem:
            return problem
        found = await self._kvm.get(binary)
        return found if isinstance(found, str) else None

    async def _unsuitable(self, binary: Path) -> str | None:
        capabilities = await self.get(binary)
        if not capabilities.has_kvm:
            return "the emulator was built without KVM"
        if capabilities.arch not in kvm.ARCHITECTURES:
            return f"KVM was not tested on {capabilities.arch}"
        return None

    async def _ask(self, binary: Path) -> QemuCapabilities:
        identity = identify(binary)
        answer = self._files.load(identity)
        if answer is None:
            answer = await probe(binary)
            self._files.save(identity, answer)
        return answer

    async def _ask_kvm(self, binary: Path) -> Accelerator | str:
        """What the emulator offers with KVM, or why it cannot use it. Only the former is kept for the next start:
        a "no" may have been the moment's, and whoever restarts the service wants to know again."""
        try:
            identity = identify(binary, kvm.host_identity())
        except OSError as error:
            return f"KVM is gone: {error.strerror}"
        answer = self._kvm_files.load(identity)
        if answer is not None:
            return answer
        problem = await kvm.problem(binary)
        if problem is not None:
            return problem
        try:
            answer = await probe_kvm(binary)
        except LibvirtError as error:
            return str(error)
        self._kvm_files.save(identity, answer)
        return answer


def identify(binary: Path, host: str = "") -> Identity:
    """The state of a binary. ``LibvirtError`` when it is not there."""
    try:
        status = binary.stat()
    except OSError as error:
        # libvirt's words and code for an emulator that is not there.
        raise LibvirtError(c.VIR_ERR_SYSTEM_ERROR, f"Cannot check QEMU binary {binary}: {error.strerror}",
                           domain=c.VIR_FROM_QEMU, int1=error.errno or -1) from error
    return Identity(FORMAT, str(binary), status.st_ino, status.st_mtime_ns, status.st_size, host)


def _failed(task: asyncio.Task[T]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
