"""The serving half against a real broker: settling commands, losing and regaining the queue, probes, presence."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from tests.support.broker import Broker, PrivateBroker
from tests.support.bus import PATIENCE, Service, echo, until
from virtbus_shared import constants as c
from virtbus_shared.bus import topology
from virtbus_shared.bus.client import BusClient
from virtbus_shared.bus.server import BusServer, Delivery, NoEvents, PublishError
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


@contextmanager
def plain_channel(url: str) -> Iterator[BlockingChannel]:
    """A channel of plain pika: any other program on the broker."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    yield connection.channel()
    if connection.is_open:
        connection.close()


def call(client: BusClient, node: str, body: bytes = b"") -> bytes:
    """One command with a deadline far enough."""
    return client.call(node, "domain.x", str(uuid.uuid4()), body, time.time() + PATIENCE)


def test_each_way_to_settle_works_once(broker_url: str, client: BusClient, node: str) -> None:
    """Ack then reply, reply then ack, both at once, and all of it twice: one reply, one settlement, no harm."""
    with Service(broker_url, node) as service, ThreadPoolExecutor() as pool:
        orders = (("ack", "reply"), ("reply", "ack"), ("reply_and_ack",), ("ack", "reply_and_ack"),
                  ("reply", "reply_and_ack"))
        for order in orders:
            answer = pool.submit(call, client, node)
            delivery = service.take()
            for step in (*order, *order, "reject"):
                arguments = () if step in ("ack", "reject") else (b"once",)
                service.call(getattr(delivery, step), *arguments)
            assert answer.result() == b"once"
        assert client.unknown_replies == 0
        # A tag settled twice would have closed the channel.
        assert not [fact for fact in service.counted.facts if fact[0] == "reconnected"]


def test_a_reply_may_come_long_after_the_ack_and_a_lost_connection(broker_url: str, client: BusClient,
                                                                   node: str) -> None:
    """Long work acks first; its reply finds the caller though the service's connection is another by then."""
    with Service(broker_url, node) as service, ThreadPoolExecutor() as pool:
        answer = pool.submit(call, client, node, b"long")
        delivery = service.take()
        service.call(delivery.ack)
        service.cut()
        service.counted.wait("connected", True, 2)
        again = service.take()  # the caller heard that we are back, and asked again
        assert (again.correlation_id, again.body) == (delivery.correlation_id, b"long")
        service.call(delivery.reply, b"done")
        assert answer.result() == b"done"
        service.call(again.reply_and_ack, b"done")
        assert service.server.ready


def test_settling_after_the_connection_is_lost_is_harmless(broker_url: str, client: BusClient, node: str) -> None:
    """What belongs to a session that is gone is not settled in the next, where its tag means another command."""
    with Service(broker_url, node) as service, ThreadPoolExecutor() as pool:
        answers = [pool.submit(call, client, node) for _ in range(2)]
        old = [service.take(), service.take()]
        service.cut()
        service.counted.wait("connected", True, 2)
        new = [service.take(), service.take()]
        for delivery in old:
            service.call(delivery.ack)
            service.call(delivery.reject)
        for delivery in new:
            service.call(delivery.reply_and_ack, b"ok")
        assert [answer.result() for answer in answers] == [b"ok", b"ok"]
        assert service.counted.facts.count(("reconnected", "network")) == 1


def test_settling_without_any_connection_is_harmless(broker_url: str, client: BusClient, node: str) -> None:
    """A handler that ends after the bus was closed meets no error."""
    with ThreadPoolExecutor() as pool:
        with Service(broker_url, node) as service:
            answer = pool.submit(call, client, node)
            delivery = service.take()
            service.do(service.server.stop())
            for step in (delivery.ack, delivery.reject):
                service.call(step)
            service.call(delivery.reply, b"")
            service.call(delivery.reply_and_ack, b"")
        with Service(broker_url, node, on_request=echo):
            answer.result()


def test_a_rejected_command_is_dead_lettered(broker_url: str, client: BusClient, node: str) -> None:
    """What a service refuses, or cannot even hand on, is kept as evidence with its reason."""
    def fail(_: Delivery) -> None:
        raise RuntimeError("a mistake of the service")

    with plain_channel(broker_url) as channel:
        with Service(broker_url, node) as service, Service(broker_url, node, "network", on_request=fail):
            channel.queue_purge(topology.DEAD_LETTER)
            with ThreadPoolExecutor() as pool:
                for kind, body in (("domain", b"rejected"), ("network", b"failed")):
                    end = time.time() + 0.5
                    answer = pool.submit(client.call, node, f"{kind}.x", str(uuid.uuid4()), body, end)
                    if kind == "domain":
                        service.call(service.take().reject)
                    with pytest.raises(LibvirtError, match="outcome is unknown"):
                        answer.result()
        letters = {}
        for _, properties, body in channel.consume(topology.DEAD_LETTER, auto_ack=True, inactivity_timeout=PATIENCE):
            letters[body] = properties.headers["x-death"][0]["reason"]
            if len(letters) == 2:
                break
    assert letters == {b"rejected": "rejected", b"failed": "rejected"}


def test_commands_settled_in_any_order_are_all_settled(broker_url: str, client: BusClient, node: str) -> None:
    """Acknowledgements go together, and yet each command is settled once: none stays, none is told twice.

    Settling one twice, or one that was rejected before, would cost the channel, and with it a new consumer.
    """
    rng = random.Random(7)
    with Service(broker_url, node) as service, ThreadPoolExecutor(60) as pool:
        end = time.time() + PATIENCE
        answers = [pool.submit(client.call, node, "domain.x", str(uuid.uuid4()), b"", end) for _ in range(60)]
        deliveries = [service.take() for _ in answers]
        rng.shuffle(deliveries)
        for delivery in deliveries:
            service.call(delivery.reply, b"done")
            service.call(rng.choice((delivery.ack, delivery.ack, delivery.reject)))
        assert {answer.result() for answer in answers} == {b"done"}
        again = pool.submit(client.call, node, "domain.x", str(uuid.uuid4()), b"", end)
        last = service.take()
        service.call(last.reply_and_ack, b"still here")
        assert again.result() == b"still here"
        assert ("connected", False) not in service.counted.facts
        assert not last.redelivered
    with plain_channel(broker_url) as channel:
        assert all(properties.headers["x-death"][0]["reason"] == "rejected"
                   for _, properties, _ in iter(lambda: channel.basic_get(topology.DEAD_LETTER, True), (None,) * 3))


def test_replies_to_callers_who_went_are_counted(broker_url: str, node: str) -> None:
    """A reply that nobody can get any more comes back, and the service counts it."""
    with Service(broker_url, node) as service:
        client = BusClient(broker_url)
        with pytest.raises(LibvirtError, match="outcome is unknown"):
            client.call(node, "domain.x", "gone", b"", time.time() + 0.3)
        delivery = service.take()
        client.close()
        service.call(delivery.reply_and_ack, b"anybody?")
        service.counted.wait("replies_unroutable")
        assert service.server.ready


def test_what_other_programs_send(broker_url: str, node: str) -> None:
    """Without user, id or reply queue, or with headers, a command still arrives, says so, and can be settled."""
    with plain_channel(broker_url) as channel, Service(broker_url, node) as service:
        key = topology.command_key(node, "domain.x")
        channel.basic_publish(topology.COMMAND, key, b"bare")
        bare = service.take()
        assert (bare.user, bare.correlation_id, bare.reply_to) == (None, None, None)
        service.call(bare.reply_and_ack, b"to nobody")
        channel.basic_publish(topology.COMMAND, key, b"rich", pika.BasicProperties(
            headers={"a": 1, "b": [True, None, "x"]}, correlation_id="id", priority=3, timestamp=5, app_id="other"))
        rich = service.take()
        assert (rich.body, rich.correlation_id, rich.reply_to) == (b"rich", "id", None)
        service.call(rich.ack)
        assert service.server.ready


def test_a_caller_cannot_pose_as_another(broker_url: str, node: str) -> None:
    """The broker refuses a message in another user's name, so what a service sees as its user is proven."""
    with plain_channel(broker_url) as channel, Service(broker_url, node) as service:
        channel.confirm_delivery()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="user_id"):
            channel.basic_publish(topology.COMMAND, topology.command_key(node, "domain.x"), b"",
                                  pika.BasicProperties(user_id="root"))
        assert service.taken.empty()


def test_a_deleted_queue_is_declared_again(broker_url: str, client: BusClient, node: str) -> None:
    """When the broker cancels the consumer the service is not ready, then has a new queue, on the same connection."""
    with Service(broker_url, node) as service, ThreadPoolExecutor() as pool:
        answer = pool.submit(call, client, node)
        service.take()
        session, connection = service.server._session, service.server._connection
        assert session is not None
        # Only the owner of an exclusive queue may delete it; here on another channel, as a plugin or a bug might.
        service.call(lambda: connection.channel(  # type: ignore[union-attr]
            on_open_callback=lambda channel: channel.queue_delete(session.queue)))
        service.counted.wait("reconnected", "consumer_cancelled")
        service.counted.wait("connected", True, 2)
        assert service.counted.facts.index(("connected", False)) < service.counted.facts.index(
            ("reconnected", "consumer_cancelled"))
        service.call(service.take().reply_and_ack, b"again")
        assert answer.result() == b"again"
        assert service.server._connection is connection


def test_probe(broker_url: str, node: str) -> None:
    """The loopback probe passes through the broker and is not shown to the service; without a broker it fails."""
    with Service(broker_url, node) as service:
        service.do(service.server.probe())
        assert service.taken.empty()
        assert ("taken", None) not in service.counted.facts
        service.do(service.server.stop())
        with pytest.raises(PublishError):
            service.do(service.server.probe())


def test_presence(broker_url: str, node: str) -> None:
    """A service says that it is up when it takes commands, again after a loss, and down when it stops."""
    with plain_channel(broker_url) as channel:
        channel.exchange_declare(topology.PRESENCE, "fanout", durable=True)
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, topology.PRESENCE)
        told: list[topology.Presence] = []

        def more(count: int) -> None:
            for _, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=PATIENCE):
                presence = topology.Presence.decode(body)
                if presence.node == node:
                    told.append(presence)
                if len(told) == count:
                    break

        with Service(broker_url, node, boot="b1") as service:
            more(1)
            service.cut()
            more(2)
        more(3)
    up, down = (topology.Presence(node, "domain", "b1", state) for state in (True, False))
    assert told == [up, up, down]


def test_stop_lets_work_end(broker_url: str, client: BusClient, node: str) -> None:
    """While a service stops, new callers are told at once that it is gone, and those in work get their replies."""
    with Service(broker_url, node) as service, ThreadPoolExecutor() as pool:
        answer = pool.submit(call, client, node, b"in work")
        delivery = service.take()

        async def finish() -> None:
            with pytest.raises(LibvirtError, match="nobody takes its commands"):
                await service.loop.run_in_executor(pool, call, client, node, b"too late")
            delivery.reply_and_ack(b"done")

        service.do(service.server.stop(finish))
        assert answer.result() == b"done"
        assert not service.server.ready
        service.do(service.server.stop())


def test_replies_go_out_though_the_connection_is_lost_while_stopping(broker_url: str, client: BusClient,
                                                                     node: str) -> None:
    """A service that winds down reconnects to send its last replies, and takes no new commands by that."""
    with Service(broker_url, node) as service, ThreadPoolExecutor() as pool:
        answer = pool.submit(call, client, node)
        delivery = service.take()
        service.do(service.server.quiesce())
        connection = service.server._connection
        service.cut()
        until(lambda: service.server._session is not None and service.server._connection is not connection,
              "the service is back")
        with pytest.raises(LibvirtError, match="nobody takes its commands"):
            call(client, node)
        service.call(delivery.reply_and_ack, b"last words")
        assert answer.result() == b"last words"


def test_a_service_starts_before_the_broker(node: str) -> None:
    """start() returns though nobody listens; the service is not ready, fails what needs the broker, and can stop."""
    with Service("amqp://guest:guest@127.0.0.1:1/", node) as service:
        assert not service.server.ready
        with pytest.raises(PublishError, match="no connection"):
            service.do(service.server.publish_event("x.y", b""))
        assert service.counted.facts == []


def test_a_node_name_is_checked(broker_url: str) -> None:
    """A service cannot take a name that would catch other nodes' commands."""
    with pytest.raises(LibvirtError, match="node name"):
        BusServer(broker_url, "#", "domain", "b", echo, NoEvents())


def private(broker: Broker) -> PrivateBroker:
    """A broker that this test may restart, raise alarms on and give users to."""
    if not isinstance(broker, PrivateBroker):
        pytest.skip("needs a broker that is this run's own")
    return broker


def test_the_broker_restarts(broker: Broker, broker_url: str, node: str) -> None:
    """Calls that were under way when the broker went are answered when all three are back."""
    own = private(broker)
    client = BusClient(broker_url)
    with Service(broker_url, node) as service, ThreadPoolExecutor() as pool:
        answers = [pool.submit(client.call, node, "domain.x", f"{node}-{n}", b"%d" % n, time.time() + 60)
                   for n in range(5)]
        for _ in answers:
            service.take()
        own.restart()
        seen: dict[str | None, Delivery] = {}
        while len(seen) < len(answers):  # each comes at least once: client and service return in any order
            delivery = service.taken.get(timeout=60)
            seen[delivery.correlation_id] = delivery
            service.call(delivery.reply_and_ack, delivery.body)
        assert sorted(answer.result() for answer in answers) == [b"%d" % n for n in range(5)]
        service.counted.wait("reconnected", "shutdown", 1)
        service.do(service.server.probe())
    client.close()


def test_an_alarm_of_the_broker_is_seen(broker: Broker, broker_url: str, node: str) -> None:
    """The first call in an alarm waits for its end; from then on calls fail at once with the broker's reason."""
    own = private(broker)
    client = BusClient(broker_url)
    with Service(broker_url, node, on_request=echo), ThreadPoolExecutor() as pool:
        assert call(client, node, b"1") == b"1"
        link = client._link
        assert link is not None
        own.ctl("set_vm_memory_high_watermark", "0.000001")
        try:
            first = pool.submit(call, client, node, b"first")  # only who publishes is told of the alarm
            until(lambda: link.blocked is not None, "the alarm reaches the client")
            with pytest.raises(LibvirtError, match="takes no commands for now") as caught:
                call(client, node)
        finally:
            own.ctl("set_vm_memory_high_watermark", "0.6")
        assert caught.value.code == c.VIR_ERR_RESOURCE_BUSY
        assert first.result() == b"first"
        until(lambda: link.blocked is None, "the end of the alarm reaches the client")
        assert call(client, node, b"2") == b"2"
    client.close()


def test_a_right_that_is_missing(broker: Broker, broker_url: str, node: str) -> None:
    """A command that the broker refuses fails with its words, at once; other calls of the client go on."""
    own = private(broker)
    params = pika.URLParameters(broker_url)
    own.ctl("add_user", node, "secret")
    own.ctl("set_permissions", "-p", params.virtual_host, node, ".*", ".*", ".*")
    own.ctl("set_topic_permissions", "-p", params.virtual_host, node, topology.COMMAND, r"\.domain\.get_", ".*")
    client = BusClient(f"amqp://{node}:secret@{params.host}:{params.port}/{params.virtual_host}")
    with Service(broker_url, node) as service, ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.call, node, "domain.get_info", "allowed", b"", time.time() + PATIENCE)
        assert service.take().user == node
        with pytest.raises(LibvirtError, match=rf"{node}\.domain\.destroy") as caught:
            client.call(node, "domain.destroy", "refused", b"", time.time() + 3600)
        assert caught.value.code == c.VIR_ERR_ACCESS_DENIED
        service.call(service.take().reply_and_ack, b"ok")
        assert waiting.result() == b"ok"
    client.close()
    own.ctl("delete_user", node)
