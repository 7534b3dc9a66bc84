"""The form in which a call travels: one msgpack map for a request, one for a reply, one for an event.

The three doors (AMQP, in-process, later a unix socket) carry the same bytes to the same dispatcher. A program in
any language can write them: a request is a map with the keys of ``Request``, a reply has ``result`` or ``error``.
Decoding never trusts the sender: wrong types, unknown versions, huge or deeply nested bodies give
``MalformedEnvelopeError``, which says what is wrong and where, and carries the request id if one could be read.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import msgpack

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

PROTOCOL_VERSION = 1
MAX_BODY = 32 * 1024 * 1024  # bytes; libvirt's own message limit is 32 MiB
MAX_ID = 128  # characters


class MalformedEnvelopeError(LibvirtError):
    """A body that is not an envelope: reported as ``VIR_ERR_RPC``, counted, never fatal."""

    def __init__(self, detail: str, request_id: str = "") -> None:
        super().__init__(c.VIR_ERR_RPC, f"malformed message: {detail}", domain=c.VIR_FROM_RPC)
        self.request_id = request_id


def _pack(value: object) -> bytes:
    """msgpack bytes."""
    return bytes(msgpack.packb(value))


@dataclass(slots=True)
class Request:
    """One call on its way to a service."""

    id: str  # chosen by the caller, unique; the same id never takes effect twice
    procedure: str  # wire name, such as "domain.create"
    deadline: float  # Unix seconds after which the call must not start
    args: dict[str, Any]
    driver: str = ""  # from the URI: "qemu" of qemu+amqp://node/system
    path: str = ""  # from the URI: "/system"
    read_only: bool = False  # the connection was opened with openReadOnly
    trace: str = ""  # W3C traceparent, or nothing
    sent: float = 0.0  # Unix seconds at which the caller sent it

    def encode(self) -> bytes:
        """The bytes of this request."""
        return _pack({
            "v": PROTOCOL_VERSION, "id": self.id, "procedure": self.procedure, "deadline": self.deadline,
            "driver": self.driver, "path": self.path, "read_only": self.read_only, "trace": self.trace,
            "sent": self.sent, "args": self.args,
        })


def unpack_map(body: bytes) -> dict[str, Any]:
    """The map that a body holds; anything else is a ``MalformedEnvelopeError``."""
    if len(body) > MAX_BODY:
        raise MalformedEnvelopeError(f"{len(body)} bytes; at most {MAX_BODY} are accepted")
    try:
        # Limits follow from the length of the body; strict_map_key keeps keys to text and bytes.
        value = msgpack.unpackb(body, strict_map_key=True)
    except (ValueError, msgpack.exceptions.UnpackException, RecursionError, OverflowError) as e:
        raise MalformedEnvelopeError(f"not msgpack ({type(e).__name__}: {e})") from None
    if not isinstance(value, dict):
        raise MalformedEnvelopeError(f"a map is expected, not {type(value).__name__}")
    return value


_TYPES: tuple[tuple[str, tuple[type, ...], Any], ...] = (
    # key, accepted types, default; None means that the key is required
    ("procedure", (str,), None),
    ("deadline", (float, int), None),
    ("args", (dict,), None),
    ("driver", (str,), ""),
    ("path", (str,), ""),
    ("read_only", (bool,), False),
    ("trace", (str,), ""),
    ("sent", (float, int), 0.0),
)


def decode_request(body: bytes) -> Request:
    """The request in these bytes. Raises ``MalformedEnvelopeError``."""
    m = unpack_map(body)
    request_id = m.get("id")
    if not isinstance(request_id, str) or not 0 < len(request_id) <= MAX_ID:
        raise MalformedEnvelopeError(f"'id' must be text of 1 to {MAX_ID} characters")
    if (version := m.get("v")) != PROTOCOL_VERSION or isinstance(version, bool):
        raise MalformedEnvelopeError(f"protocol version {str(version)[:20]!r} is not supported; "
                                     f"this service speaks {PROTOCOL_VERSION}", request_id)
    try:
        deadline = m["deadline"]
        request = Request(request_id, m["procedure"], deadline, m["args"], m.get("driver", ""), m.get("path", ""),
                          m.get("read_only", False), m.get("trace", ""), m.get("sent", 0.0))
    except KeyError as e:
        raise MalformedEnvelopeError(f"{e.args[0]!r} is missing", request_id) from None
    # Whatever a well-made request holds passes this at once; what does not is looked at in detail.
    if not (type(request.procedure) is type(request.driver) is type(request.path) is type(request.trace) is str
            and type(request.args) is dict and type(request.read_only) is bool and type(deadline) is float
            and type(request.sent) is float and -1e12 < deadline < 1e12 and -1e12 < request.sent < 1e12):
        _check(request)
    return request


def _check(request: Request) -> None:
    """Say which field is not what it must be, if one is not."""
    for key, types, _ in _TYPES:
        value = getattr(request, key)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise MalformedEnvelopeError(f"{key!r} must be {types[0].__name__}, not {type(value).__name__}",
                                         request.id)
    for key in ("deadline", "sent"):
        if not -1e12 < getattr(request, key) < 1e12:  # NaN fails this too
            raise MalformedEnvelopeError(f"{key!r} is not a time", request.id)


def encode_result(request_id: str, result: object) -> bytes:
    """The reply to a call that succeeded. Raises ``VIR_ERR_RPC`` for a result that no caller would accept."""
    body = _pack({"v": PROTOCOL_VERSION, "id": request_id, "result": result})
    if len(body) > MAX_BODY:
        raise LibvirtError(c.VIR_ERR_RPC, f"the result has {len(body)} bytes; at most {MAX_BODY} can be sent",
                           domain=c.VIR_FROM_RPC)
    return body


def encode_error(request_id: str, error: LibvirtError) -> bytes:
    """The reply to a call that failed: libvirt's nine error fields."""
    return _pack({"v": PROTOCOL_VERSION, "id": request_id, "error": error.fields})


def decode_reply(body: bytes) -> Any:
    """The result that a reply carries. Raises the ``LibvirtError`` that it carries, or ``MalformedEnvelopeError``."""
    m = unpack_map(body)
    if "result" in m:
        return m["result"]
    error = m.get("error")
    if isinstance(error, list):
        raise LibvirtError.from_fields(error)
    raise MalformedEnvelopeError("a reply must hold 'result' or 'error'")


_EVENT_TYPES: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("event", (str,)), ("node", (str,)), ("driver", (str,)), ("path", (str,)), ("epoch", (str,)), ("sequence", (int,)),
    ("time", (float, int)), ("body", (dict,)))


@dataclass(slots=True)
class EventMessage:
    """One event on its way to subscribers. ``epoch`` and ``sequence`` together are its place in the node's history."""

    name: str  # the row, such as "domain.lifecycle"
    node: str
    driver: str
    path: str
    epoch: str  # names the store that numbered it: a service that starts with an empty store has a new epoch
    sequence: int  # 1, 2, 3 ... without gaps within one epoch of one service
    time: float  # Unix seconds at which it happened
    body: dict[str, Any]

    def encode(self) -> bytes:
        """The bytes of this event."""
        return _pack({
            "v": PROTOCOL_VERSION, "event": self.name, "node": self.node, "driver": self.driver, "path": self.path,
            "epoch": self.epoch, "sequence": self.sequence, "time": self.time, "body": self.body,
        })

    @classmethod
    def decode(cls, body: bytes) -> EventMessage:
        """The event in these bytes. Raises ``MalformedEnvelopeError``."""
        m = unpack_map(body)
        for key, types in _EVENT_TYPES:
            if not isinstance(m.get(key), types) or isinstance(m[key], bool):
                raise MalformedEnvelopeError(f"an event's {key!r} must be {types[0].__name__}")
        return cls(m["event"], m["node"], m["driver"], m["path"], m["epoch"], m["sequence"], m["time"], m["body"])


def remaining(deadline: float) -> float:
    """Seconds until a deadline; negative when it has passed."""
    return deadline - time.time()
