"""The dispatcher behind a real broker: whatever is published, the service goes on, and what it cannot take is kept."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest

from tests.support.calls import NodeCalls, RawMessages, calling, new_node, raw_messages
from tests.support.service import Requests, running
from virtbus_shared.api import TABLE, common
from virtbus_shared.bus import topology
from virtbus_shared.bus.server import BusServer
from virtbus_shared.envelope import MalformedEnvelopeError, decode_reply, decode_request
from virtbus_shared.errors import LibvirtError

SEED = 20240229  # the messages are the same every time


@pytest.fixture
def service(broker_url: str, tmp_path: Path) -> Iterator[str]:
    """A domain service on the bus, in a thread; the name of its node."""
    node = new_node()
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with running(tmp_path, lasting=False) as requests:
            bus = _server(broker_url, node, requests)
            await bus.start()
            ready.set()
            await stop.wait()
            await bus.stop()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(20)
    yield node
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def _server(url: str, node: str, requests: Requests) -> BusServer:
    runtime = requests.runtime
    return BusServer(url, node, "domain", runtime.boot, runtime.dispatcher.take, runtime.metrics)


def bodies(seed: int, count: int) -> list[bytes]:
    """Noise, broken envelopes, whole envelopes with wrong content."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        envelope = {"v": 1, "id": uuid.UUID(int=rng.getrandbits(128)).hex, "deadline": 4e9, "driver": "test",
                    "path": "/default", "procedure": rng.choice(sorted(TABLE.procedures)), "args": {}}
        match number % 4:
            case 0:
                found.append(rng.randbytes(rng.randrange(300)))
            case 1:
                key = rng.choice(sorted(envelope))
                found.append(msgpack.packb({**envelope, key: rng.choice([None, 5, "x", [1], {"a": 1}, b"", True])}))
            case 2:
                whole = msgpack.packb(envelope)
                found.append(whole[:rng.randrange(len(whole))])
            case _:
                found.append(msgpack.packb({**envelope, "args": {"uuid": rng.choice(["x", 5, None]), "xml": "<a/>",
                                                                 "name": "n", "id": 1, "sequence": 0}}))
    return found


def malformed(body: bytes) -> bool:
    """Whether this is no request."""
    try:
        decode_request(body)
    except MalformedEnvelopeError:
        return True
    return False


def publish_all(raw: RawMessages, node: str, messages: list[bytes]) -> list[str]:
    """Publish under keys of all kinds; the correlation ids."""
    verbs = [*sorted(row.name for row in TABLE.of_service("domain")), "domain.unheard-of"]
    return [raw.publish(node, verbs[n % len(verbs)], body) for n, body in enumerate(messages)]


def good_call(calls: NodeCalls) -> None:
    """A call as any client makes it."""
    assert calls(common.PING["domain"]).service == "domain"


def test_two_hundred_random_messages_and_then_a_good_call(broker_url: str, service: str) -> None:
    """Each is answered with a reply that decodes; what is no request lies in the dead letters; the service goes on."""
    messages = bodies(SEED, 200)
    with raw_messages(broker_url) as raw, calling(broker_url, service, "test", "/default") as calls:
        before = raw.dead_letters()
        idents = publish_all(raw, service, messages)
        raw.wait(lambda: all(ident in raw.replies for ident in idents), "a reply to each message")
        for ident in idents:
            assert len(raw.replies[ident]) == 1
            with contextlib.suppress(LibvirtError):
                decode_reply(raw.replies[ident][0])
        expected = sum(malformed(body) for body in messages)
        assert expected > 50
        raw.wait(lambda: raw.dead_letters() - before == expected, f"{expected} dead letters")
        good_call(calls)


def test_messages_without_reply_address_or_user(broker_url: str, service: str) -> None:
    """Nobody can be answered, or nobody is vouched for: the service goes on all the same."""
    with raw_messages(broker_url) as raw, calling(broker_url, service, "test", "/default") as calls:
        before = raw.dead_letters()
        for body in bodies(SEED + 1, 40):
            raw.publish(service, "domain.ping", body, answered=False)
        nobody = raw.publish(service, "domain.ping", calls.request(common.PING["domain"], {}).encode(), user=False)
        raw.wait(lambda: nobody in raw.replies, "the refusal")
        with pytest.raises(LibvirtError, match="authentication failed"):
            decode_reply(raw.replies[nobody][0])
        assert raw.dead_letters() > before
        good_call(calls)


def test_dead_letters_hold_the_evidence(broker_url: str, service: str) -> None:
    """The very bytes, and where they were sent."""
    with raw_messages(broker_url) as raw:
        ident = raw.publish(service, "domain.create", b"\xc1evidence")
        raw.wait(lambda: ident in raw.replies and raw.dead_letters() > 0, "the dead letter")
        # A broker that others use holds their letters too; the newest comes last.
        letters = iter(lambda: raw._channel.basic_get(topology.DEAD_LETTER, auto_ack=True), (None, None, None))
        body, properties = next((body, found) for _, found, body in letters if found.correlation_id == ident)
        assert body == b"\xc1evidence"
        assert properties.headers["x-death"][0]["routing-keys"] == [f"{service}.domain.create"]
