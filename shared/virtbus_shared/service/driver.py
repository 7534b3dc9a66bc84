"""What a driver is to a service, and what the service is to a driver.

A driver serves one connection, a URI's ``driver:///path``, and owns the objects on it. It is found through an entry
point named after the URI's driver, so a new hypervisor, storage back end or network mode is a new distribution and
no edit. ``DriverHost`` is all that it may use of the service: its directories, its part of the store, a bounded and
counted way to call out, and the way to say what happened when nobody asked.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, Protocol

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError, check_flags, no_support
from virtbus_shared.procedure import AnyProcedure
from virtbus_shared.service.change import Change
from virtbus_shared.service.store import Store
from virtbus_shared.timeout import timeout


class CallObserver(Protocol):
    """What counts driver calls; the machinery metrics implement it."""

    def driver_call(self, driver: str, operation: str, outcome: str, seconds: float) -> None:
        """A call ended: outcome ok, error or timeout."""

    def stuck(self, driver: str, change: int) -> None:
        """An object's driver call has passed its deadline without returning (+1), or has returned at last (-1)."""


@dataclass(slots=True)
class DriverHost:
    """The service as one driver sees it."""

    node: str
    scheme: str  # "qemu"
    path: str  # "/system"
    state_dir: Path  # survives a reboot of the host
    run_dir: Path  # does not
    store: Store
    observer: CallObserver
    written: Callable[[int], None]  # told the last event number of each change that was written
    log: logging.Logger

    @property
    def scope(self) -> str:
        """The connection's name in the store."""
        return f"{self.scheme}://{self.path}"

    def change(self) -> Change:
        """An empty change of this connection."""
        return Change(self.scope)

    def load(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The stored objects of a kind: (uuid, record)."""
        return self.store.load(self.scope, kind)

    async def commit(self, change: Change) -> None:
        """Write what happened when nobody asked (a guest ended by itself)."""
        if change:
            self.written(await self.store.write(change))

    @asynccontextmanager
    async def call(self, operation: str, deadline: float, domain: int) -> AsyncIterator[None]:
        """Around every call to a hypervisor or a host tool: bounded by ``deadline`` (Unix seconds), and counted."""
        began = time.perf_counter()
        outcome = "error"
        try:
            left = deadline - time.time()
            if left <= 0:
                raise TimeoutError  # an effect may need no more than its first step, which a timeout does not stop
            async with timeout(left):
                yield
            outcome = "ok"
        except TimeoutError:
            outcome = "timeout"
            raise LibvirtError(c.VIR_ERR_OPERATION_TIMEOUT, f"{operation} did not end in time", domain=domain) from None
        finally:
            self.observer.driver_call(self.scheme, operation, outcome, time.perf_counter() - began)


class Driver(ABC):
    """One connection to a hypervisor, a kind of storage, ..."""

    paths: ClassVar[tuple[str, ...]]  # what a service opens when it starts, such as ("/system",)
    error_domain: ClassVar[int]  # VIR_FROM_* of its errors
    prefix: ClassVar[str]  # begins its functions' names in messages: "qemu" of qemuDomainCreateWithFlags

    def __init__(self, host: DriverHost) -> None:
        self.host = host

    @classmethod
    def accepts(cls, path: str, *, inprocess: bool) -> bool:
        """Whether a path may be opened. In-process nothing is open until a caller asks for it."""
        return path in cls.paths and not inprocess

    @abstractmethod
    async def start(self) -> None:
        """Load what is stored, and look which of it is really there (law 4)."""

    @abstractmethod
    async def stop(self) -> None:
        """Let go of everything; guests, networks and pools stay as they are."""

    def autostarting(self) -> Iterable[tuple[AnyProcedure, dict[str, str]]]:
        """The requests (row, arguments) that start what is marked to start with the node and does not run."""
        return ()

    def check_flags(self, flags: int, allowed: int, function: str) -> None:
        """Refuse flag bits that this driver does not know for a function, such as ``DomainCreateXML``."""
        check_flags(flags, allowed, self.prefix + function, self.error_domain)

    def unsupported(self, row: AnyProcedure) -> LibvirtError:
        """The error for a row that this driver cannot serve."""
        return no_support(row.serves[0] if row.serves else row.name, self.error_domain)


class Drivers:
    """The drivers of a service by URI driver, from its entry points. A driver's module is imported at first use."""

    def __init__(self, service: str) -> None:
        self._points = {point.name: point for point in entry_points(group=f"virtbus.{service}.drivers")}

    def names(self) -> list[str]:
        """The URI drivers that are installed."""
        return sorted(self._points)

    def get(self, scheme: str) -> type[Driver] | None:
        """The driver that serves ``scheme://``, None when none is installed."""
        point = self._points.get(scheme)
        if point is None:
            return None
        driver: type[Driver] = point.load()
        return driver
