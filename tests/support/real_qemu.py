"""Real QEMU guests made of documents: read, prepared and built as the driver does it, started paused, and then asked.

What the machine lacks of a document's host is replaced (``stand_ins``). As root a guest gets a network namespace of
its own, so that ports, bridges and taps meet nobody else's. Every guest is ended with its block.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from tests.support.components import require_program
from tests.support.stand_in_rules import bring_back, put_stand_ins
from tests.support.stand_ins import Services, StandIns, run_ip
from virtbus_domain.drivers.qemu.capabilities import QemuCapabilities
from virtbus_domain.drivers.qemu.capabilities_probe import probe
from virtbus_domain.drivers.qemu.command import CommandLine, build
from virtbus_domain.drivers.qemu.command.devices import FAMILIES, of_family
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.monitor import Monitor, listen
from virtbus_domain.drivers.qemu.names import assign_names
from virtbus_domain.drivers.qemu.prepare import prepare
from virtbus_domain.drivers.qemu.process import launch
from virtbus_domain.drivers.qemu.reading import complete, find_emulator
from virtbus_domain.drivers.qemu.start import before_run
from virtbus_domain.xml import parse_domain
from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

T = TypeVar("T")
Refused = list[tuple[str, LibvirtError]]  # devices that the builder refuses, by family

_CLONE_NEWNET = 0x40000000
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\S+Z (qemu-system-\w+: )?")


@dataclass(frozen=True)
class RealGuest:
    """A guest that runs, paused, without what the machine lacks and the builder refuses."""

    model: Domain
    setup: Setup
    line: CommandLine
    monitor: Monitor
    here: StandIns
    refused: Refused
    log: Path

    async def ask(self, command: str, **arguments: object) -> Any:
        """Run a QMP command."""
        return await self.monitor.execute(command, arguments)

    async def get(self, name: str, what: str) -> Any:
        """A property of a device."""
        return await self.ask("qom-get", path=f"/machine/peripheral/{name}", property=what)

    @property
    def said(self) -> list[str]:
        """What QEMU wrote on its standard error."""
        return [_STAMP.sub("", line) for line in self.log.read_text().splitlines()]


@cache
def capabilities(binary: Path | None = None) -> QemuCapabilities:
    """What an emulator answered, the 64-bit PC's if none is named; asked once a run."""
    emulator = binary or require_program("qemu-system-x86_64")
    with ThreadPoolExecutor(1) as pool:  # the caller may be in a loop of its own
        return pool.submit(lambda: asyncio.run(probe(emulator))).result()


def isolated(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in a thread of its own: as root with a network of its own, in which every address is at home."""
    with ThreadPoolExecutor(1, initializer=_own_network) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


def _own_network() -> None:
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    run_ip("link", "set", "lo", "up")
    run_ip("route", "add", "local", "default", "dev", "lo")
    # Addresses, even those written as numbers, are looked up only where there is more than the loopback.
    run_ip("link", "add", "node0", "up", "type", "bridge")
    run_ip("address", "add", "192.0.2.254/32", "dev", "node0")
    run_ip("address", "add", "2001:db8::fe/128", "dev", "node0", "nodad")


def read(document: str, folder: Path) -> Domain:
    """A document as the driver stores it, for the emulator that it names or for this machine's."""
    model = parse_domain(document)
    complete(model, capabilities(find_emulator(model)), folder / "nvram")
    return model


@asynccontextmanager
async def started(document: str, *, with_absent: int | None = None, as_it_is: bool = False
                  ) -> AsyncIterator[RealGuest]:
    """A guest of this document, paused. ``LibvirtError`` when we or QEMU refuse.

    ``with_absent`` is the number of a device that is left out otherwise, and that QEMU is to be asked for all the
    same. The files and sockets of a document that is taken as it is are really there.
    """
    async with _setup(document, with_absent, as_it_is) as (setup, here, refused):
        paths = GuestPaths(setup.run_dir.parents[1], 1, str(setup.domain.uuid))
        listener = listen(paths.monitor)
        line = build(setup, monitor=f"fd={listener.fileno()}")
        inherited = [int(number) for numbers in setup.descriptors.values() for number in numbers]
        process, monitor = await launch(line.argv, paths, listener, inherited, environment=line.environment,
                                        outlives_us=False)
        try:
            for command, arguments in before_run(setup.domain):
                await monitor.execute(command, arguments)
            yield RealGuest(setup.domain, setup, line, monitor, here, refused, paths.log)
        finally:
            await process.kill()
            await monitor.closed.wait()


@asynccontextmanager
async def _setup(document: str, with_absent: int | None, as_it_is: bool
                 ) -> AsyncIterator[tuple[Setup, StandIns, Refused]]:
    folder = Path(tempfile.mkdtemp(prefix="vb-"))  # short: paths of sockets have little room
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "in").mkdir()
        model = read(document, folder)
        here = StandIns(folder / "in", stack, networked=os.geteuid() == 0, as_it_is=as_it_is)
        put_stand_ins(model, here)
        paths = GuestPaths(folder, 1, str(model.uuid))
        paths.create()
        async with AsyncExitStack() as undo:
            setup = await prepare(model, capabilities(find_emulator(model)), paths, folder, undo, kvm_problem=None,
                                  lookups=Services(here))
            if with_absent is not None:
                bring_back(setup.devices, with_absent, here)
                assign_names(setup.devices, q35=setup.is_q35)
                setup = replace(setup, volumes={**setup.volumes, **here.volumes})
            yield setup, here, _leave_out_refused(setup)


def _leave_out_refused(setup: Setup) -> Refused:
    """Take out what the builder refuses, so that the rest of the document can be tried."""
    refused: Refused = []
    for family, parts in FAMILIES.items():
        for device in list(of_family(setup.devices, family)):
            try:
                parts(device, setup)
            except LibvirtError as error:
                if error.code != c.VIR_ERR_CONFIG_UNSUPPORTED:
                    raise
                refused.append((family, error))
                group = getattr(setup.devices, family)
                if isinstance(group, list):
                    del group[next(number for number, other in enumerate(group) if other is device)]
                else:
                    setattr(setup.devices, family, None)
    return refused


class AnySecret(Mapping[str, Path]):
    """A file for every secret that is asked for; with a content, which all have, it is there."""

    def __init__(self, folder: Path, content: str | None = None) -> None:
        self._folder = folder
        self._content = content

    def __getitem__(self, name: str) -> Path:
        path = self._folder / name
        if self._content is not None:
            path.write_text(self._content)
        return path

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
