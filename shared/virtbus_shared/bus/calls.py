"""The calls a client waits for: what is to be sent, what was sent, and who is woken by what comes back.

Calling threads put a call in and sleep on its lock; the I/O thread takes what is to be sent and hands in what comes.
Neither waits for the other: the one lock here is held for a few instructions, never while something is sent or waited
for. A call is kept with its body until it ends, because it may have to be sent again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from queue import SimpleQueue

from virtbus_shared import constants as c
from virtbus_shared.bus import topology
from virtbus_shared.bus.relay import Relay
from virtbus_shared.errors import LibvirtError

MAX_CALLS = 4096
MAX_BYTES = 64 * 1024 * 1024  # of the bodies of all calls that wait
MAX_EXPIRATION = 2**32 - 1  # milliseconds
_SMALL = 1024  # bytes; MAX_CALLS of these are no matter, so they are not counted
_TOGETHER = 32  # calls that are gathered, at most, while callers are woken


class Call:
    """One call that waits for its reply, or one fan-out that waits for many."""

    __slots__ = ("began", "body", "deadline", "error", "id", "key", "lock", "node", "replies", "reply", "sent",
                 "service", "woken")

    def __init__(self, node: str, procedure: str, request_id: str, body: bytes, deadline: float) -> None:
        self.id = request_id
        self.node = node
        self.service = procedure.partition(".")[0]
        self.key = topology.command_key(node, procedure)
        self.body = body
        self.deadline = deadline  # Unix seconds
        self.began = time.monotonic()
        self.sent = 0  # how many times
        self.reply: bytes | None = None
        self.error: LibvirtError | None = None
        self.lock = threading.Lock()  # released when the call has ended
        self.lock.acquire()
        self.woken = False  # whether it was released: an interrupted caller cannot tell by the lock
        # For a fan-out: what came, or the error that ended it, or None when nobody was there.
        self.replies: SimpleQueue[bytes | LibvirtError | None] | None = None

    def wake(self) -> None:
        """Wake who waits: it has ended."""
        self.woken = True
        self.lock.release()

    def fail(self, error: LibvirtError) -> None:
        """End it, and wake who waits."""
        if self.replies is not None:
            self.replies.put(error)
        else:
            self.error = error
            self.wake()


class Calls:
    """All calls of one client. Methods say which thread may call them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, Call] = {}
        self._outbox: deque[Call] = deque()
        self._relay = Relay()
        self._bytes = 0
        self._closed: LibvirtError | None = None
        self.unknown_replies = 0  # too late, or twice

    @property
    def pending(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting) or self._relay.running

    def admit(self, call: Call) -> bool:
        """Any thread: take a call in. True if the I/O thread must be woken: nobody else is about to do so."""
        size = len(call.body)
        with self._lock:
            if self._closed is not None:
                raise self._closed
            if len(self._waiting) >= MAX_CALLS:
                raise _busy(f"{MAX_CALLS} calls wait for their replies already")
            if call.id in self._waiting:
                raise LibvirtError(c.VIR_ERR_RPC, f"request id {call.id!r} is in use by another call",
                                   domain=c.VIR_FROM_RPC)
            if size > _SMALL:
                if self._bytes + size > MAX_BYTES:
                    raise _busy(f"{self._bytes} bytes of calls wait for their replies already")
                self._bytes += size
            self._waiting[call.id] = call
            first = not self._outbox
            self._outbox.append(call)
            # First into the outbox, then a look at the relay; `leave` does it the other way round. So one of the two
            # sees the other.
            return len(self._outbox) == _TOGETHER or (first and not self._relay.running)

    def leave(self, call: Call) -> bool:
        """Any thread: a caller that was woken goes. True if the I/O thread must be woken."""
        return call.reply is not None and self._relay.hand_on() and bool(self._outbox)

    def forget(self, call: Call) -> bool:
        """Any thread: drop a call. False if it had ended, or was ended by something else in this moment."""
        with self._lock:
            return self._remove(call.id) is not None

    def _remove(self, ident: str) -> Call | None:
        call = self._waiting.pop(ident, None)
        if call is not None and len(call.body) > _SMALL:
            self._bytes -= len(call.body)
        return call

    def close(self, error: LibvirtError) -> None:
        """Any thread: end all calls, and refuse more, with this error."""
        with self._lock:
            self._closed = error
        self.fail(list(self._waiting.values()), error)
        self._relay.everybody()  # from now on nobody looks after them

    # The rest is the I/O thread's.

    def to_send(self) -> list[Call]:
        """What is to be sent now; calls that ended while they waited are left out."""
        outbox, waiting = self._outbox, self._waiting
        calls = []
        while outbox:  # `admit` may append meanwhile: it sees an empty outbox afterwards, or this loop sees its call
            call = outbox.popleft()
            if waiting.get(call.id) is call:
                calls.append(call)
        return calls

    def replied(self, ident: str | None, body: bytes) -> bool:
        """A reply came: its caller is to be woken. False if nobody waits for it."""
        call = self._waiting.get(ident) if ident is not None else None
        if call is None:
            self.unknown_replies += 1
            return False
        if call.replies is not None:
            call.replies.put(body)
        elif self.forget(call):
            call.reply = body
            self._relay.add(call)
        return True

    def wake_callers(self) -> None:
        """All that came together was handed in: begin to wake the callers."""
        self._relay.begin()

    def look(self) -> bool:
        """Now and then: see to it that no caller sleeps for ever. True if something must be sent now."""
        return self._relay.look() and bool(self._outbox)

    def get(self, ident: str | None) -> Call | None:
        """The waiting call with this id."""
        return self._waiting.get(ident) if ident is not None else None

    def all(self) -> list[Call]:
        """All waiting calls, in the order in which they came."""
        with self._lock:
            return list(self._waiting.values())

    def again(self, calls: list[Call]) -> None:
        """Send these once more, with the same ids: the services know an id that they have seen."""
        with self._lock:
            queued = set(map(id, self._outbox))
            self._outbox.extend(call for call in calls if id(call) not in queued)

    def fail(self, calls: list[Call], error: LibvirtError) -> None:
        """End these calls with an error."""
        for call in calls:
            if self.forget(call):
                call.fail(error)

    def nobody_there(self, call: Call) -> None:
        """The broker returned the call: no service takes it."""
        if not self.forget(call):
            return
        if call.replies is not None:
            call.replies.put(None)
            return
        call.fail(LibvirtError(
            c.VIR_ERR_SYSTEM_ERROR, f"unable to connect to service '{call.service}' of node '{call.node}': nobody "
            f"takes its commands on this broker. Check the node's name, and that virtbus-{call.service} runs there "
            "and reaches this broker", domain=c.VIR_FROM_RPC))


def _busy(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_RESOURCE_BUSY, f"too many calls at once: {detail}", domain=c.VIR_FROM_RPC)


def timed_out(call: Call, trouble: str | None) -> LibvirtError:
    """The error of a call whose deadline passed; ``trouble`` says why the broker is out of reach, if it is."""
    what = f"call {call.key.removeprefix(call.node + '.')} to node '{call.node}' (request {call.id})"
    if not call.sent:
        because = f": {trouble}" if trouble is not None else ""
        return LibvirtError(c.VIR_ERR_OPERATION_TIMEOUT, f"{what} was not sent before its deadline{because}",
                            domain=c.VIR_FROM_RPC)
    return LibvirtError(c.VIR_ERR_OPERATION_TIMEOUT, f"{what} was not answered before its deadline. Its outcome is "
                        "unknown: it may have taken effect, or may still do", domain=c.VIR_FROM_RPC)


def expiration(call: Call, now: float) -> int:
    """Milliseconds until a call's deadline, or 0 if it has passed; at most what RabbitMQ accepts."""
    return min(max(0, int((call.deadline - now) * 1000)), MAX_EXPIRATION)


def closed_error() -> LibvirtError:
    """What a call on a closed connection gets, in libvirt's words."""
    return LibvirtError(c.VIR_ERR_INTERNAL_ERROR, "client socket is closed", domain=c.VIR_FROM_RPC)


def check_deadline(call: Call) -> None:
    """Refuse to begin a call whose deadline has passed, or is none."""
    if not -1e12 < call.deadline < 1e12:  # NaN fails this too
        raise LibvirtError(c.VIR_ERR_INVALID_ARG, f"deadline {call.deadline} is not a time", domain=c.VIR_FROM_RPC)
    if call.deadline <= time.time():
        raise timed_out(call, "it had passed when the call was made")
