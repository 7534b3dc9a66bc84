"""The doors behind connections: what is shared, what is refused, and calls over a real broker from many threads."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import virtbus as libvirt
from tests.support.broker import Broker
from tests.support.bus import Service
from tests.support.processes import running_node
from virtbus import libvirtError, presence, virConnect
from virtbus.channel import AmqpChannel, InProcessChannel
from virtbus.doors import Doors
from virtbus.uri import broker_address
from virtbus_shared.api import SERVICES
from virtbus_shared.api import domain as rows
from virtbus_shared.bus.client import BusClient
from virtbus_shared.bus.server import Delivery
from virtbus_shared.envelope import Request, decode_request, encode_result

NODE = "channel-node"
WAIT = 20.0  # seconds until a test gives up


class Door:
    """A door that remembers whether it was closed, and in which thread."""

    def __init__(self) -> None:
        self.closed: list[str] = []

    def close(self) -> None:
        """Remember."""
        self.closed.append(threading.current_thread().name)


def test_doors_are_shared_by_key() -> None:
    """One door a key while anybody uses it; closed once, with the last; then a new one is made."""
    doors: Doors[Door] = Doors()
    first, second, other = (doors.enter(key, Door) for key in ("a", "a", "b"))
    assert first.door is second.door is not other.door
    doors.leave(first)
    assert first.door.closed == []
    doors.leave(second)
    assert len(first.door.closed) == 1
    assert doors.enter("a", Door).door is not first.door
    assert other.door.closed == []


def test_a_door_that_cannot_be_made_is_not_kept() -> None:
    """A failure to connect is the caller's error, and the next attempt tries again."""
    doors: Doors[Door] = Doors()

    def broken() -> Door:
        raise OSError("no")
    with pytest.raises(OSError, match="no"):
        doors.enter("a", broken)
    assert doors.enter("a", Door).users == 1


def test_leaving_never_waits() -> None:
    """Leaving while a door is being made (a finalizer may run there, in that very thread) is settled afterwards."""
    doors: Doors[Door] = Doors()
    old = doors.enter("old", Door)

    def make() -> Door:
        doors.leave(old)
        assert old.door.closed == []
        return Door()
    doors.enter("new", make)
    assert len(old.door.closed) == 1


def test_a_child_process_has_doors_of_its_own() -> None:
    """After a fork the child finds nothing open, and what it drops of the parent's closes nothing of its own."""
    doors: Doors[Door] = Doors()
    inherited = doors.enter("a", Door)
    child = os.fork()
    if child == 0:
        own = doors.enter("a", Door)
        doors.leave(inherited)
        os._exit(0 if own.door is not inherited.door and not own.door.closed else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_test_default_after_a_fork() -> None:
    """A child may open test:///default anew although its parent has it open."""
    with libvirt.open("test:///default") as conn:
        child = os.fork()
        if child == 0:
            try:
                with libvirt.open("test:///default") as own:
                    os._exit(0 if own.numOfDomains() == 1 else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert conn.numOfDomains() == 1


def test_connections_share_a_node() -> None:
    """All of a process that open test:///default use one node, also when many threads open it at once."""
    start = threading.Barrier(8)

    def opened() -> virConnect:
        start.wait(WAIT)
        return libvirt.open("test:///default")
    with ThreadPoolExecutor(8) as threads:
        conns = [future.result() for future in [threads.submit(opened) for _ in range(8)]]
    channels = [conn._channel for conn in conns]
    assert len({id(channel._node) for channel in channels if isinstance(channel, InProcessChannel)}) == 1
    for conn in conns:
        conn.close()


# -- over the bus -----------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def node(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The broker of a node with all its services."""
    with broker.fresh_url() as url, running_node(node=NODE, broker=url, folder=tmp_path_factory.mktemp("node")):
        yield url


@pytest.fixture
def remote(node: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[virConnect]:
    """A connection to its test driver."""
    monkeypatch.setenv("VIRTBUS_BROKER", node)
    with libvirt.open(f"test+amqp://{NODE}/default") as conn:
        yield conn


def test_the_same_over_the_bus(remote: virConnect) -> None:
    """What works in-process works through a broker, from all four services."""
    assert (remote.getType(), remote.isAlive(), remote.isSecure(), remote.isEncrypted()) == ("TEST", 1, 0, 0)
    assert remote.getInfo()[0] == "i686"
    assert remote.getCapabilities().startswith("<capabilities>\n\n  <host>")
    assert remote.networkLookupByName("default").isActive() == 1
    assert remote.storagePoolLookupByName("default-pool").info()[0] == libvirt.VIR_STORAGE_POOL_RUNNING
    assert remote.nodeDeviceLookupByName("computer").listCaps() == ["system"]
    assert remote.setKeepAlive(5, 3) == 0
    with pytest.raises(libvirtError) as error:
        remote.lookupByName("zz")
    assert error.value.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN


def test_connections_share_a_client(remote: virConnect) -> None:
    """Connections through one broker use one connection to it, which ends with the last of them."""
    uri = f"{remote.getURI()}?broker={remote_broker(remote)}%3Fheartbeat%3D31"  # a broker's address of this test's own
    first, second = libvirt.open(uri), libvirt.open(uri)
    client = client_of(first)
    assert client_of(second) is client is not client_of(remote)
    first.close()
    assert client.connected
    second.close()
    assert not client.connected


def client_of(conn: virConnect) -> BusClient:
    """The bus client behind a connection."""
    assert isinstance(conn._channel, AmqpChannel)
    return conn._channel._client


def remote_broker(conn: virConnect) -> str:
    """The address of the broker behind a connection."""
    assert conn._channel is not None
    return broker_address(conn._channel.uri)


def test_many_threads(remote: virConnect) -> None:
    """64 threads that call at once each get their own answer."""
    names = [f"t-{number}" for number in range(64)]

    def life(name: str) -> list[str]:
        dom = remote.defineXML(f"<domain type='test'><name>{name}</name><uuid>{uuid.uuid4()}</uuid>"
                               "<memory>1024</memory><os><type>hvm</type></os></domain>")
        dom.create()
        seen = [remote.lookupByUUIDString(dom.UUIDString()).name() for _ in range(5)]
        assert remote.lookupByID(dom.ID()).name() == name
        dom.destroy()
        dom.undefine()
        return seen
    with ThreadPoolExecutor(64) as threads:
        assert list(threads.map(life, names)) == [[name] * 5 for name in names]


@pytest.mark.parametrize(("open_uri", "code", "words"), [
    ("test+amqp://nobody/default", libvirt.VIR_ERR_SYSTEM_ERROR, "unable to connect to service 'domain' of node"),
    (f"nothing+amqp://{NODE}/default", libvirt.VIR_ERR_NO_CONNECT, "nothing:///default"),
    (f"test+amqp://{NODE}/nothing", libvirt.VIR_ERR_NO_CONNECT, "test:///nothing"),
])
def test_what_is_not_there(remote: virConnect, open_uri: str, code: int, words: str) -> None:
    """A node, a driver or a path that is missing fails the opening at once, and says which it was."""
    with pytest.raises(libvirtError, match=words) as error:
        libvirt.open(open_uri)
    assert error.value.get_error_code() == code


def test_outcome_by_id(remote: virConnect) -> None:
    """What became of a change can be asked for by its id, whichever service it went to."""
    channel = remote._channel
    assert channel is not None
    now = time.time()
    dom = remote.lookupByName("test")
    for procedure, succeeds in ((rows.CREATE.name, False), (rows.SUSPEND.name, True)):  # it runs already
        request = Request(uuid.uuid4().hex, procedure, now + WAIT, {"uuid": dom.UUIDString()}, "test", "/default",
                          sent=now)
        channel.exchange(request, request.encode())
        outcome = remote.requestOutcome(request.id)
        assert (outcome.state, outcome.service, outcome.procedure) == ("done", "domain", procedure)
        assert (outcome.error is None) == succeeds
        assert outcome.finished >= outcome.received >= now - 1
    dom.resume()


def test_presence(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking everybody finds the node with its four services and the connections they offer."""
    monkeypatch.setenv("VIRTBUS_BROKER", node)
    (found,) = presence.nodes(wait=2)
    assert found.name == NODE
    assert set(found.services) == set(SERVICES)
    assert "test:///default" in found.services["domain"].drivers


def test_replies_that_are_not_what_was_promised(broker_url: str) -> None:
    """A service that answers something else is an RPC error that names the call, not a Python error."""
    answers = {rows.OPEN.name: {"type": "TEST", "version": 2}, rows.LIST_ALL.name: {"domains": "many"}}

    def answer(delivery: Delivery) -> None:
        request = decode_request(delivery.body)
        delivery.reply_and_ack(encode_result(request.id, answers[request.procedure]))
    with Service(broker_url, "odd", on_request=answer):
        with libvirt.open(f"test+amqp://odd/default?broker={broker_url}") as conn:
            with pytest.raises(libvirtError, match=r"the reply to domain\.list_all is not what the call promises") as e:
                conn.listAllDomains()
            assert e.value.get_error_code() == libvirt.VIR_ERR_RPC


def test_time_limit(broker_url: str) -> None:
    """A call that is not answered ends after ?timeout= seconds, and its error names the request."""
    with Service(broker_url, "slow"), pytest.raises(libvirtError, match=r"\(request [0-9a-f-]+\)") as error:
        libvirt.open(f"test+amqp://slow/default?timeout=0.2&broker={broker_url}")
    assert error.value.get_error_code() == libvirt.VIR_ERR_OPERATION_TIMEOUT
