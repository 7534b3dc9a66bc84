"""``test:///default`` inside this process, one level below the library: rows of the table instead of its methods."""

from __future__ import annotations

import queue
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from virtbus_shared.api import domain as api
from virtbus_shared.envelope import EventMessage, Request, decode_reply
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import Params, Procedure, Result
from virtbus_shared.service.inprocess import InProcessNode, open_node

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=Result)

PATIENCE = 20.0  # seconds after which a test gives up; nothing measures time by it
TEST_UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"  # of the domain that test:///default begins with


class Local:
    """A node, called row by row; its events wait in order until somebody asks for them."""

    def __init__(self, node: InProcessNode) -> None:
        self.node = node
        self._events: queue.SimpleQueue[EventMessage] = queue.SimpleQueue()

    def arrived(self, body: bytes) -> None:
        """An event of the node."""
        self._events.put(EventMessage.decode(body))

    def __call__(self, row: Procedure[P, R], *, read_only: bool = False, within: float = PATIENCE,
                 **args: Any) -> R:
        """Make a call. Raises ``LibvirtError``."""
        request = Request(uuid.uuid4().hex, row.name, time.time() + within, args, "test", "/default", read_only)
        return row.result.model_validate(decode_reply(self.node.call(row.service, request.encode(), request.deadline)))

    def error(self, row: Procedure[P, R], *, read_only: bool = False, within: float = PATIENCE,
              **args: Any) -> LibvirtError:
        """The error of a call that must fail."""
        try:
            result = self(row, read_only=read_only, within=within, **args)
        except LibvirtError as error:
            return error
        raise AssertionError(f"{row.name} succeeded: {result}")

    def define(self, xml: str) -> api.Domain:
        """A new definition."""
        return self(api.DEFINE_XML, xml=xml)

    def events(self, count: int) -> list[tuple[str, int, int]]:
        """The next lifecycle events: (name of the domain, event, detail)."""
        found = [self._events.get(timeout=PATIENCE) for _ in range(count)]
        return [(e.body["domain"]["name"], e.body["event"], e.body["detail"]) for e in found]

    def quiet(self) -> bool:
        """Whether no event waits. Events are handed over before the reply of a later call of the same domain."""
        return self._events.empty()


@contextmanager
def local_node() -> Iterator[Local]:
    """A fresh node with ``test:///default`` open."""
    node = open_node()
    node.open("test", "/default")
    local = Local(node)
    try:
        with node.subscribed(local.arrived):
            yield local
    finally:
        node.close()
