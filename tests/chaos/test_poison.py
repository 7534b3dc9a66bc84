"""Anybody may publish anything to a service's key: every message is answered or kept as evidence, and none is fatal."""

from __future__ import annotations

import random
import time
from pathlib import Path

import msgpack
import pytest

from tests.support.calls import RawMessages, calling, metric, new_id, new_node, raw_messages, until
from tests.support.processes import running_node
from virtbus_shared import constants as c
from virtbus_shared.api import common
from virtbus_shared.api import domain as api
from virtbus_shared.envelope import PROTOCOL_VERSION, Request, decode_reply
from virtbus_shared.errors import LibvirtError

RANDOM = 300
BIG = 20 * 1024 * 1024


def nested(depth: int) -> bytes:
    """Lists in lists, in msgpack."""
    return b"\x91" * depth + b"\xc0"


def envelope(**changes: object) -> bytes:
    """A request with some keys changed; a key set to None is left out."""
    whole = {"v": PROTOCOL_VERSION, "id": new_id(), "procedure": "domain.list_all", "deadline": time.time() + 60,
             "driver": "test", "path": "/default", "read_only": False, "trace": "", "sent": 0.0, "args": {}}
    return bytes(msgpack.packb({key: value for key, value in {**whole, **changes}.items() if value is not None}))


def with_nested(procedure: str, depth: int) -> bytes:
    """A request whose arguments hold something deeply nested; msgpack reads deeper than it writes."""
    args = {"uuid": "00000000-0000-0000-0000-000000000000", "x": 7}
    packed = bytes(msgpack.packb(args))
    return envelope(procedure=procedure, args=args).replace(packed, packed[:-1] + nested(depth))


def random_body(source: random.Random) -> bytes:
    """Bytes of three kinds: noise, msgpack that is no envelope, an envelope with a few bytes changed."""
    match source.randrange(3):
        case 0:
            return source.randbytes(source.randrange(200))
        case 1:
            values = [None, 7, "text", [1, 2], {"id": 1}, {"v": 1}, {"v": 2, "id": "x"}]
            return bytes(msgpack.packb(source.choice(values)))
        case _:
            body = bytearray(envelope())
            for _ in range(source.randrange(1, 5)):
                body[source.randrange(len(body))] = source.randrange(256)
            return bytes(body)


@pytest.mark.slow
def test_no_message_is_fatal(broker_url: str, tmp_path: Path) -> None:
    """300 random bodies and all the worst ones: each is answered or dead-lettered, and the service works on."""
    source = random.Random(7)
    with (
        running_node(node=new_node(), broker=broker_url, folder=tmp_path, services=("domain",)) as node,
        raw_messages(broker_url) as raw,
        calling(broker_url, node.name, "test", "/default") as calls,
    ):
        before, boot = calls.listed(), calls(common.PING["domain"]).boot
        silent = 0
        asked = []
        for number in range(RANDOM):
            answered = bool(number % 2)
            ident = raw.publish(node.name, "domain.list_all", random_body(source), answered=answered)
            asked += [ident] if answered else []
            silent += not answered
        worst = {
            "an empty body": b"",
            "no version": envelope(v=None),
            "another version": envelope(v=PROTOCOL_VERSION + 1),
            "a version of lists": envelope(v="X").replace(msgpack.packb("X"), nested(900)),
            "no id": envelope(id=None),
            "a huge id": envelope(id="x" * 1000),
            "no deadline": envelope(deadline=None),
            "a deadline that is no time": envelope(deadline=float("nan")),
            "an unknown procedure": envelope(procedure="domain.explode"),
            "another service's procedure": envelope(procedure="storage.ping"),
            "wrong arguments": envelope(procedure="domain.get_state", args={"uuid": 7}),
            "an unknown driver": envelope(driver="bhyve"),
            "nested": nested(100_000),
            "nested arguments": with_nested("domain.get_state", 600),
            "a change with nested arguments": with_nested("domain.create", 600),
            "big": b"\xc6" + BIG.to_bytes(4, "big") + bytes(BIG),
            "a big document": envelope(procedure="domain.define_xml", args={"xml": "<domain>" + " " * BIG}),
            "hostile XML": envelope(procedure="domain.define_xml", args={
                "xml": "<!DOCTYPE d [<!ENTITY a 'aaaaaaaaaa'>]><domain type='test'><name>&a;</name></domain>"}),
        }
        idents = {raw.publish(node.name, "domain.list_all", body): what for what, body in worst.items()}
        raw.wait(lambda: set(idents) <= set(raw.replies), f"{set(idents.values())}")
        for ident, what in idents.items():
            assert "error" in msgpack.unpackb(raw.replies[ident][0]), f"{what} was accepted"
        raw.wait(lambda: set(asked) <= set(raw.replies), "an answer to each random body")
        until(lambda: raw.dead_letters() > silent // 2, "dead letters")
        assert metric(node["domain"], "virtbus_rpc_requests_total", outcome="malformed") >= raw.dead_letters()
        assert metric(node["domain"], "virtbus_rpc_in_flight") == 0
        assert calls.listed() == before
        assert calls(common.PING["domain"]).boot == boot
        assert node["domain"].get("/readyz")[0] == 200


def test_more_poison_than_the_service_may_hold(broker_url: str, tmp_path: Path) -> None:
    """Bad messages are let go of at once: a thousand of them leave the consumer's window open."""
    with (
        running_node(node=new_node(), broker=broker_url, folder=tmp_path, services=("domain",)) as node,
        raw_messages(broker_url) as raw,
        calling(broker_url, node.name, "test", "/default") as calls,
    ):
        for _ in range(500):
            raw.publish(node.name, "domain.list_all", b"\xc1", answered=False)
            raw.publish(node.name, "domain.create", with_nested("domain.create", 600), answered=False)
        assert calls.listed()


def test_a_sender_the_broker_does_not_vouch_for(broker_url: str, tmp_path: Path) -> None:
    """A command without user_id is refused as such and has no effect; its metric counts a denial."""
    with (
        running_node(node=new_node(), broker=broker_url, folder=tmp_path, services=("domain",)) as node,
        raw_messages(broker_url) as raw,
        calling(broker_url, node.name, "test", "/default") as calls,
    ):
        (domain,) = calls.listed()
        request = calls.request(api.DESTROY, {"uuid": domain})
        error = _answer(raw, raw.publish(node.name, api.DESTROY.name, request.encode(), user=False))
        assert error.code == c.VIR_ERR_AUTH_FAILED
        assert calls.state(domain) == c.VIR_DOMAIN_RUNNING
        assert calls.outcome(request.id).state == "unknown"
        assert metric(node["domain"], "virtbus_rpc_requests_total", outcome="denied") == 1


def test_a_clock_that_is_no_clock(broker_url: str, tmp_path: Path) -> None:
    """What a sender claims of its clock cannot spoil the service's own figures."""
    with (
        running_node(node=new_node(), broker=broker_url, folder=tmp_path, services=("domain",)) as node,
        raw_messages(broker_url) as raw,
    ):
        for sent in (float("nan"), float("-inf"), float("inf"), -1e300):
            request = Request(new_id(), "domain.list_all", time.time() + 30, {}, "test", "/default", sent=sent)
            _wait_for(raw, raw.publish(node.name, "domain.list_all", request.encode()))
        waited = metric(node["domain"], "virtbus_rpc_queue_wait_seconds_sum")
        assert 0 <= waited < 1e6


def _answer(raw: RawMessages, ident: str) -> LibvirtError:
    """The error that answers a message."""
    with pytest.raises(LibvirtError) as caught:
        decode_reply(_wait_for(raw, ident))
    return caught.value


def _wait_for(raw: RawMessages, ident: str) -> bytes:
    """The reply to a message."""
    raw.wait(lambda: ident in raw.replies, "an answer")
    return raw.replies[ident][0]
