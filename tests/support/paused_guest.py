"""A guest that the driver's own code starts, with all that it starts beside QEMU, and what runs of it afterwards."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.support.real_qemu import capabilities, read
from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.guest import Guest
from virtbus_domain.drivers.qemu.start import start_guest
from virtbus_shared.errors import LibvirtError


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder for one guest. Its name leaves room for sockets in it, and is in the commands of all that serves it."""
    folder = Path(tempfile.mkdtemp(prefix="vb-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def guest_of(document: str, folder: Path, *, paused: bool = True) -> AsyncIterator[tuple[Guest, str]]:
    """A guest that has started, and its live document; it is killed with the block, and its directory removed."""
    model = read(document, folder / "lib")
    guest = Guest(GuestPaths(folder / "run", 1, str(model.uuid)), lambda *_: None)
    live = await start_guest(guest, model, capabilities(), folder / "lib", kvm_problem=None, paused=paused)
    try:
        yield guest, live
    finally:
        await guest.process.kill()
        await guest.ended()
        guest.paths.remove()


def refusal(document: str, folder: Path) -> LibvirtError:
    """Why a guest does not start."""
    async def start() -> LibvirtError | None:
        try:
            async with guest_of(document, folder):
                return None
        except LibvirtError as error:
            return error

    error = asyncio.run(start())
    assert error is not None, "the guest starts"
    return error


def running(folder: Path) -> dict[str, int]:
    """The programs that run for a guest, and how many processes of each."""
    found: dict[str, int] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{entry}/cmdline").read_text(errors="replace").split("\0")
        except OSError:  # it has ended since
            continue
        if any(str(folder) in word for word in words[1:]):
            found[Path(words[0]).name] = found.get(Path(words[0]).name, 0) + 1
    return found


def wait_for_end(folder: Path) -> None:
    """Return when nothing runs for a guest any more; AssertionError when something still does after 10 s."""
    deadline = time.monotonic() + 10
    while found := running(folder):
        assert time.monotonic() < deadline, f"still running: {found}"
        time.sleep(0.02)
