"""pika's connections with a leaner way out and in: few writes, and deliveries without pika's objects.

pika sends every frame by itself: three writes for a message, four for a reply with its acknowledgement, and for each
an ``epoll_ctl`` pair; the broker wakes up once per piece. The classes here join what belongs together: all that is
produced while one read is handled leaves in one write, and all that is produced in one turn of the loop likewise.
On the way in, the deliveries of one channel (the busy one) are taken from the stream directly; pika decodes them into
three objects each, and a property table that it does not know would cost it the connection.

All of this rests on private methods of pika: ``_output_marshaled_frames``, ``_on_data_available``,
``_proto_connection_made`` and the transport behind them. pika is pinned for that reason, a test proves that the
overrides are reached, and another that everything works, only slower, on pika's own classes.
"""

from __future__ import annotations

import asyncio
import struct
from abc import abstractmethod
from collections.abc import Callable, Sequence

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.utils.io_services_utils import _AsyncPlaintextTransport
from pika.channel import Channel
from pika.spec import Basic, BasicProperties

# (delivery tag, redelivered, exchange, correlation id, reply queue, validated user, body). A property that is
# missing, or that is no text, is None.
OnDelivery = Callable[[int, bool, str, str | None, str | None, str | None, bytes], None]

_FRAME = struct.Struct(">BHI")
_SIZE = struct.Struct(">Q")
_TAG = struct.Struct(">QB")
_METHOD, _HEADER, _BODY = 1, 2, 3
_READ = 256 * 1024  # bytes
_DELIVER = b"\x00\x3c\x00\x3c"  # basic.deliver
# pika copies what is left of a piece each time the socket takes a part of it, so large output goes in pieces.
_JOIN_LIMIT = 256 * 1024  # bytes
_JOIN_PIECES = 6  # two full frames of a large body


class _Text(dict[bytes, str | None]):
    """Decoded short strings that come again and again: exchanges, users, reply queues."""

    def __missing__(self, raw: bytes) -> str | None:
        if len(self) >= 4096:
            self.clear()
        text: str | None
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = None
        self[raw] = text
        return text


_TEXT = _Text()


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _properties(header: bytes) -> tuple[str | None, str | None, str | None]:
    """Correlation id, reply queue and user of a content header's payload; unknown parts are skipped, not read."""
    flags = header[12] << 8 | header[13]
    if flags & 1:  # more flags follow; no property that exists needs them
        return None, None, None
    at = 14
    for flag in (0x8000, 0x4000):  # content type, content encoding
        if flags & flag:
            at += 1 + header[at]
    if flags & 0x2000:  # headers, a table
        at += 4 + int.from_bytes(header[at:at + 4])
    at += bool(flags & 0x1000) + bool(flags & 0x0800)  # delivery mode, priority
    correlation = reply_to = user = None
    if flags & 0x0400:
        correlation = _text(header[at + 1:at + 1 + header[at]])
        at += 1 + header[at]
    if flags & 0x0200:
        reply_to = _TEXT[header[at + 1:at + 1 + header[at]]]
        at += 1 + header[at]
    for flag in (0x0100, 0x0080):  # expiration, message id
        if flags & flag:
            at += 1 + header[at]
    at += 8 * bool(flags & 0x0040)  # timestamp
    if flags & 0x0020:  # type
        at += 1 + header[at]
    if flags & 0x0010:
        user = _TEXT[header[at + 1:at + 1 + header[at]]]
    return correlation, reply_to, user


class _Deliveries:
    """The deliveries of one channel, put together from its frames."""

    def __init__(self, channel: int, on_delivery: OnDelivery) -> None:
        self.channel = channel
        self._on_delivery = on_delivery
        self._method: bytes | None = None
        self._header = b""
        self._missing = 0
        self._pieces: list[bytes] = []

    def take(self, kind: int, payload: bytes) -> bool:
        """Whether this frame belongs to a delivery; if not, it is pika's."""
        if kind == _METHOD:
            if payload[:4] != _DELIVER:
                return False
            self._method = payload
        elif self._method is None:
            return False  # the content of something else, such as a returned message
        elif kind == _HEADER:
            self._header = payload
            self._missing = _SIZE.unpack_from(payload, 4)[0]
            if not self._missing:
                self._finish(b"")
        else:
            self._missing -= len(payload)
            if self._missing > 0:
                self._pieces.append(payload)
            elif self._pieces:
                self._finish(b"".join((*self._pieces, payload)))
            else:
                self._finish(payload)
        return True

    def _finish(self, body: bytes) -> None:
        method, self._method, self._pieces = self._method, None, []
        assert method is not None
        at = 5 + method[4]  # after the consumer tag
        tag, redelivered = _TAG.unpack_from(method, at)
        exchange = _TEXT[method[at + 10:at + 10 + method[at + 9]]] or ""
        try:
            correlation, reply_to, user = _properties(self._header)
        except IndexError:
            correlation = reply_to = user = None
        self._on_delivery(tag, bool(redelivered & 1), exchange, correlation, reply_to, user, body)


class _Lean:
    """The overrides, for either adapter of pika; ``_flush_soon`` is what the two do differently."""

    _held: list[bytes] | None = None
    trailer: Callable[[], bytes] | None = None  # asked at each write for what goes last in it
    on_batch: Callable[[], None] | None = None  # called when all deliveries of one read were handed over
    _deliveries: _Deliveries | None = None
    bytes_sent: int
    frames_sent: int
    bytes_received: int
    frames_received: int
    is_closed: bool
    _frame_buffer: bytes

    def take_deliveries(self, channel: int, on_delivery: OnDelivery) -> None:
        """From now on the deliveries of this channel go to ``on_delivery`` and pika does not see them."""
        self._deliveries = _Deliveries(channel, on_delivery)

    @abstractmethod
    def _flush_soon(self, flush: Callable[[], None]) -> None:
        """Have the adapter's loop call ``flush`` in its next turn."""

    def _proto_connection_made(self, transport: _AsyncPlaintextTransport) -> None:
        # pika reads 4 KiB at a time until there is no more, and learns that by an exception. One large read per turn
        # of the loop gives larger batches and no exception; what is left makes the socket readable again.
        transport._MAX_RECV_BYTES, transport._MAX_CONSUME_BYTES = _READ, 1
        super()._proto_connection_made(transport)  # type: ignore[misc]  # pika's

    def _output_marshaled_frames(self, frames: Sequence[bytes]) -> None:
        self.frames_sent += len(frames)
        held = self._held
        if held is None:
            self._held = list(frames)
            self._flush_soon(self.flush)
        else:
            held += frames

    def flush(self) -> None:
        """Write what is held back."""
        held, self._held = self._held, None
        if held is not None and self.trailer is not None and (last := self.trailer()):
            held.append(last)
        if held:
            self._write(held)

    def _write(self, frames: list[bytes]) -> None:
        transport = self._transport  # type: ignore[attr-defined]  # pika's
        if transport is None:
            return
        size = sum(map(len, frames))
        self.bytes_sent += size
        if size > _JOIN_LIMIT:
            for start in range(0, len(frames), _JOIN_PIECES):
                transport.write(b"".join(frames[start:start + _JOIN_PIECES]))
            return
        data = b"".join(frames)
        if type(transport) is _AsyncPlaintextTransport and not transport._tx_buffers:
            # Nothing waits before it, so it can go now: that saves two epoll_ctl and a turn of the loop.
            try:
                sent = transport._sock.send(data)
            except OSError:
                sent = 0  # pika meets the same error again and knows what to do about it
            if sent == len(data):
                return
            data = data[sent:]
        transport.write(data)

    def _on_data_available(self, data: bytes) -> None:
        if self._held is None:
            self._held = []
        try:
            self._read(data)
        finally:
            if self.on_batch is not None:
                self.on_batch()
            self.flush()

    def _read(self, data: bytes) -> None:
        deliveries = self._deliveries
        if deliveries is None:
            super()._on_data_available(data)  # type: ignore[misc]  # pika's
            return
        if self._frame_buffer:
            data = self._frame_buffer + data
            self._frame_buffer = b""
        at, end = 0, len(data)
        while end - at >= 8:
            kind, channel, size = _FRAME.unpack_from(data, at)
            after = at + size + 8
            if after > end:
                break
            if (channel == deliveries.channel and data[after - 1] == 0xCE
                    and deliveries.take(kind, data[at + 7:after - 1])):
                self.bytes_received += size + 8  # pika's heartbeat check looks at it
                self.frames_received += 1
            else:
                super()._on_data_available(data[at:after])  # type: ignore[misc]  # pika's
                if self.is_closed or self._deliveries is not deliveries:
                    return
            at = after
        self._frame_buffer = data[at:]


class LeanSelectConnection(_Lean, pika.SelectConnection):  # type: ignore[misc]  # pika has no types
    """For the client's I/O thread."""

    def _flush_soon(self, flush: Callable[[], None]) -> None:
        self.ioloop.add_callback(flush)


class LeanAsyncioConnection(_Lean, AsyncioConnection):  # type: ignore[misc]  # pika has no types
    """For a service's loop."""

    def _flush_soon(self, flush: Callable[[], None]) -> None:
        loop: asyncio.AbstractEventLoop = self.ioloop
        loop.call_soon(flush)


def consume(connection: pika.connection.Connection, channel: Channel, queue: str, on_delivery: OnDelivery, *,
            no_ack: bool, on_started: Callable[[object], None], on_batch: Callable[[], None] | None = None) -> None:
    """Consume a queue on its channel: past pika where the connection can do that, through pika where not.

    ``on_batch`` is called after deliveries were handed over: after all that came together, where that is known.
    """
    def on_message(_: Channel, method: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        correlation, reply_to, user = (v if isinstance(v, str) else None for v in (
            properties.correlation_id, properties.reply_to, properties.user_id))
        on_delivery(method.delivery_tag, method.redelivered, method.exchange, correlation, reply_to, user, body)
        if on_batch is not None:
            on_batch()

    if isinstance(connection, _Lean):
        connection.on_batch = on_batch
        connection.take_deliveries(channel.channel_number, on_delivery)
    channel.basic_consume(queue, on_message, auto_ack=no_ack, callback=on_started)


def send(connection: pika.connection.Connection, frames: list[bytes]) -> None:
    """Send frames; on a lean connection they join what else is produced in this turn of the loop."""
    connection._output_marshaled_frames(frames)


def send_now(connection: pika.connection.Connection, frames: list[bytes]) -> None:
    """Send frames, and on a lean connection all that was held back, without waiting for the turn's end."""
    connection._output_marshaled_frames(frames)
    if isinstance(connection, _Lean):
        connection.flush()
