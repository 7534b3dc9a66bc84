"""Callbacks: their shapes, their filters, their end, and that a bus which breaks loses none."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import virtbus as libvirt
from tests.support.bus import cut_client
from tests.support.processes import Node, running_node
from virtbus import eventloop, libvirtError, pollloop, virConnect
from virtbus.channel import AmqpChannel

DOMAIN = "<domain type='test'><name>e</name><memory>1024</memory><os><type>hvm</type></os></domain>"
NETWORK = "<network><name>e</name><bridge name='virbr9'/></network>"
POOL = "<pool type='dir'><name>e</name><target><path>/virtbus-e</path></target></pool>"
NODE = "events-node"
SUSPENDED = (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED)
RESUMED = (libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED)

Seen = list[tuple[object, ...]]


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh default loop, registered."""
    monkeypatch.setattr(eventloop, "_default", pollloop.PollLoop())
    monkeypatch.setattr(eventloop, "_registered", None)
    assert libvirt.virEventRegisterDefaultImpl() == 0


@pytest.fixture
def conn(loop: None) -> Iterator[virConnect]:
    """A connection to a node of its own."""
    with libvirt.open("test:///default") as found:
        yield found
        forget(found)


def _more_than(seen: Seen, count: int) -> bool:
    return len(seen) > count


def forget(conn: virConnect) -> None:
    """Deregister what a test left registered: it would keep the node for the next test, as in libvirt."""
    events = conn._events
    if events is not None:
        for number, registration in list(events._registrations.items()):
            events.remove(number, registration.service)
        conn._end()


def turn_until(done: Callable[[], object]) -> None:
    """Run the loop until something is so."""
    while not done():
        assert libvirt.virEventRunDefaultImpl() == 0


def noting(seen: Seen) -> Callable[..., None]:
    """A callback that writes down the name of its object and what follows."""
    def callback(conn: virConnect, thing: libvirt.virDomain, *rest: object) -> None:
        seen.append((thing.name(), *rest))
    return callback


def fence(conn: virConnect, seen: Seen) -> None:
    """Run the loop until all events of domains so far were called back: those of a domain made for it come last."""
    told: Seen = []
    number = conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, noting(told), None)
    conn.defineXML(DOMAIN.replace(">e<", ">fence<")).undefine()
    turn_until(lambda: [event for event in told if event[0] == "fence"][1:])
    conn.domainEventDeregisterAny(number)
    seen[:] = [event for event in seen if event[0] != "fence"]


def test_needs_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a loop, registering fails as in libvirt, and leaves nothing behind."""
    monkeypatch.setattr(eventloop, "_registered", None)
    conn = libvirt.open("test:///default")
    with pytest.raises(libvirtError, match=r"^internal error: could not initialize domain event timer$"):
        conn.domainEventRegisterAny(None, 0, print, None)
    assert conn.close() == 0


def test_domain_callbacks(conn: virConnect) -> None:
    """Lifecycle callbacks get (conn, domain, event, detail, opaque)."""
    seen: Seen = []

    def lifecycle(connection: virConnect, dom: libvirt.virDomain, *rest: object) -> None:
        seen.append((connection is conn, type(dom), dom.name(), dom.connect() is conn, *rest))
    assert isinstance(conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, "mine"), int)
    dom = conn.lookupByName("test")
    dom.suspend()
    dom.resume()
    turn_until(lambda: len(seen) == 2)
    same = (True, libvirt.virDomain, "test", True)
    assert seen == [(*same, *SUSPENDED, "mine"), (*same, *RESUMED, "mine")]


def test_network_and_pool_callbacks(conn: virConnect) -> None:
    """Networks and pools have lifecycle callbacks of the same shape; pools one more, for refreshes."""
    seen: Seen = []
    conn.networkEventRegisterAny(None, libvirt.VIR_NETWORK_EVENT_ID_LIFECYCLE, noting(seen), "net")
    conn.storagePoolEventRegisterAny(None, libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, noting(seen), "pool")
    conn.storagePoolEventRegisterAny(None, libvirt.VIR_STORAGE_POOL_EVENT_ID_REFRESH, noting(seen), "refresh")
    conn.networkDefineXML(NETWORK)
    turn_until(lambda: len(seen) == 1)
    conn.storagePoolDefineXML(POOL)
    turn_until(lambda: len(seen) == 2)
    conn.storagePoolLookupByName("default-pool").refresh()
    turn_until(lambda: len(seen) == 3)
    assert seen == [("e", libvirt.VIR_NETWORK_EVENT_DEFINED, 0, "net"),
                    ("e", libvirt.VIR_STORAGE_POOL_EVENT_DEFINED, 0, "pool"), ("default-pool", "refresh")]


def test_callbacks_of_one_object(conn: virConnect) -> None:
    """A registration for one domain hears nothing of others."""
    seen: Seen = []
    other = conn.defineXML(DOMAIN)
    conn.domainEventRegisterAny(conn.lookupByName("test"), libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, noting(seen), None)
    other.create()
    conn.lookupByName("test").suspend()
    fence(conn, seen)
    assert seen == [("test", *SUSPENDED, None)]


def test_deregistered_callbacks_are_silent(conn: virConnect) -> None:
    """After deregistering nothing comes, not even what was queued; a number that is not registered is code 8."""
    seen: Seen = []
    number = conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, noting(seen), None)
    conn.lookupByName("test").suspend()
    conn.domainEventDeregisterAny(number)
    fence(conn, seen)
    assert seen == []
    for deregister in (conn.domainEventDeregisterAny, conn.networkEventDeregisterAny, conn.deregisterGapCallback):
        with pytest.raises(libvirtError, match=f"could not find .* callback {number} for deletion") as error:
            deregister(number)
        assert error.value.get_error_code() == libvirt.VIR_ERR_INVALID_ARG


def test_older_form(conn: virConnect) -> None:
    """domainEventRegister is keyed by its callable: again replaces, and an unknown one is a KeyError."""
    seen: Seen = []
    callback = noting(seen)
    conn.domainEventRegister(callback, "first")
    conn.domainEventRegister(callback, "second")
    conn.lookupByName("test").suspend()
    fence(conn, seen)
    assert seen == [("test", *SUSPENDED, "second")]
    conn.domainEventDeregister(callback)
    with pytest.raises(KeyError):
        conn.domainEventDeregister(callback)


def test_numbers_of_events(conn: virConnect) -> None:
    """Every number of libvirt is accepted, even if nothing emits it yet; others and wrong types are refused."""
    numbers = [conn.domainEventRegisterAny(None, event, print, None) for event in range(27)]
    assert len(set(numbers)) == 27
    for event in (-1, 27):
        with pytest.raises(libvirtError, match=r"virConnectDomainEventRegisterAny\(\) failed") as error:
            conn.domainEventRegisterAny(None, event, print, None)
        assert error.value.err is None
    wrong: list[tuple[Any, Any, Any]] = [(None, "x", print), (None, 0, None), ("test", 0, print),
                                         (conn.networkLookupByName("default"), 0, print)]
    for thing, event_id, callback in wrong:
        with pytest.raises(TypeError):
            conn.domainEventRegisterAny(thing, event_id, callback, None)


def test_a_failing_callback_stops_nobody(conn: virConnect, capsys: pytest.CaptureFixture[str]) -> None:
    """Its exception is printed; the others are called."""
    seen: Seen = []

    def failing(*_: object) -> None:
        raise ValueError("a callback of the test's")
    conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, failing, None)
    conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, noting(seen), None)
    conn.lookupByName("test").suspend()
    turn_until(lambda: seen)
    assert "a callback of the test's" in capsys.readouterr().err


def test_callbacks_outlive_close(loop: None) -> None:
    """As in libvirt, a registration keeps the session: close answers 1, and events go on."""
    seen: Seen = []
    with libvirt.open("test:///default") as other:
        conn = libvirt.open("test:///default")
        conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                    lambda c, dom, *rest: seen.append((dom.isActive(), *rest)), None)
        assert conn.close() == 1
        other.lookupByName("test").suspend()
        turn_until(lambda: seen)
        assert seen == [(1, *SUSPENDED, None)]
        forget(conn)


def test_the_last_deregistration_lets_go(loop: None) -> None:
    """With its last callback gone, a connection closes completely: the next one sees a fresh node."""
    conn = libvirt.open("test:///default")
    numbers = [conn.domainEventRegisterAny(None, 0, print, None), conn.domainEventRegisterAny(None, 1, print, None)]
    gap = conn.registerGapCallback(lambda *_: None, None)
    conn.defineXML(DOMAIN)
    for number in numbers:
        conn.domainEventDeregisterAny(number)
    conn.deregisterGapCallback(gap)
    gc.collect()
    assert conn.close() == 0
    with libvirt.open("test:///default") as fresh:
        assert fresh.numOfDefinedDomains() == 0


# -- over the bus -----------------------------------------------------------------------------------------------------

@pytest.fixture
def node(broker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node with a domain service behind a broker, at which connections look."""
    monkeypatch.setenv("VIRTBUS_BROKER", broker_url)
    with running_node(node=NODE, broker=broker_url, folder=tmp_path, services=("domain",)) as found:
        yield found


@pytest.fixture
def remote(node: Node, loop: None) -> Iterator[virConnect]:
    """A connection to it."""
    conn = libvirt.open(f"test+amqp://{NODE}/default")
    yield conn
    conn.close()


def test_a_broken_connection_loses_no_event(remote: virConnect, broker_url: str) -> None:
    """What happens while the client's connection is down is called back after it returns, once and in order."""
    seen: Seen = []
    number = remote.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, noting(seen), None)
    # A second client: the same broker under another URL.
    with libvirt.open(f"test+amqp://{NODE}/default?broker={broker_url}%3Fheartbeat%3D30") as other:
        dom = other.lookupByName("test")
        dom.suspend()
        turn_until(lambda: len(seen) == 1)
        channel = remote._channel
        assert isinstance(channel, AmqpChannel)
        for _ in range(3):
            before = len(seen)
            cut_client(channel._client)
            dom.resume()
            dom.suspend()
            turn_until(partial(_more_than, seen, before + 1))
    assert seen == [("test", *SUSPENDED, None), *[("test", *RESUMED, None), ("test", *SUSPENDED, None)] * 3]
    remote.domainEventDeregisterAny(number)


def test_a_killed_service_loses_no_event(node: Node, remote: virConnect) -> None:
    """Events go on in the same numbers after kill -9 and a new start of the service."""
    seen: Seen = []
    gaps: Seen = []
    number = remote.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, noting(seen), None)
    gap = remote.registerGapCallback(lambda *told: gaps.append(told[1:]), None)
    remote.lookupByName("test").suspend()
    node["domain"].kill()
    node["domain"].start()
    remote.lookupByName("test").resume()
    turn_until(lambda: ("test", *RESUMED, None) in seen)
    assert next(event for event in seen if event[0] == "test") == ("test", *SUSPENDED, None)
    assert gaps == []
    remote.domainEventDeregisterAny(number)
    remote.deregisterGapCallback(gap)


def test_a_lost_store_is_a_gap(node: Node, remote: virConnect) -> None:
    """A service that comes back without its store has lost events for good, and the gap callback is told."""
    seen: Seen = []
    gaps: Seen = []
    number = remote.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, noting(seen), None)
    gap = remote.registerGapCallback(lambda *told: gaps.append(told[1:]), "opaque")
    remote.lookupByName("test").suspend()
    turn_until(lambda: seen)
    node["domain"].kill()
    shutil.rmtree(node["domain"].state_dir)
    node["domain"].start()
    remote.lookupByName("test").suspend()
    turn_until(lambda: len(seen) >= 2)
    ((service, epoch, last, first, opaque),) = gaps
    assert (service, last >= 1, first, opaque) == ("domain", True, 1, "opaque")  # type: ignore[operator]
    assert isinstance(epoch, str)
    remote.domainEventDeregisterAny(number)
    remote.deregisterGapCallback(gap)
