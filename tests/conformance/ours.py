"""What virtbus makes of a domain document, for comparison with libvirt: the rows of our own drivers, without a service.

The one place of the comparison that knows which functions of ours answer. Folders of this run are written as those
that ``tests/support/embed.py`` puts into libvirt's answers.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import logging
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.support.embed import ROOT, Refusal
from virtbus_domain.drivers.qemu.driver import QemuDriver
from virtbus_domain.drivers.test import TestDriver
from virtbus_domain.xml import format_domain
from virtbus_domain.xml.domain import Domain
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.driver import DriverHost
from virtbus_shared.service.store import Store

RUN = f"{ROOT}/run"  # where the guests' own folders are in our answers


class Reader(Protocol):
    """A driver, as far as definitions go."""

    async def read(self, xml: str) -> Domain:
        """A document with the driver's defaults."""
        ...


class NobodyCounts:
    """An observer of driver calls: there are none here."""

    def driver_call(self, driver: str, operation: str, outcome: str, seconds: float) -> None:
        """See ``CallObserver``."""

    def stuck(self, driver: str, change: int) -> None:
        """See ``CallObserver``."""


@dataclass(frozen=True)
class Node:
    """The drivers, a loop to ask them in, and the folder that they write to."""

    loop: asyncio.Runner
    folder: Path
    qemu: QemuDriver
    test: TestDriver

    def answer(self, step: Coroutine[object, object, str]) -> str | Refusal:
        """What a step gives, or its refusal."""
        try:
            return self.loop.run(step).replace(str(self.folder), ROOT)
        except LibvirtError as error:
            return Refusal(error.code, error.domain, error.message.replace(str(self.folder), ROOT))


def stored(document: str) -> str | Refusal:
    """The inactive document, with passwords, that the QEMU driver stores of a definition."""
    return node().answer(_dump(node().qemu, document))


def stored_by_test_driver(document: str) -> str | Refusal:
    """The same of the test driver."""
    return node().answer(_dump(node().test, document))


def command(document: str) -> str | Refusal:
    """The QEMU command, as shell text, that would start a definition."""
    return node().answer(node().qemu.domain_xml_to_native("qemu-argv", document))


@functools.cache
def node() -> Node:
    """The drivers of this test run; the emulators are probed when first asked for."""
    folder = Path(tempfile.mkdtemp(prefix="virtbus-ours-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    loop = asyncio.Runner()
    atexit.register(loop.close)

    def host(scheme: str, path: str) -> DriverHost:
        return DriverHost(node="here", scheme=scheme, path=path, state_dir=folder / "lib" / "qemu",
                          run_dir=folder / "run", store=Store(None), observer=NobodyCounts(),
                          written=lambda _: None, log=logging.getLogger("conformance"))

    return Node(loop, folder, QemuDriver(host("qemu", "/system")), TestDriver(host("test", "/default")))


async def _dump(driver: Reader, document: str) -> str:
    return format_domain(await driver.read(document), live=False, secure=True)
