"""The envelope never trusts its sender: whatever bytes come, there is a request or an error that says what is wrong."""

from __future__ import annotations

import math
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtbus_shared import constants as c
from virtbus_shared import envelope as env
from virtbus_shared.envelope import EventMessage, MalformedEnvelopeError, Request, decode_reply, decode_request
from virtbus_shared.errors import LibvirtError

GOOD: dict[str, Any] = {"v": 1, "id": "r-1", "procedure": "domain.ping", "deadline": 1e9, "args": {}}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.binary(), inner, max_size=4),
    max_leaves=20)
KEYS = st.sampled_from(["v", "id", "procedure", "deadline", "args", "driver", "path", "read_only", "trace", "sent"])


def decoded(body: bytes) -> Request | MalformedEnvelopeError:
    """What these bytes are; any other exception fails the test."""
    try:
        return decode_request(body)
    except MalformedEnvelopeError as error:
        return error


def well_typed(request: Request) -> None:
    """Every field of a request that was let through is of its declared type and usable."""
    assert isinstance(request.id, str)
    assert 0 < len(request.id) <= env.MAX_ID
    for value in (request.procedure, request.driver, request.path, request.trace):
        assert isinstance(value, str)
    assert isinstance(request.args, dict)
    assert isinstance(request.read_only, bool)
    for moment in (request.deadline, request.sent):
        assert not isinstance(moment, bool)
        assert math.isfinite(moment)


@given(st.builds(Request, st.text(min_size=1, max_size=env.MAX_ID), st.text(), st.floats(-1e11, 1e11),
                 st.dictionaries(st.text(), VALUES, max_size=4), st.text(), st.text(), st.booleans(), st.text(),
                 st.floats(-1e11, 1e11)))
def test_a_request_survives_the_journey(request_: Request) -> None:
    """What is encoded is what is decoded, in every field and every script."""
    body = request_.encode()
    assert decode_request(body).encode() == body


@given(st.binary(max_size=200))
def test_random_bytes_are_a_request_or_malformed(body: bytes) -> None:
    """No bytes make the decoder fail in another way."""
    found = decoded(body)
    if isinstance(found, Request):
        well_typed(found)


@given(VALUES)
def test_random_values_are_malformed(value: object) -> None:
    """Proper msgpack that is no envelope is refused with libvirt's code for the wire."""
    found = decoded(msgpack.packb(value))
    assert isinstance(found, MalformedEnvelopeError)
    assert (found.code, found.domain) == (c.VIR_ERR_RPC, c.VIR_FROM_RPC)


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=3), st.sets(KEYS, max_size=1))
def test_wrong_types_never_get_through(wrong: dict[str, Any], dropped: set[str]) -> None:
    """A good envelope with any fields replaced or missing is well-typed after all, or malformed."""
    changed = {key: value for key, value in {**GOOD, **wrong}.items() if key not in dropped}
    found = decoded(msgpack.packb(changed))
    if isinstance(found, Request):
        well_typed(found)
    elif isinstance(changed.get("id"), str) and 0 < len(changed["id"]) <= env.MAX_ID:
        assert found.request_id == changed["id"]  # so that the caller can be told


@pytest.mark.parametrize(("key", "value", "complaint"), [
    ("v", 2, "protocol version '2' is not supported; this service speaks 1"),
    ("v", True, "protocol version 'True' is not supported"),
    ("v", None, "protocol version 'None' is not supported"),
    ("id", "", "'id' must be text of 1 to 128 characters"),
    ("id", "x" * 129, "'id' must be text of 1 to 128 characters"),
    ("id", 7, "'id' must be text of 1 to 128 characters"),
    ("procedure", b"domain.ping", "'procedure' must be str, not bytes"),
    ("deadline", "soon", "'deadline' must be float, not str"),
    ("deadline", True, "'deadline' must be float, not bool"),
    ("deadline", math.nan, "'deadline' is not a time"),
    ("deadline", math.inf, "'deadline' is not a time"),
    ("deadline", 2**63, "'deadline' is not a time"),
    ("sent", -math.inf, "'sent' is not a time"),
    ("args", [], "'args' must be dict, not list"),
    ("read_only", 1, "'read_only' must be bool, not int"),
])
def test_each_fault_is_named(key: str, value: object, complaint: str) -> None:
    """The error says which field is wrong and what was expected."""
    found = decoded(msgpack.packb({**GOOD, key: value}))
    assert isinstance(found, MalformedEnvelopeError)
    assert complaint in found.message


@pytest.mark.parametrize("key", ["procedure", "deadline", "args"])
def test_a_missing_field_is_named(key: str) -> None:
    """The three fields without a default must be there."""
    found = decoded(msgpack.packb({k: v for k, v in GOOD.items() if k != key}))
    assert isinstance(found, MalformedEnvelopeError)
    assert f"{key!r} is missing" in found.message


@pytest.mark.parametrize("body", [
    b"\x91" * 100_000, b"\x81\xa1a" * 100_000,  # a hundred thousand lists, or maps, in each other
    b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",  # 4 GiB
    b"\x81\xa1a\xa2\xff\xfe", b"\xc1", b"", b"\x80" * 2, b"\x81\x01\x01", b"\x81\xc4\x01a\x01",
    b"\xd6\xff\xff\xff\xff\xff", b"\xc7\xff\x05" + b"x" * 255,
])
def test_hostile_shapes_are_malformed(body: bytes) -> None:
    """Depth without end, lengths without content, bad text, bad keys, foreign types: none is an envelope."""
    assert isinstance(decoded(body), MalformedEnvelopeError)


def test_a_body_over_the_limit_is_refused_unread() -> None:
    """One byte more than 32 MiB is too much; the limit and the size are named."""
    found = decoded(bytes(env.MAX_BODY + 1))
    assert isinstance(found, MalformedEnvelopeError)
    assert f"{env.MAX_BODY + 1} bytes; at most {env.MAX_BODY}" in found.message


def test_a_result_over_the_limit_is_refused_by_its_sender() -> None:
    """A reply that no caller would read is never made; the caller gets an error that says so."""
    with pytest.raises(LibvirtError, match=r"the result has \d+ bytes; at most 33554432 can be sent") as caught:
        env.encode_result("r", {"xml": "x" * env.MAX_BODY})
    assert caught.value.code == c.VIR_ERR_RPC


def test_unknown_fields_are_let_through() -> None:
    """A newer sender may say more than this version knows."""
    assert decode_request(msgpack.packb({**GOOD, "hops": [1, 2]})).id == "r-1"


@given(st.binary(max_size=100) | VALUES.map(msgpack.packb)
       | st.dictionaries(st.sampled_from(["result", "error", "v"]), VALUES).map(msgpack.packb))
def test_any_reply_is_a_result_or_a_libvirt_error(body: bytes) -> None:
    """A caller that gets rubbish for a reply gets an exception it knows."""
    try:
        value = decode_reply(body)
    except LibvirtError as error:
        found = error
    else:
        assert msgpack.packb(value) == msgpack.packb(msgpack.unpackb(body)["result"])
        return
    assert isinstance(found.code, int)
    assert isinstance(found.message, str)


def test_a_reply_carries_all_nine_fields() -> None:
    """What a service raises is what its caller catches."""
    sent = LibvirtError(c.VIR_ERR_NO_DOMAIN, "no domain 'ü'", domain=c.VIR_FROM_TEST, int1=3, int2=4)
    with pytest.raises(LibvirtError) as caught:
        decode_reply(env.encode_error("r", sent))
    assert caught.value.fields == sent.fields


EVENT = EventMessage("domain.lifecycle", "node-a", "test", "/default", "e1", 7, 1.5, {"event": 2})


def test_an_event_survives_the_journey() -> None:
    """What is encoded is what is decoded."""
    assert EventMessage.decode(EVENT.encode()) == EVENT


@given(st.binary(max_size=100) | st.tuples(st.sampled_from(
    ["event", "node", "driver", "path", "epoch", "sequence", "time", "body"]), VALUES).map(
        lambda pair: msgpack.packb({**msgpack.unpackb(EVENT.encode()), pair[0]: pair[1]})))
def test_any_event_is_well_typed_or_malformed(body: bytes) -> None:
    """A subscriber never sees a number that is no number or a body that is no map."""
    try:
        event = EventMessage.decode(body)
    except MalformedEnvelopeError:
        return
    for name in (event.name, event.node, event.driver, event.path, event.epoch):
        assert isinstance(name, str)
    assert isinstance(event.sequence, int)
    assert isinstance(event.time, float | int)
    assert isinstance(event.body, dict)


def test_remaining_is_negative_after_a_deadline() -> None:
    """Time that is left counts down through nothing."""
    assert env.remaining(0.0) < 0 < env.remaining(1e11)
