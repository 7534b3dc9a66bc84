"""One guest's QMP monitor: commands, their errors in libvirt's words, and events in order.

``qemu.qmp`` speaks the protocol. What is added here is what a service with hundreds of guests needs on top: every
command has a deadline, so that a hung QEMU is one waiting task and nothing else; every failure is a ``LibvirtError``;
events go straight to a callback, so that nothing piles up; and a closed connection is always cleaned away.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from qemu.qmp import ConnectError, ExecInterruptedError, ExecuteError, QMPClient, QMPError, Runstate, StateError
from qemu.qmp.message import Message

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.timeout import timeout

COMMAND_TIMEOUT = 10.0  # seconds; QEMU's main loop answers in well under a millisecond unless it is in trouble
CONNECT_TIMEOUT = 30.0  # seconds; QEMU opens its disks and fills its memory before it greets

_log = logging.getLogger(__name__)
_silent = logging.getLogger(f"{__name__}.qmp")  # every error of the library reaches us as an exception already
_silent.disabled = True

EventCallback = Callable[[str, Mapping[str, Any], float], None]
"""Name, data, and time (seconds since the epoch, QEMU's clock) of an event. Called in QEMU's order; must not block."""


class _Client(QMPClient):
    """The library's client without the texts that it makes of every message for a debug log, wanted or not.

    They cost more than all the rest of an exchange. Both methods are the library's hooks for exactly such changes.
    """

    def _cb_outbound(self, msg: Message) -> Message:
        return msg

    def _cb_inbound(self, msg: Message) -> Message:
        return msg

    @property
    def transport(self) -> asyncio.Transport | None:
        """The connection itself, while there is one."""
        return cast(asyncio.Transport, self._writer.transport) if self._writer is not None else None


class Monitor:
    """The connection to one QEMU. Used once: after ``closed`` is set, a new one is made."""

    def __init__(self, on_event: EventCallback | None = None) -> None:
        self._on_event = on_event
        self._client = _Client()
        self._client.logger = _silent
        # The library's own listener keeps every event for ever; as a filter that accepts none we see all and it none.
        self._client.events.event_filter = self._deliver
        self._watch: asyncio.Task[None] | None = None
        self.closed = asyncio.Event()
        """Set when the connection has ended and every event that QEMU sent before has been delivered."""

    async def connect(self, path: Path, within: float = CONNECT_TIMEOUT) -> None:
        """Connect to a listening QMP socket and agree on capabilities, in ``within`` seconds.

        Raises ``LibvirtError``: ``VIR_ERR_OPERATION_TIMEOUT`` when QEMU does not answer, ``VIR_ERR_OPERATION_FAILED``
        when there is nobody or it hangs up.
        """
        try:
            connection = _connect(path)
            try:
                async with timeout(within):
                    await self._client.connect(connection)
            except BaseException:
                connection.close()
                raise
        except TimeoutError:
            detail = f"QEMU did not greet on its monitor within {within:g} s"
            raise _error(c.VIR_ERR_OPERATION_TIMEOUT, detail) from None
        except (ConnectError, OSError) as error:
            raise _error(c.VIR_ERR_OPERATION_FAILED, f"failed to connect to monitor socket: {error}") from error
        self._watch = asyncio.create_task(self._clean_up_after_end())
        await asyncio.sleep(0)  # a task that is cancelled before its first step would not run its clean-up

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None, *,
                      within: float = COMMAND_TIMEOUT) -> Any:
        """Run one QMP command and return its value, as JSON. Several may be in flight.

        Raises ``LibvirtError``: ``VIR_ERR_INTERNAL_ERROR`` with QEMU's own words when it refuses,
        ``VIR_ERR_OPERATION_FAILED`` when the guest is gone, ``VIR_ERR_OPERATION_TIMEOUT`` when QEMU does not answer
        within that many seconds; then the command may still take effect later.
        """
        try:
            async with timeout(within):
                return await self._client.execute(command, arguments)
        except ExecuteError as error:
            detail = f"unable to execute QEMU command '{command}': {error}"
            raise _error(c.VIR_ERR_INTERNAL_ERROR, detail) from error
        except (ExecInterruptedError, StateError) as error:
            raise _error(c.VIR_ERR_OPERATION_FAILED, "domain is no longer running") from error
        except QMPError as error:
            raise _error(c.VIR_ERR_INTERNAL_ERROR, f"malformed reply to QEMU command '{command}': {error}") from error
        except TimeoutError:
            detail = f"QEMU did not answer the command '{command}' within {within:g} s"
            raise _error(c.VIR_ERR_OPERATION_TIMEOUT, detail) from None

    def pause_reading(self) -> None:
        """Hear nothing until ``resume_reading``: no event, no reply, no end of the connection."""
        if (transport := self._client.transport) is not None:
            transport.pause_reading()

    def resume_reading(self) -> None:
        """Hear what has waited. Harmless when nothing has."""
        if (transport := self._client.transport) is not None:
            transport.resume_reading()

    async def close(self) -> None:
        """Hang up. The guest does not notice; QEMU listens again."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])

    async def _clean_up_after_end(self) -> None:
        try:
            while self._client.runstate is Runstate.RUNNING:
                await self._client.runstate_changed()
        finally:
            # Collects what ended the reader and the writer (an end of file, as a rule): nobody else would.
            with suppress(EOFError, OSError, QMPError):
                await self._client.disconnect()
            self.closed.set()

    def _deliver(self, message: Message) -> bool:
        if self._on_event is not None:
            try:
                name, data, stamp = _event(message)
                self._on_event(name, data, stamp)
            except Exception:
                # An exception that left this method would end the connection to a healthy guest.
                _log.exception("event callback failed")
        return False


def _event(message: Message) -> tuple[str, Mapping[str, Any], float]:
    match dict(message):
        case {"event": str(name), "timestamp": {"seconds": int(seconds), "microseconds": int(microseconds)}, **rest}:
            data = rest.get("data", {})
            return name, data if isinstance(data, dict) else {}, seconds + microseconds / 1e6
    raise ValueError(f"malformed QMP event {message!r}")


def _error(code: int, detail: str) -> LibvirtError:
    return LibvirtError(code, detail, domain=c.VIR_FROM_QEMU)


@contextmanager
def _short_address(path: Path) -> Iterator[str]:
    """A name of at most 107 bytes for a socket's path: the kernel takes no more (unix(7)), run directories may be."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def listen(path: Path) -> socket.socket:
    """A listening socket for QEMU to inherit: made before QEMU starts, so that a connect never has to be retried."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short_address(path) as address:
            listener.bind(address)
        listener.listen(1)
    except BaseException:
        listener.close()
        raise
    return listener


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Not blocking: a connect to a local socket succeeds or fails at once, or is refused with EAGAIN when a hung
        # QEMU has left earlier callers waiting in its queue.
        connection.setblocking(False)
        with _short_address(path) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection
