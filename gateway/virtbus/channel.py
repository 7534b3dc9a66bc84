"""How a call leaves the library: one typed call, and the two doors that carry its bytes.

A channel belongs to one connection and knows its URI, its mode and its time limit. The door behind it is shared: all
connections of a process through one broker use one bus client, and all that open ``test:///default`` use one node
inside the process, whose state ends with the last of them, as in libvirt. Neither door is imported before it is
needed: ``test:///`` loads no AMQP, and a client of the bus loads no service.
"""

from __future__ import annotations

import itertools
import math
import os
import secrets
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from pydantic import ValidationError

from virtbus.doors import Door, Doors
from virtbus.uri import ConnectionURI, broker_address
from virtbus_shared import constants as c
from virtbus_shared.envelope import Request, decode_reply
from virtbus_shared.errors import LibvirtError, invalid_arg
from virtbus_shared.procedure import Params, Procedure, Result

if TYPE_CHECKING:
    from virtbus_shared.bus.client import BusClient

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=Result)
EventCallback = Callable[[bytes], None]

DEFAULT_TIMEOUT = 60.0  # seconds; ?timeout= of the URI says otherwise


# Ids must differ everywhere and for ever: a random prefix for this process, and a number. A random id for each call
# would ask the kernel each time, which lets go of the interpreter's lock: with many threads, two more switches a call.
_prefix = secrets.token_hex(12)
_numbers = itertools.count(1)


def next_id() -> str:
    """A request id that nobody else has used or will use."""
    return f"{_prefix}-{next(_numbers):x}"


def _new_prefix() -> None:
    global _prefix
    _prefix = secrets.token_hex(12)


os.register_at_fork(after_in_child=_new_prefix)


class Node(Door, Protocol):
    """A node inside this process, as the entry point ``inprocess`` of group ``virtbus.doors`` gives it."""

    def open(self, scheme: str, path: str) -> None:
        """Open a connection in every service that has a driver for it."""

    def call(self, service: str, body: bytes, deadline: float) -> bytes:
        """Give a request envelope to a service; its reply envelope."""

    def subscribed(self, callback: EventCallback) -> AbstractContextManager[None]:
        """Meanwhile, give every event envelope to ``callback``, in the node's own thread."""


class Channel(ABC):
    """The way from one connection to its services. Thread-safe; it closes itself with its last user."""

    def __init__(self, uri: ConnectionURI, read_only: bool, leave: Callable[[], None]) -> None:
        self.uri = uri
        self.read_only = read_only
        self.close: Callable[[], object] = weakref.finalize(self, leave)
        try:
            self.timeout = _timeout(uri)  # seconds
        except BaseException:
            self.close()  # a door that nobody leaves keeps its node, with its state, for ever
            raise

    def call(self, row: Procedure[P, R], params: P) -> R:
        """Make one call and wait for its result. Raises ``LibvirtError``, whoever found the fault."""
        now = time.time()
        deadline = now + self.timeout
        request = Request(next_id(), row.name, deadline, params.model_dump(), self.uri.driver, self.uri.path,
                          self.read_only, "", now)
        reply = decode_reply(self.exchange(request, request.encode()))
        try:
            return row.result.model_validate(reply)
        except ValidationError as e:
            raise LibvirtError(c.VIR_ERR_RPC, f"the reply to {row.name} is not what the call promises: {e}",
                               domain=c.VIR_FROM_RPC) from None

    @abstractmethod
    def exchange(self, request: Request, body: bytes) -> bytes:
        """Carry a request, whose envelope ``body`` is, to its service; the envelope of the reply."""

    @abstractmethod
    def subscribe(self, service: str, callback: EventCallback, on_gap: Callable[[], None]) -> Callable[[], None]:
        """Give ``callback`` every event envelope of a service, and call ``on_gap`` when some may be missing. Both
        run in a thread of the door's and must not wait. The answer ends it.
        """


class InProcessChannel(Channel):
    """To a node in this process."""

    def __init__(self, uri: ConnectionURI, read_only: bool) -> None:
        # A file describes a node of its own for each connection, as in libvirt; only /default is shared.
        shared = _nodes.enter(uri.path if uri.path == "/default" else object(), _load_node)
        self._node = shared.door
        super().__init__(uri, read_only, lambda: _nodes.leave(shared))
        try:
            self._node.open(uri.driver, uri.path)
        except BaseException:
            self.close()
            raise

    def exchange(self, request: Request, body: bytes) -> bytes:
        """Straight to the service's loop, and wait."""
        return self._node.call(request.procedure.partition(".")[0], body, request.deadline)

    def subscribe(self, service: str, callback: EventCallback, on_gap: Callable[[], None]) -> Callable[[], None]:
        """All events of the node; which service is told by their names."""
        stack = ExitStack()
        stack.enter_context(self._node.subscribed(callback))
        return stack.close


class AmqpChannel(Channel):
    """To a node behind a broker."""

    def __init__(self, uri: ConnectionURI, read_only: bool) -> None:
        address = broker_address(uri)
        shared = _clients.enter(address, lambda: _connect(address))
        self._client = shared.door
        super().__init__(uri, read_only, lambda: _clients.leave(shared))

    def exchange(self, request: Request, body: bytes) -> bytes:
        """Over the bus."""
        return self._client.call(self.uri.node, request.procedure, request.id, body, request.deadline)

    def subscribe(self, service: str, callback: EventCallback, on_gap: Callable[[], None]) -> Callable[[], None]:
        """A queue of its own at the broker."""
        return self._client.subscribe([f"{self.uri.node}.{service}.*"], callback, on_gap).cancel


def open_channel(uri: ConnectionURI, read_only: bool) -> Channel:
    """The channel that a URI asks for."""
    if uri.remote:
        return AmqpChannel(uri, read_only)
    if uri.driver == "test":
        return InProcessChannel(uri, read_only)
    raise LibvirtError(
        c.VIR_ERR_NO_CONNECT, f"'{uri}': the services of this machine are reached through their broker so far; use "
        f"{uri.driver}+amqp://NODE{uri.path or '/system'}, where NODE is the name that they were started with",
        domain=c.VIR_FROM_REMOTE)


@contextmanager
def shared_client(address: str) -> Iterator[BusClient]:
    """This process's client of a broker, for calls that belong to no connection."""
    shared = _clients.enter(address, lambda: _connect(address))
    try:
        yield shared.door
    finally:
        _clients.leave(shared)


class _InProcessNode:
    """Closes the node in a thread that may wait for it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.open, self.call, self.subscribed = node.open, node.call, node.subscribed

    def close(self) -> None:
        """Stop the node. Its last connection may have been collected as garbage in the node's own thread."""
        if threading.current_thread().name == "virtbus-node":
            threading.Thread(target=self._node.close, name="virtbus-node-close").start()
        else:
            self._node.close()


def _load_node() -> Node:
    from importlib.metadata import entry_points  # noqa: PLC0415 - only test:/// pays for it

    try:
        (point,) = entry_points(group="virtbus.doors", name="inprocess")
        node: Node = point.load()()
    except (ValueError, ImportError) as e:
        raise LibvirtError(c.VIR_ERR_NO_CONNECT, f"test:///: the services are not installed in this process ({e}); "
                           "pip install 'virtbus[test]'", domain=c.VIR_FROM_TEST) from e
    return _InProcessNode(node)


def _connect(address: str) -> BusClient:
    from virtbus_shared.bus.client import BusClient  # noqa: PLC0415 - test:/// must not load AMQP

    return BusClient(address)


def _timeout(uri: ConnectionURI) -> float:
    text = uri.params.get("timeout")
    if text is None:
        return DEFAULT_TIMEOUT
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise invalid_arg(f"timeout '{text}' in URI '{uri}' is not a number of seconds above 0", c.VIR_FROM_REMOTE)
    return seconds


_nodes: Doors[Node] = Doors()
_clients: Doors[BusClient] = Doors()
