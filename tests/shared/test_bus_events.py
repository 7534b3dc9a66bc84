"""Events: published with confirms, received by subscriptions, and what was missed is told."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
import uuid
from collections.abc import Iterator

import pika
import pytest
from pika.channel import Channel

from tests.support.broker import Broker, PrivateBroker
from tests.support.bus import PATIENCE, Service, cut, cut_client, echo
from virtbus_shared import constants as c
from virtbus_shared.bus import subscription as subscriptions
from virtbus_shared.bus import topology
from virtbus_shared.bus.client import BusClient
from virtbus_shared.bus.server import PublishError
from virtbus_shared.errors import LibvirtError


@pytest.fixture
def node() -> str:
    """A node name that no other test uses."""
    return f"node-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def client(broker_url: str) -> Iterator[BusClient]:
    """A client that is closed afterwards."""
    client = BusClient(broker_url)
    yield client
    client.close()


@pytest.fixture
def service(broker_url: str, node: str) -> Iterator[Service]:
    """A running service that echoes."""
    with Service(broker_url, node, on_request=echo) as service:
        service.do(service.server._publisher.ready.wait())
        yield service


class Inbox:
    """What a subscription delivered, gaps as None."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def event(self, body: bytes) -> None:
        """The callback."""
        self._items.put(body)

    def gap(self) -> None:
        """The other callback."""
        self._items.put(None)

    def next(self) -> bytes | None:
        """The next one."""
        return self._items.get(timeout=PATIENCE)

    def empty(self) -> bool:
        """Whether nothing waits."""
        return self._items.empty()


def publish(service: Service, key: str, body: bytes) -> None:
    """Publish an event of the service and wait for the broker's confirm."""
    service.do(service.server.publish_event(key, body))


def test_events_reach_who_asked_for_them(service: Service, client: BusClient, node: str) -> None:
    """Keys are matched as topics; the order is kept; confirms are counted; nobody listening is no failure."""
    one, all_of_node = Inbox(), Inbox()
    lifecycle = topology.event_key(node, "domain.lifecycle")
    publish(service, lifecycle, b"nobody listens")
    client.subscribe([lifecycle], one.event, one.gap)
    client.subscribe([f"{node}.#"], all_of_node.event, all_of_node.gap)
    publish(service, lifecycle, b"1")
    publish(service, topology.event_key(node, "domain.reboot"), b"2")
    publish(service, topology.event_key("other-" + node, "domain.lifecycle"), b"3")
    publish(service, lifecycle, b"4")
    assert [one.next(), one.next()] == [b"1", b"4"]
    assert [all_of_node.next() for _ in range(3)] == [b"1", b"2", b"4"]
    assert one.empty()
    assert all_of_node.empty()
    service.counted.wait("confirmed", True, 5)


def test_big_events_and_many(service: Service, client: BusClient, node: str) -> None:
    """Hundreds at once, each confirmed, arrive in order; one of megabytes arrives whole."""
    inbox = Inbox()
    client.subscribe([f"{node}.*.*"], inbox.event, inbox.gap)
    bodies = [b"%d" % n for n in range(500)] + [bytes(3_000_000)]

    async def all_at_once() -> None:
        await asyncio.gather(*(service.server.publish_event(f"{node}.domain.x", body) for body in bodies))

    service.do(all_at_once())
    assert [inbox.next() for _ in bodies] == bodies


def test_cancel(service: Service, client: BusClient, node: str) -> None:
    """After cancel nothing more is delivered and the queue is gone; other subscriptions go on; twice is harmless."""
    cancelled, kept = Inbox(), Inbox()
    subscription = client.subscribe([f"{node}.#"], cancelled.event, cancelled.gap)
    client.subscribe([f"{node}.#"], kept.event, kept.gap)
    publish(service, f"{node}.domain.x", b"1")
    assert (cancelled.next(), kept.next()) == (b"1", b"1")
    subscription.cancel()
    subscription.cancel()
    publish(service, f"{node}.domain.x", b"2")
    assert kept.next() == b"2"
    assert cancelled.empty()


def test_callbacks_may_call_cancel_and_close(service: Service, broker_url: str, node: str) -> None:
    """A callback runs in no thread that it could hold up: it calls, cancels its subscription, closes the client."""
    client = BusClient(broker_url)
    answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    closed = threading.Event()

    def callback(body: bytes) -> None:
        answers.put(client.call(node, "domain.x", str(uuid.uuid4()), body, time.time() + PATIENCE))
        subscription.cancel()
        client.close()
        closed.set()

    subscription = client.subscribe([f"{node}.#"], callback, lambda: None)
    publish(service, f"{node}.domain.x", b"hello")
    assert answers.get(timeout=PATIENCE) == b"hello"
    assert closed.wait(PATIENCE)
    assert not client.connected


def test_a_failing_callback_does_not_end_the_subscription(service: Service, client: BusClient, node: str) -> None:
    """An exception of one callback is logged; the next event is delivered all the same."""
    inbox = Inbox()

    def callback(body: bytes) -> None:
        inbox.event(body)
        raise RuntimeError("a mistake of the user")

    client.subscribe([f"{node}.#"], callback, inbox.gap)
    publish(service, f"{node}.domain.x", b"1")
    publish(service, f"{node}.domain.x", b"2")
    assert [inbox.next(), inbox.next()] == [b"1", b"2"]


def test_a_reconnect_is_told_as_a_gap(service: Service, client: BusClient, node: str) -> None:
    """After a lost connection each subscription is back and its owner knows that it may have missed events."""
    inboxes = [Inbox(), Inbox()]
    for inbox in inboxes:
        client.subscribe([f"{node}.#"], inbox.event, inbox.gap)
    cut_client(client)
    assert [inbox.next() for inbox in inboxes] == [None, None]
    publish(service, f"{node}.domain.x", b"after")
    assert [inbox.next() for inbox in inboxes] == [b"after", b"after"]


def test_a_cancelled_consumer_is_told_as_a_gap(service: Service, client: BusClient, node: str,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """When the broker takes the queue away it is declared again; calls are not disturbed."""
    monkeypatch.setattr(subscriptions, "RETRY", 0.05)
    queues: list[str] = []
    bind = Channel.queue_bind

    def noted(self: Channel, queue: str, *rest: object) -> None:
        queues.append(queue)
        bind(self, queue, *rest)

    monkeypatch.setattr(Channel, "queue_bind", noted)
    inbox = Inbox()
    client.subscribe([f"{node}.#"], inbox.event, inbox.gap)
    link = client._link
    assert link is not None
    connection = link._connection
    assert connection is not None
    # Only its own connection may delete an exclusive queue.
    link.run(lambda: connection.channel(on_open_callback=lambda channel: channel.queue_delete(queues[-1])))
    assert inbox.next() is None
    publish(service, f"{node}.domain.x", b"after")
    assert inbox.next() == b"after"
    assert link._connection is connection


def test_a_slow_callback_loses_events_only_with_a_gap(service: Service, client: BusClient, broker_url: str, node: str,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the backlog events are dropped, one gap is told for them, and later events are delivered again."""
    monkeypatch.setattr(subscriptions, "MAX_BACKLOG", 3)
    inbox, go_on, witness = Inbox(), threading.Event(), Inbox()

    def slow(body: bytes) -> None:
        go_on.wait(PATIENCE)
        inbox.event(body)

    client.subscribe([f"{node}.#"], slow, inbox.gap)
    other = BusClient(broker_url)
    other.subscribe([f"{node}.#"], witness.event, witness.gap)
    for n in range(10):
        publish(service, f"{node}.domain.x", b"%d" % n)
        witness.next()
    # The broker has handed on all ten to both; a call's reply comes after them on the slow one's connection.
    client.call(node, "domain.x", str(uuid.uuid4()), b"", time.time() + PATIENCE)
    go_on.set()
    got = []
    while (item := inbox.next()) is not None:
        got.append(item)
    assert got == [b"%d" % n for n in range(len(got))]
    assert 3 <= len(got) < 10
    publish(service, f"{node}.domain.x", b"later")
    assert inbox.next() == b"later"
    other.close()


def test_an_event_without_a_confirm_fails(service: Service, node: str) -> None:
    """The connection ends before the confirm: the outbox learns it and can publish again when it is back."""

    async def lose() -> None:
        publishing = asyncio.ensure_future(service.server.publish_event(f"{node}.domain.x", bytes(8_000_000)))
        await asyncio.sleep(0)
        cut(service.server._publisher._connection)
        with pytest.raises(PublishError, match="not confirmed"):
            await publishing
        await service.server._publisher.ready.wait()
        await service.server.publish_event(f"{node}.domain.x", b"again")

    service.do(lose())
    service.counted.wait("publish_failed", "timeout")
    service.counted.wait("confirmed", True)


def test_a_subscription_that_the_broker_refuses(broker: Broker, broker_url: str, node: str) -> None:
    """Missing rights are an error of subscribe() with the broker's words, and disturb nothing else."""
    if not isinstance(broker, PrivateBroker):
        pytest.skip("needs a broker that is this run's own")
    params = pika.URLParameters(broker_url)
    broker.ctl("add_user", node, "secret")
    broker.ctl("set_permissions", "-p", params.virtual_host, node, ".*", ".*", ".*")
    broker.ctl("set_topic_permissions", "-p", params.virtual_host, node, topology.EVENT, ".*", rf"^{node}\.")
    client = BusClient(f"amqp://{node}:secret@{params.host}:{params.port}/{params.virtual_host}")
    with Service(broker_url, node, on_request=echo) as service:
        service.do(service.server._publisher.ready.wait())
        inbox = Inbox()
        client.subscribe([f"{node}.#"], inbox.event, inbox.gap)
        with pytest.raises(LibvirtError, match="refuses a subscription") as caught:
            client.subscribe(["#"], inbox.event, inbox.gap)
        assert caught.value.code == c.VIR_ERR_ACCESS_DENIED
        publish(service, f"{node}.domain.x", b"1")
        assert inbox.next() == b"1"
        assert client.call(node, "domain.x", "1", b"2", time.time() + PATIENCE) == b"2"
    client.close()
    broker.ctl("delete_user", node)
