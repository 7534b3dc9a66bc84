"""What a connection and its objects have in common: they call by a channel, and refuse early what libvirt refuses.

An object is a name and a UUID and nothing else; it keeps its connection's channel open, so it works on after the
connection was closed, as in libvirt. Two refusals need no call, because libvirt's own library makes them: a call on a
closed connection, and a change through a read-only one. Both name the C function, so each method says which it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar

from virtbus.channel import Channel
from virtbus.unsupported import denied, origin_of
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import Params, Procedure, Result

if TYPE_CHECKING:
    from virtbus.connect import virConnect

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=Result)
MAX_NAME = 1024  # characters of a name that go along with a UUID, for messages only


class Caller(ABC):
    """Something that makes calls through a channel."""

    _channel: Channel | None

    @abstractmethod
    def _connection(self) -> virConnect:
        """The connection behind it."""

    def _call(self, function: str, row: Procedure[P, R], params: P) -> R:
        """Make the call that libvirt names ``function``."""
        channel = self._open_channel(function)
        if channel.read_only and not row.read_only:
            raise denied(function)
        return channel.call(row, params)

    def _open_channel(self, function: str) -> Channel:
        """The channel, unless the connection was closed."""
        channel = self._channel
        if channel is None:
            raise LibvirtError(c.VIR_ERR_INVALID_CONN, function, domain=origin_of(function))
        return channel


class Handle(Caller):
    """An object, found through a connection or through another object."""

    def __init__(self, parent: Caller) -> None:
        self._conn = parent._connection()
        self._channel = parent._channel

    def _connection(self) -> virConnect:
        return self._conn

    def connect(self) -> virConnect:
        """The connection that this object came from; no call."""
        return self._conn
