"""How a call leaves the library: one typed call, and the doors that carry its bytes.

A channel belongs to one connection and knows its URI, its mode and its time limit. What carries the bytes is shared:
all connections of a process that use a broker use one bus client, and all that open ``test:///default`` use one node
inside the process, whose state ends with the last of them, as in libvirt. Neither door is imported before it is
needed: ``test:///`` loads no AMQP, and a client of the bus loads no service.
"""

from __future__ import annotations

import math
import os
import threading
import time
import uuid
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from pydantic import ValidationError

from virtbus.uri import ConnectionURI, broker_address
from virtbus_shared import constants as c
from virtbus_shared.envelope import Request, decode_reply
from virtbus_shared.errors import LibvirtError, invalid_arg
from virtbus_shared.procedure import Params, Procedure, Result

if TYPE_CHECKING:
    from virtbus_shared.bus.client import BusClient

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=Result)
D = TypeVar("D", bound="Door")

DEFAULT_TIMEOUT = 60.0  # seconds; ?timeout= of the URI changes it
EventCallback = Callable[[bytes], None]


class Door(Protocol):
    """What doors have in common: they are shared, and closed when nobody uses them any more."""

    def close(self) -> None:
        """Let go of everything."""


class Node(Door, Protocol):
    """A node inside this process, as the entry point ``virtbus.doors: inprocess`` gives it."""

    def open(self, scheme: str, path: str) -> None:
        """Open a connection in every service that has a driver for it."""

    def call(self, service: str, body: bytes, deadline: float) -> bytes:
        """Give a request envelope to a service; its reply envelope."""

    def subscribed(self, callback: EventCallback) -> Any:
        """A context in which ``callback`` gets every event envelope, in the node's own thread."""


class Channel(ABC):
    """The way of one connection to its node. Thread-safe; closed with the last object that uses it."""

    def __init__(self, uri: ConnectionURI, read_only: bool, close: Callable[[], None]) -> None:
        self.uri = uri
        self.read_only = read_only
        self.timeout = _timeout(uri)
        self.close: Callable[[], object] = weakref.finalize(self, close)

    def call(self, row: Procedure[P, R], params: P) -> R:
        """Make one call and wait for its result. Raises ``LibvirtError``, whoever found the fault."""
        return row.result.model_validate(self._reply(row, params.model_dump()))

    def _reply(self, row: Procedure[P, R], args: dict[str, Any]) -> R: ...

    @abstractmethod
    def exchange(self, procedure: str, request_id: str, body: bytes, deadline: float) -> bytes:
        """Carry a request envelope to the service and its reply envelope back."""

    @abstractmethod
    def subscribe(self, service: str, callback: EventCallback, on_gap: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` given each event envelope of a service, ``on_gap`` called when some may be missing; the
        answer ends it. Callbacks run in a thread of the door's, which may make calls only where ``on_gap`` is used.
        """
