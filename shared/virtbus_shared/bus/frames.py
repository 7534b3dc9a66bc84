"""The bytes of the two hot paths: a request on its way out, a reply with its acknowledgement.

pika builds each frame through objects of its own and sends it alone; for these two messages that costs more than all
else on the way. Here the parts that never change within a channel are encoded once, and a message is the joining of
a few pieces. Layout: AMQP 0-9-1, sections 2.3.5 (frames) and 1.8.3 (basic). Everything else goes through pika.
"""

from __future__ import annotations

import struct

from virtbus_shared.bus import topology

_FRAME = struct.Struct(">BHI")  # type, channel, size of the payload
_HEADER = struct.Struct(">BHIHHQH")  # a content header: frame head, class, weight, size of the body, property flags
_ACK = struct.Struct(">BHIHHQBB")  # basic.ack and basic.reject, the whole frame
_END = b"\xce"
_METHOD, _HEADER_TYPE, _BODY = 1, 2, 3
_BASIC, _PUBLISH, _ACK_ID, _REJECT_ID = 60, 40, 80, 90
_HEADER_HEAD = 14  # bytes of a header's payload before its properties

# Property flags, in the order in which the properties follow.
_CONTENT_TYPE, _CORRELATION, _REPLY_TO, _EXPIRATION, _USER = 0x8000, 0x0400, 0x0200, 0x0100, 0x0010
_MANDATORY = b"\x01"
_MAX_TEMPLATES = 4096


def short(text: str) -> bytes:
    """A short string: one byte of length, then at most 255 bytes."""
    raw = text.encode()
    if len(raw) > 255:
        raise ValueError(f"{len(raw)} bytes: {text[:40]!r}... is too long for an AMQP short string")
    return bytes((len(raw),)) + raw


def _publish_frame(channel: int, exchange: str, routing_key: str) -> bytes:
    payload = struct.pack(">HHH", _BASIC, _PUBLISH, 0) + short(exchange) + short(routing_key) + _MANDATORY
    return _FRAME.pack(_METHOD, channel, len(payload)) + payload + _END


class _Template:
    """What both kinds of message share: the publish frames seen so far, and the cutting of bodies into frames."""

    def __init__(self, channel: int, exchange: str, frame_max: int) -> None:
        self._channel = channel
        self._exchange = exchange
        self._piece = frame_max - 8
        self._publish: dict[str, bytes] = {}

    def _content(self, routing_key: str, flags: int, properties: bytes, body: bytes) -> list[bytes]:
        publish = self._publish.get(routing_key)
        if publish is None:
            if len(self._publish) >= _MAX_TEMPLATES:
                self._publish.clear()
            publish = self._publish[routing_key] = _publish_frame(self._channel, self._exchange, routing_key)
        size = len(body)
        head = _HEADER.pack(_HEADER_TYPE, self._channel, _HEADER_HEAD + len(properties), _BASIC, 0, size, flags)
        out = [publish, head, properties, _END]
        if size <= self._piece:
            if size:
                out += (_FRAME.pack(_BODY, self._channel, size), body, _END)
            return out
        for start in range(0, size, self._piece):
            piece = body[start:start + self._piece]
            out += (_FRAME.pack(_BODY, self._channel, len(piece)), piece, _END)
        return out


class RequestFrames(_Template):
    """Commands of one channel: mandatory, with correlation id, reply queue, expiration and the caller's user."""

    def __init__(self, channel: int, reply_to: str, user: str | None, frame_max: int) -> None:
        super().__init__(channel, topology.COMMAND, frame_max)
        self._reply_to = short(reply_to)
        self._user = short(user) if user is not None else b""
        self._flags = _CONTENT_TYPE | _CORRELATION | _REPLY_TO | _EXPIRATION | (_USER if user is not None else 0)
        self._type = short(topology.CONTENT_TYPE)

    def encode(self, routing_key: str, correlation_id: str, expiration: int, body: bytes) -> list[bytes]:
        """The pieces of one command; ``expiration`` in milliseconds."""
        properties = b"".join((self._type, short(correlation_id), self._reply_to, short(str(expiration)), self._user))
        return self._content(routing_key, self._flags, properties, body)


class ReplyFrames(_Template):
    """Replies of one channel, through the default exchange, mandatory; and what settles the command they answer."""

    def __init__(self, channel: int, frame_max: int) -> None:
        super().__init__(channel, "", frame_max)
        self._type = short(topology.CONTENT_TYPE)

    def encode(self, reply_to: str, correlation_id: str, body: bytes) -> list[bytes]:
        """The pieces of one reply."""
        return self._content(reply_to, _CONTENT_TYPE | _CORRELATION, self._type + short(correlation_id), body)

    def ack(self, tag: int, *, earlier: bool = False) -> bytes:
        """The frame that says: this command is done with, and with ``earlier`` all before it too."""
        return _ACK.pack(_METHOD, self._channel, 13, _BASIC, _ACK_ID, tag, int(earlier), 0xCE)

    def reject(self, tag: int) -> bytes:
        """The frame that says: this command cannot be taken by anybody (it is dead-lettered, not queued again)."""
        return _ACK.pack(_METHOD, self._channel, 13, _BASIC, _REJECT_ID, tag, 0, 0xCE)
