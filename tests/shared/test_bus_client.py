"""The calling half against a real broker: what comes back, what fails and how fast, and what survives a lost wire."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pika
import pytest

from tests.support.bus import PATIENCE, Service, cut_client, echo, until
from virtbus_shared import constants as c
from virtbus_shared.bus import calls, link, liveness, topology
from virtbus_shared.bus.client import BusClient
from virtbus_shared.bus.server import Delivery
from virtbus_shared.envelope import MAX_BODY, decode_request
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


def soon(seconds: float = PATIENCE) -> float:
    """A deadline."""
    return time.time() + seconds


def ident() -> str:
    """A fresh request id."""
    return str(uuid.uuid4())


def test_round_trip(broker_url: str, client: BusClient, node: str) -> None:
    """A command reaches its node's service with all its properties, and the reply its caller."""
    with Service(broker_url, node) as service, ThreadPoolExecutor() as pool:
        request_id = ident()
        answer = pool.submit(client.call, node, "domain.get_info", request_id, b"question", soon())
        delivery = service.take()
        assert (delivery.body, delivery.correlation_id, delivery.redelivered) == (b"question", request_id, False)
        assert delivery.user == pika.URLParameters(broker_url).credentials.username
        assert abs(delivery.received - time.time()) < PATIENCE
        service.call(delivery.reply_and_ack, b"answer")
        assert answer.result() == b"answer"
        assert client.connected


def test_many_threads_get_their_own_replies(broker_url: str, client: BusClient, node: str) -> None:
    """64 threads over one connection: each reply goes to the call it belongs to, and nothing is left over."""
    def work(thread: int) -> list[bool]:
        return [client.call(node, "domain.x", f"{thread}-{n}-{node}", b"%d/%d" % (thread, n), soon()) == b"%d/%d" % (
            thread, n) for n in range(50)]

    with Service(broker_url, node, on_request=echo), ThreadPoolExecutor(64) as pool:
        results = list(pool.map(work, range(64)))
    assert all(all(mine) for mine in results)
    assert not client._calls.pending
    assert client._calls._bytes == 0
    assert client.unknown_replies == 0


def test_big_bodies(broker_url: str, client: BusClient, node: str) -> None:
    """Bodies of many frames, and the empty one, come through whole in both directions, also several at once."""
    bodies = [os.urandom(5_000_000), b"", os.urandom(131_064), os.urandom(131_065), os.urandom(1), os.urandom(700_000)]
    with Service(broker_url, node, on_request=echo), ThreadPoolExecutor() as pool:
        got = list(pool.map(lambda body: client.call(node, "domain.x", ident(), body, soon()), bodies))
    assert got == bodies


def test_a_node_that_is_not_there_fails_at_once(client: BusClient) -> None:
    """No service, no waiting: the error comes long before the deadline and says what to check."""
    with pytest.raises(LibvirtError, match="nobody takes its commands") as caught:
        client.call("nowhere", "domain.get_info", ident(), b"", soon(3600))
    assert (caught.value.code, caught.value.domain) == (c.VIR_ERR_SYSTEM_ERROR, c.VIR_FROM_RPC)
    assert "'domain' of node 'nowhere'" in caught.value.message


def test_a_service_that_stopped_is_not_there(broker_url: str, client: BusClient, node: str) -> None:
    """A command queue vanishes with its service; another service of the node is not disturbed."""
    with Service(broker_url, node, "network", on_request=echo):
        with Service(broker_url, node, on_request=echo):
            assert client.call(node, "domain.x", ident(), b"1", soon()) == b"1"
        with pytest.raises(LibvirtError, match="nobody takes its commands"):
            client.call(node, "domain.x", ident(), b"2", soon(3600))
        assert client.call(node, "network.x", ident(), b"3", soon()) == b"3"


def test_nodes_whose_names_share_words_are_told_apart(broker_url: str, client: BusClient, node: str) -> None:
    """The commands of node 'n.domain.example' do not reach node 'n'."""
    with Service(broker_url, node, on_request=echo), pytest.raises(LibvirtError, match="nobody takes its commands"):
        client.call(f"{node}.domain.example", "domain.x", ident(), b"", soon(3600))


def test_deadline(broker_url: str, client: BusClient, node: str) -> None:
    """A call without a reply ends at its deadline, saying that its outcome is unknown and what its id is."""
    with Service(broker_url, node) as service:
        request_id = ident()
        with pytest.raises(LibvirtError, match="outcome is unknown") as caught:
            client.call(node, "domain.x", request_id, b"", soon(0.3))
        assert caught.value.code == c.VIR_ERR_OPERATION_TIMEOUT
        assert request_id in caught.value.message
        service.call(service.take().reply_and_ack, b"too late")
        assert not client._calls.pending
        # The connection still works, and the late reply was counted and dropped.
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(client.call, node, "domain.x", ident(), b"", soon())
            service.call(service.take().reply_and_ack, b"in time")
            assert answer.result() == b"in time"
        assert client.unknown_replies == 1


def test_a_deadline_that_has_passed_sends_nothing(broker_url: str, client: BusClient, node: str) -> None:
    """A late call is refused before it goes out, and says that it was not sent."""
    with Service(broker_url, node) as service:
        with pytest.raises(LibvirtError, match="was not sent") as caught:
            client.call(node, "domain.x", ident(), b"", time.time() - 1)
        assert caught.value.code == c.VIR_ERR_OPERATION_TIMEOUT
        assert service.taken.empty()


@pytest.mark.parametrize("deadline", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_a_deadline_that_is_no_time(client: BusClient, deadline: float) -> None:
    """What cannot be waited for is refused."""
    with pytest.raises(LibvirtError, match="is not a time"):
        client.call("a", "domain.x", ident(), b"", deadline)


def test_a_deadline_beyond_what_the_broker_counts(broker_url: str, client: BusClient, node: str) -> None:
    """Milliseconds for thousands of years are more than RabbitMQ takes; the call is made all the same."""
    with Service(broker_url, node, on_request=echo):
        assert client.call(node, "domain.x", ident(), b"1", 9e11) == b"1"


def test_a_request_in_the_queue_carries_its_expiration(broker_url: str, client: BusClient, node: str) -> None:
    """The broker is told the remaining time, so that what nobody takes in time is discarded there."""
    connection = pika.BlockingConnection(pika.URLParameters(broker_url))
    channel = connection.channel()
    channel.exchange_declare(topology.COMMAND, "topic", durable=True)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, topology.COMMAND, f"{node}.domain.*")
    with pytest.raises(LibvirtError, match="outcome is unknown"):
        client.call(node, "domain.x", ident(), b"", soon(0.5))
    # The broker's clock for it began later than ours, by the way there.
    until(lambda: not channel.queue_declare(queue, passive=True).method.message_count, "the broker discards it")
    with ThreadPoolExecutor() as pool:
        call = pool.submit(client.call, node, "domain.x", ident(), b"kept", soon(1.5))
        _, properties, body = next(channel.consume(queue, auto_ack=True, inactivity_timeout=PATIENCE))
        with pytest.raises(LibvirtError, match="outcome is unknown"):
            call.result()
    connection.close()
    assert body == b"kept"
    assert 0 < int(properties.expiration) <= 1500
    assert properties.content_type == topology.CONTENT_TYPE


@pytest.mark.parametrize(("node_name", "procedure", "request_id", "body", "message"), [
    ("a b", "domain.x", "1", b"", "node name"), ("_all", "domain.x", "1", b"", "every node"),
    ("a", "domain", "1", b"", "service.verb"), ("a", "domain.x", "", b"", "request id"),
    ("a", "domain.x", "i" * 129, b"", "request id"),
    ("a", "domain.x", "\ud800", b"", "request id"), ("a", "domain.x", "1", bytes(MAX_BODY + 1), "at most"),
])
def test_what_cannot_be_sent_is_refused(broker_url: str, node_name: str, procedure: str, request_id: str, body: bytes,
                                        message: str) -> None:
    """Names, ids and bodies that no command may have are refused before anything happens."""
    client = BusClient(broker_url)
    with pytest.raises(LibvirtError, match=message):
        client.call(node_name, procedure, request_id, body, soon())
    assert not client.connected
    client.close()


def test_caps(broker_url: str, client: BusClient, node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many calls, or too many bytes, at once fail at once; an id in use is refused; then all is well again."""
    monkeypatch.setattr(calls, "MAX_CALLS", 3)
    monkeypatch.setattr(calls, "MAX_BYTES", 10_000)
    with Service(broker_url, node) as service, ThreadPoolExecutor() as pool:
        waiting = [pool.submit(client.call, node, "domain.x", f"{node}-{n}", bytes(4000), soon()) for n in range(2)]
        held = [service.take(), service.take()]
        with pytest.raises(LibvirtError, match="8000 bytes of calls") as caught:
            client.call(node, "domain.x", ident(), bytes(4000), soon())
        assert caught.value.code == c.VIR_ERR_RESOURCE_BUSY
        with pytest.raises(LibvirtError, match="in use by another call"):
            client.call(node, "domain.x", f"{node}-1", b"", soon())
        waiting.append(pool.submit(client.call, node, "domain.x", ident(), b"", soon()))
        held.append(service.take())
        with pytest.raises(LibvirtError, match="3 calls wait") as caught:
            client.call(node, "domain.x", ident(), b"", soon())
        assert caught.value.code == c.VIR_ERR_RESOURCE_BUSY
        for delivery in held:
            service.call(delivery.reply_and_ack, b"ok")
        assert [call.result() for call in waiting] == [b"ok"] * 3
        assert client._calls._bytes == 0


def test_gather(broker_url: str, client: BusClient, node: str) -> None:
    """One command reaches a service of every node; replies stream in until enough have come."""
    kind = f"k{uuid.uuid4().hex[:8]}"
    names = [f"{node}-{n}" for n in range(3)]

    def say_name(name: str) -> Callable[[Delivery], None]:
        return lambda delivery: delivery.reply_and_ack(name.encode())

    services = [Service(broker_url, name, kind, on_request=say_name(name)) for name in names]
    try:
        got: list[bytes] = []

        def enough(reply: bytes) -> bool:
            got.append(reply)
            return len(got) == 3

        assert client.gather(kind, f"{kind}.list", ident(), b"", soon(), enough) == 3
        assert sorted(got) == [name.encode() for name in names]
        some: list[bytes] = []
        assert client.gather(kind, f"{kind}.list", ident(), b"", soon(2), some.append) == 3
        assert sorted(some) == sorted(got)
        assert not client._calls.pending
    finally:
        for service in services:
            service.close()
    assert client.gather(kind, f"{kind}.list", ident(), b"", soon(3600), some.append) == 0
    with pytest.raises(LibvirtError, match="not of service"):
        client.gather("domain", "network.x", ident(), b"", soon(), some.append)


def test_a_lost_connection_is_repaired_and_calls_are_sent_again(broker_url: str, client: BusClient, node: str) -> None:
    """A call that waited when the wire broke is sent again with the same id, and its caller sees only the reply."""
    with Service(broker_url, node) as service, ThreadPoolExecutor() as pool:
        request_id = ident()
        answer = pool.submit(client.call, node, "domain.x", request_id, b"question", soon())
        lost = service.take()
        cut_client(client)
        again = service.take()
        assert (again.correlation_id, again.body) == (request_id, b"question")
        assert again.reply_to != lost.reply_to
        service.call(again.reply_and_ack, b"answer")
        assert answer.result() == b"answer"
        # The reply to the first has nowhere to go; the broker says so and it is counted.
        service.call(lost.reply_and_ack, b"answer")
        service.counted.wait("replies_unroutable")


def test_no_call_is_lost_or_mixed_up_while_the_wire_breaks(broker_url: str, client: BusClient, node: str) -> None:
    """Eight threads keep calling while their connection is cut again and again: each gets the reply to its own call."""
    stop = threading.Event()

    def work(thread: int) -> list[bool]:
        right: list[bool] = []
        while not stop.is_set():
            body = b"%d/%d" % (thread, len(right)) * 100
            right.append(client.call(node, "domain.x", ident(), body, soon()) == body)
        return right

    with Service(broker_url, node, on_request=echo), ThreadPoolExecutor(8) as pool:
        working = [pool.submit(work, thread) for thread in range(8)]
        for _ in range(3):
            until(lambda: client.connected, "the client is connected")
            cut_client(client)
            until(lambda: not client.connected, "the client notices")
        until(lambda: client.connected, "the client is connected")
        stop.set()
        assert all(all(mine.result()) for mine in working)
    assert not client._calls.pending


def test_a_call_sent_again_waits_for_a_service_that_is_on_its_way_back(broker_url: str, client: BusClient,
                                                                       node: str) -> None:
    """When both had lost the broker, the caller's return first is no error: its call waits for the service."""
    service = Service(broker_url, node)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(client.call, node, "domain.x", ident(), b"question", soon())
        service.take()
        service.close()
        cut_client(client)
        with Service(broker_url, node, boot="boot-2", on_request=echo):
            assert answer.result() == b"question"


def test_calls_are_sent_again_when_their_service_returns(broker_url: str, client: BusClient, node: str) -> None:
    """What waited in a service that died is sent to its successor as soon as that says it is up."""
    with ThreadPoolExecutor() as pool:
        with Service(broker_url, node) as service:
            request_id = ident()
            answer = pool.submit(client.call, node, "domain.x", request_id, b"question", soon())
            service.take()
        with Service(broker_url, node, boot="boot-2") as successor:
            again = successor.take()
            assert (again.correlation_id, again.body) == (request_id, b"question")
            successor.call(again.reply_and_ack, b"answer")
            assert answer.result() == b"answer"


def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask after services sooner than anybody would outside a test."""
    monkeypatch.setattr(liveness, "PATIENCE", 0.1)
    monkeypatch.setattr(liveness, "GRACE", 0.5)
    monkeypatch.setattr(link, "EVERY", 0.05)


def test_a_service_that_goes_away_ends_the_calls_that_it_had(broker_url: str, client: BusClient, node: str,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """A command lost with its service's queue does not keep its caller waiting until a deadline that is far away."""
    hurried(monkeypatch)
    with ThreadPoolExecutor() as pool:
        with Service(broker_url, node) as service:
            answer = pool.submit(client.call, node, "domain.create", ident(), b"", time.time() + 3600)
            service.take()
        with pytest.raises(LibvirtError, match="went away while a call was under way") as failure:
            answer.result(PATIENCE)
    assert failure.value.code == c.VIR_ERR_SYSTEM_ERROR
    assert not client._calls.pending


def test_a_slow_service_is_waited_for(broker_url: str, client: BusClient, node: str,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """A call may take as long as it likes while its service is there: pings are taken, whatever becomes of them."""
    hurried(monkeypatch)
    with Service(broker_url, node) as service, ThreadPoolExecutor() as pool:
        answer = pool.submit(client.call, node, "domain.create", ident(), b"slow", soon())
        delivery = service.take()
        pings = [service.take() for _ in range(12)]
        assert {decode_request(ping.body).procedure for ping in pings} == {"domain.ping"}
        service.call(delivery.reply_and_ack, b"done")
        assert answer.result() == b"done"


def test_a_fan_out_that_lost_the_broker_says_so(broker_url: str, client: BusClient) -> None:
    """Replies that were lost cannot be told from nodes that did not answer, so the caller gets an error."""
    kind = f"k{uuid.uuid4().hex[:8]}"
    with Service(broker_url, "n1", kind) as service, ThreadPoolExecutor() as pool:
        gathered = pool.submit(client.gather, kind, f"{kind}.list", ident(), b"", soon(), lambda _: None)
        service.take()
        cut_client(client)
        with pytest.raises(LibvirtError, match="lost while replies of several nodes"):
            gathered.result()


def test_a_failure_of_the_io_thread_is_survived(broker_url: str, client: BusClient, node: str,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a mistake in the I/O thread's own code costs a connection, not the callers."""
    with Service(broker_url, node, on_request=echo):
        assert client.call(node, "domain.x", ident(), b"1", soon()) == b"1"

        def fail_once(call: calls.Call, now: float) -> int:
            monkeypatch.undo()
            raise RuntimeError(f"a mistake with {call.id} at {now}")

        monkeypatch.setattr(link, "expiration", fail_once)
        assert client.call(node, "domain.x", ident(), b"2", soon()) == b"2"


def test_a_broker_that_does_not_answer_costs_no_more_than_the_deadline() -> None:
    """Somebody accepts the connection and says nothing: the call ends at its deadline and says that it was not sent."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        client = BusClient(f"amqp://guest:guest@127.0.0.1:{mute.getsockname()[1]}/")
        with pytest.raises(LibvirtError, match="nothing was sent") as caught:
            client.call("a", "domain.x", ident(), b"", soon(0.3))
        assert caught.value.code == c.VIR_ERR_OPERATION_TIMEOUT
        client.close()


def test_an_unreachable_broker_fails_the_first_use_at_once() -> None:
    """Nobody listens: the error names host and port, and the next use tries anew."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        client = BusClient(f"amqp://guest:guest@127.0.0.1:{port}/")
        for _ in range(2):
            with pytest.raises(LibvirtError, match=f"127.0.0.1:{port}.*refused") as caught:
                client.call("a", "domain.x", ident(), b"", soon(3600))
            assert caught.value.code == c.VIR_ERR_SYSTEM_ERROR
        client.close()


def test_of_several_brokers_one_that_answers_is_used(broker_url: str, node: str) -> None:
    """A list of URLs is tried in turn."""
    client = BusClient(f"amqp://127.0.0.1:1/, {broker_url}")
    with Service(f"amqp://127.0.0.1:1/,{broker_url}", node, on_request=echo) as service:
        service.counted.wait("connected", True)
        assert client.call(node, "domain.x", ident(), b"1", soon()) == b"1"
    client.close()


def test_bad_credentials(broker_url: str) -> None:
    """A wrong password is an authentication failure that names the user, never the password."""
    params = pika.URLParameters(broker_url)
    client = BusClient(f"amqp://guest:wrong-secret@{params.host}:{params.port}/")
    with pytest.raises(LibvirtError, match="refuses user 'guest'") as caught:
        client.call("a", "domain.x", ident(), b"", soon())
    assert caught.value.code == c.VIR_ERR_AUTH_FAILED
    assert "wrong-secret" not in caught.value.message
    client.close()


def test_unknown_virtual_host(broker_url: str) -> None:
    """A virtual host that does not exist is named."""
    params = pika.URLParameters(broker_url)
    user, password = params.credentials.username, params.credentials.password
    client = BusClient(f"amqp://{user}:{password}@{params.host}:{params.port}/no-such-host")
    with pytest.raises(LibvirtError, match="no-such-host") as caught:
        client.call("a", "domain.x", ident(), b"", soon())
    assert caught.value.code == c.VIR_ERR_AUTH_FAILED
    client.close()


@pytest.mark.parametrize(("url", "message"), [
    ("", "empty"), ("http://x/", "is expected"), ("localhost", "is expected"), ("amqp://", "is expected"),
    ("amqp://h:notaport/", "notaport"), ("amqp://h/?nonsense=1", "nonsense"),
    ("amqp://user@h/", "password for user 'user'"), ("amqp://h/?cacertfile=/x", "only amqps"),
    ("amqps://h/?cacertfile=/no/such/file", "/no/such/file"), ("amqps://h/?heartbeat", "bad query"),
])
def test_bad_urls(url: str, message: str) -> None:
    """A URL that means nothing is refused when the client is made."""
    with pytest.raises(LibvirtError, match=message) as caught:
        BusClient(url)
    assert caught.value.code == c.VIR_ERR_INVALID_ARG


def test_a_bad_url_does_not_show_its_password() -> None:
    """Error messages end up in logs."""
    with pytest.raises(LibvirtError) as caught:
        BusClient("amqp://user:hunter2@host:port/")
    assert "hunter2" not in caught.value.message


def test_close_ends_waiting_calls(broker_url: str, client: BusClient, node: str) -> None:
    """Callers in other threads are woken with an error; later calls are refused; closing again is harmless."""
    with Service(broker_url, node) as service, ThreadPoolExecutor() as pool:
        waiting = [pool.submit(client.call, node, "domain.x", ident(), b"", soon(3600)) for _ in range(3)]
        gathering = pool.submit(client.gather, "domain", "domain.x", ident(), b"", soon(3600), lambda _: None)
        for _ in range(4):
            service.take()
        client.close()
        ends: list[Future[bytes] | Future[int]] = [*waiting, gathering]
        for end in ends:
            with pytest.raises(LibvirtError, match="client socket is closed"):
                end.result()
    client.close()
    assert not client.connected
    with pytest.raises(LibvirtError, match="client socket is closed"):
        client.call(node, "domain.x", ident(), b"", soon())


def test_close_from_many_threads_at_once(broker_url: str, node: str) -> None:
    """Closing is idempotent whoever does it when, and leaves no thread behind."""
    client = BusClient(broker_url, node)
    with pytest.raises(LibvirtError, match="nobody"):
        client.call(node, "domain.x", ident(), b"", soon())
    assert [thread.name for thread in threading.enumerate() if node in thread.name] == [f"{node} I/O"]
    threads = [threading.Thread(target=client.close) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not [thread for thread in threading.enumerate() if node in thread.name]


def test_close_before_use(broker_url: str) -> None:
    """A client that never connected closes too."""
    client = BusClient(broker_url)
    client.close()
    with pytest.raises(LibvirtError, match="closed"):
        client.subscribe(["#"], lambda _: None, lambda: None)


def run_program(program: str, url: str) -> subprocess.CompletedProcess[str]:
    """Run a small program against the broker, outside pytest."""
    return subprocess.run([sys.executable, "-W", "error", "-W", "ignore:.*fork:DeprecationWarning", "-c",
                           textwrap.dedent(program), url], capture_output=True,
                          text=True, timeout=60, check=False, cwd=Path(__file__).parents[2])


def test_a_client_does_not_hold_up_the_interpreter(broker_url: str) -> None:
    """A program that forgets to close, with a subscription running, ends by itself and in silence."""
    ended = run_program("""
        import sys
        from virtbus_shared.bus.client import BusClient
        client = BusClient(sys.argv[1])
        client.subscribe(["x.#"], print, print)
        print(client.connected)
        """, broker_url)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("True\n", "", 0)


def test_a_forked_child_is_refused(broker_url: str) -> None:
    """After a fork the child cannot use, nor harm, the connection of its parent."""
    ended = run_program("""
        import os, sys, time
        from virtbus_shared.bus.client import BusClient
        from virtbus_shared.errors import LibvirtError
        client = BusClient(sys.argv[1])
        def say(who):
            try:
                client.call("nowhere", "domain.x", who, b"", time.time() + 20)
            except LibvirtError as e:
                print(who, e.message.split(":")[0], flush=True)
        say("before")
        child = os.fork()
        if not child:
            say("child")
            client.close()
            sys.exit()
        os.waitpid(child, 0)
        say("parent")
        """, broker_url)
    assert ended.stderr == ""
    before, child, parent = ended.stdout.splitlines()
    assert before == "before unable to connect to service 'domain' of node 'nowhere'"
    assert child.startswith("child Requested operation is not valid")
    assert parent == "parent unable to connect to service 'domain' of node 'nowhere'"


def test_importing_the_client_is_cheap() -> None:
    """A program that only calls does not load models, metrics, logs or asyncio's service half."""
    ended = run_program("""
        import sys
        import virtbus_shared.bus.client
        heavy = {"pydantic", "prometheus_client", "structlog", "lxml", "virtbus_shared.bus.server"}
        print(sorted(heavy & set(sys.modules)))
        """, "")
    assert (ended.stdout, ended.stderr) == ("[]\n", "")
