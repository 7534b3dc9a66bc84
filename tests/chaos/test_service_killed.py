"""Laws 1 and 4 from outside: the domain service is killed in every moment that matters, with real guests running.

A test inside the service could only kill what it knows of. Here kill -9 hits the process wherever it is, and the truth
is counted in /proc.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.support.calls import (
    NodeCalls,
    RawMessages,
    alive,
    calling,
    event_log,
    fake_xml,
    guest_xml,
    metric,
    new_id,
    new_node,
    qemu_pids,
    raw_messages,
    until,
)
from tests.support.components import require_program
from tests.support.processes import Daemon, Node, running_node
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.envelope import decode_reply
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import AnyProcedure

ROUNDS = 15
COPIES = 100


@pytest.fixture
def node(broker_url: str, tmp_path: Path) -> Iterator[Node]:
    """A domain service; guests that are left over when the test ends are ended."""
    require_program("qemu-system-x86_64")
    with running_node(node=new_node(), broker=broker_url, folder=tmp_path, services=("domain",)) as running:
        try:
            yield running
        finally:
            for pids in qemu_pids(running["domain"]).values():
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def calls(node: Node, broker_url: str) -> Iterator[NodeCalls]:
    """A connection to it."""
    with calling(broker_url, node.name) as opened:
        yield opened


def kill_and_start(daemon: Daemon) -> None:
    """kill -9 and another one on the same folders."""
    daemon.kill()
    daemon.start()


@pytest.mark.slow
def test_five_guests_outlive_the_service(node: Node, calls: NodeCalls) -> None:
    """After kill -9 five guests are the same five: listed, running, same IDs, UUIDs and processes, and they obey."""
    daemon = node["domain"]
    uuids = [calls(api.DEFINE_XML, xml=guest_xml(f"g{n}")).uuid for n in range(4)]
    for uuid in uuids:
        calls(api.CREATE, uuid=uuid)
    uuids.append(calls(api.CREATE_XML, xml=guest_xml("transient")).uuid)
    before, documents, processes = calls.listed(), _documents(calls, uuids), qemu_pids(daemon)
    assert len(processes) == 5
    kill_and_start(daemon)
    assert calls.listed() == before
    assert qemu_pids(daemon) == processes
    assert _documents(calls, uuids) == documents
    assert [calls.state(uuid) for uuid in uuids] == [c.VIR_DOMAIN_RUNNING] * 5
    assert [calls(api.IS_PERSISTENT, uuid=uuid).value for uuid in uuids] == [True] * 4 + [False]
    for uuid in uuids:
        calls(api.SUSPEND, uuid=uuid)
        assert calls.state(uuid) == c.VIR_DOMAIN_PAUSED
        calls(api.RESUME, uuid=uuid)
        assert calls.state(uuid) == c.VIR_DOMAIN_RUNNING
        calls(api.DESTROY, uuid=uuid)
    assert qemu_pids(daemon) == {}
    assert sorted(calls.listed()) == sorted(uuids[:4])
    until(lambda: not list((daemon.run_dir / "domain" / "qemu").iterdir()), "the run directories gone")


def _documents(calls: NodeCalls, uuids: list[str]) -> list[str]:
    return [calls(api.GET_XML_DESC, uuid=uuid).xml for uuid in uuids]


@pytest.mark.slow
def test_what_happened_while_nobody_looked_is_told(node: Node, calls: NodeCalls) -> None:
    """A guest that ended while the service was away is told as stopped; a paused one is still paused; one runs on."""
    daemon = node["domain"]
    runs, pauses, ends = (calls(api.DEFINE_XML, xml=guest_xml(name)).uuid for name in ("runs", "pauses", "ends"))
    passing = calls(api.CREATE_XML, xml=guest_xml("passing")).uuid
    for uuid in (runs, pauses, ends):
        calls(api.CREATE, uuid=uuid)
    calls(api.SUSPEND, uuid=pauses)
    with event_log(calls) as log:
        daemon.kill()
        pids = qemu_pids(daemon)
        for uuid in (ends, passing):
            os.kill(pids[uuid][0], signal.SIGTERM)
        until(lambda: not any(alive(pids[uuid][0]) for uuid in (ends, passing)), "the end of two guests")
        daemon.start()
        for uuid in (ends, passing):
            log.wait_for(uuid, c.VIR_DOMAIN_EVENT_STOPPED)
        assert log.of(runs)[-1][0] == c.VIR_DOMAIN_EVENT_STARTED
        assert log.of(pauses)[-1][0] == c.VIR_DOMAIN_EVENT_SUSPENDED
    assert calls.state(runs) == c.VIR_DOMAIN_RUNNING
    assert calls.state(pauses) == c.VIR_DOMAIN_PAUSED
    assert calls.state(ends) == c.VIR_DOMAIN_SHUTOFF
    assert calls.error(api.GET_STATE, uuid=passing).code == c.VIR_ERR_NO_DOMAIN
    calls(api.RESUME, uuid=pauses)
    assert calls.state(pauses) == c.VIR_DOMAIN_RUNNING


@pytest.mark.slow
def test_a_hung_guest_does_not_hold_up_the_return(node: Node, calls: NodeCalls) -> None:
    """A guest whose QEMU is stopped dead when the service comes back is listed, and heard again when it wakes."""
    daemon = node["domain"]
    hangs = calls(api.DEFINE_XML, xml=guest_xml("hangs")).uuid
    calls(api.CREATE, uuid=hangs)
    (pid,) = qemu_pids(daemon)[hangs]
    daemon.kill()
    os.kill(pid, signal.SIGSTOP)
    daemon.start()
    assert calls.listed()[hangs].id == 1
    with event_log(calls) as log:
        os.kill(pid, signal.SIGCONT)
        # Nobody calls for it any more: that its end is understood shows that the service hears it.
        calls(api.SUSPEND, uuid=hangs)
        calls(api.RESUME, uuid=hangs)
        os.kill(pid, signal.SIGTERM)
        log.wait_for(hangs, c.VIR_DOMAIN_EVENT_STOPPED)
        assert log.of(hangs)[-1] == (c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)


@pytest.mark.slow
def test_killed_in_the_middle_of_a_start(node: Node, calls: NodeCalls) -> None:
    """Wherever a start is cut, each QEMU belongs to one active domain, and the request's outcome is the truth."""
    daemon = node["domain"]
    moments = random.Random(2)
    for round_ in range(ROUNDS):
        xml = guest_xml(f"r{round_}")
        row: AnyProcedure = (api.CREATE_XML, api.CREATE)[round_ % 2]
        request = calls.request(row, {"xml": xml} if row is api.CREATE_XML else
                                {"uuid": calls(api.DEFINE_XML, xml=xml).uuid})
        under_way: Future[api.Domain] = calls.start_request(row, request)
        _cut(daemon, moments, round_)
        daemon.start()
        # The client sends it again by itself, with the same id, as soon as the service is back.
        domain = under_way.result()
        active = {d.uuid: d for d in calls.listed().values() if d.id != -1}
        assert active == {domain.uuid: domain}
        assert {uuid: len(pids) for uuid, pids in qemu_pids(daemon).items()} == {domain.uuid: 1}
        assert calls.state(domain.uuid) == c.VIR_DOMAIN_RUNNING
        outcome = calls.outcome(request.id)
        assert outcome.state == "done"
        assert decode_reply(outcome.reply) == domain.model_dump()
        assert calls.send(row, request) == domain
        assert len(qemu_pids(daemon)[domain.uuid]) == 1
        calls(api.DESTROY, uuid=domain.uuid)
    assert not qemu_pids(daemon)


@pytest.mark.slow
def test_a_start_nobody_asks_for_again(node: Node, broker_url: str, calls: NodeCalls) -> None:
    """A start that was cut and is not sent again: its outcome, asked by id, agrees with what runs, and with events."""
    daemon = node["domain"]
    moments = random.Random(3)
    with event_log(calls) as log:
        for round_ in range(ROUNDS // 3):
            domain = calls(api.DEFINE_XML, xml=guest_xml(f"s{round_}")).uuid
            request = calls.request(api.CREATE, {"uuid": domain})
            with raw_messages(broker_url) as raw:
                raw.publish(node.name, api.CREATE.name, request.encode(), answered=False)
                _cut(daemon, moments, round_)
            daemon.start()
            outcome = calls.outcome(request.id)
            running = [uuid for uuid, d in calls.listed().items() if d.id != -1]
            assert {uuid: len(pids) for uuid, pids in qemu_pids(daemon).items()} == dict.fromkeys(running, 1)
            assert outcome.state == ("done" if running else "unknown")
            if running:
                assert running == [domain]
                assert decode_reply(outcome.reply)["uuid"] == domain
                assert calls.state(domain) == c.VIR_DOMAIN_RUNNING
                log.wait_for(domain, c.VIR_DOMAIN_EVENT_STARTED)
                calls(api.DESTROY, uuid=domain)


def _cut(daemon: Daemon, moments: random.Random, round_: int) -> None:
    """kill -9 soon after a start was asked for, or, in every third round, soon after its QEMU was seen."""
    if round_ % 3 == 2:
        until(lambda: qemu_pids(daemon), "a QEMU")
    time.sleep(moments.uniform(0, 0.06))
    daemon.kill()


@pytest.mark.slow
def test_one_request_delivered_a_hundred_times(node: Node, broker_url: str, calls: NodeCalls) -> None:
    """The same id a hundred times at once starts one QEMU and gets a hundred equal answers; so after a restart."""
    daemon = node["domain"]
    domain = calls(api.DEFINE_XML, xml=guest_xml("once")).uuid
    request = calls.request(api.CREATE, {"uuid": domain})
    with raw_messages(broker_url) as raw:
        first = _deliver(raw, node.name, request.encode())
    assert len(first) == 1
    assert decode_reply(next(iter(first)))["uuid"] == domain
    (pids,) = qemu_pids(daemon).values()
    assert len(pids) == 1
    kill_and_start(daemon)
    with raw_messages(broker_url) as raw:
        assert _deliver(raw, node.name, request.encode()) == first
    assert qemu_pids(daemon) == {domain: pids}
    calls(api.DESTROY, uuid=domain)
    with raw_messages(broker_url) as raw:
        assert _deliver(raw, node.name, request.encode()) == first
    assert qemu_pids(daemon) == {}


def _deliver(raw: RawMessages, node: str, body: bytes) -> set[bytes]:
    """Publish a body a hundred times at once; the different answers."""
    idents = [raw.publish(node, api.CREATE.name, body) for _ in range(COPIES)]
    raw.wait(lambda: all(ident in raw.replies for ident in idents), "a hundred replies")
    assert all(len(raw.replies[ident]) == 1 for ident in idents)
    return {raw.replies[ident][0] for ident in idents}


def test_a_request_that_never_had_its_turn(node: Node, broker_url: str) -> None:
    """What another's effect looks like is not taken for one's own: the outcome is what it would have been."""
    with calling(broker_url, node.name, "test", "/default") as calls, raw_messages(broker_url) as raw:
        runs = calls(api.CREATE_XML, xml=fake_xml("runs", "<fault operation='suspend' kind='hang'/>")).uuid
        rests = calls(api.DEFINE_XML, xml=fake_xml("rests", "<fault operation='create' kind='hang'/>")).uuid
        raw.publish(node.name, api.SUSPEND.name, calls.request(api.SUSPEND, {"uuid": runs}).encode(), answered=False)
        raw.publish(node.name, api.CREATE.name, calls.request(api.CREATE, {"uuid": rests}).encode(), answered=False)
        until(lambda: metric(node["domain"], "virtbus_rpc_in_flight") == 2, "both domains being busy")
        create, destroy = calls.start(api.CREATE, uuid=runs), calls.start(api.DESTROY, uuid=rests)
        until(lambda: metric(node["domain"], "virtbus_rpc_in_flight") == 4, "the requests waiting")
        kill_and_start(node["domain"])
        with pytest.raises(LibvirtError, match="already running"):
            create.result()
        with pytest.raises(LibvirtError, match="not running"):
            destroy.result()


def test_an_id_that_returns_with_another_request_is_refused(calls: NodeCalls) -> None:
    """An id belongs to one request: with other arguments it is an error and nothing is done."""
    ident = new_id()
    calls(api.DEFINE_XML, xml=guest_xml("a"), request_id=ident)
    with pytest.raises(LibvirtError) as caught:
        calls(api.DEFINE_XML, xml=guest_xml("b"), request_id=ident)
    assert caught.value.code == c.VIR_ERR_INVALID_ARG
    assert ident in str(caught.value)
    assert [d.name for d in calls.listed().values()] == ["a"]


@pytest.mark.slow
def test_a_late_command_never_runs(node: Node, broker_url: str, calls: NodeCalls) -> None:
    """Requests whose deadline passes while the service is stopped (SIGSTOP) have no effect after SIGCONT."""
    daemon = node["domain"]
    domain = calls(api.DEFINE_XML, xml=guest_xml("late")).uuid
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        # The library's client leaves it to the broker to drop what is late; a raw message reaches the service.
        request = calls.request(api.CREATE, {"uuid": domain}, within=1)
        with raw_messages(broker_url) as raw:
            ident = raw.publish(node.name, api.CREATE.name, request.encode())
            with pytest.raises(LibvirtError) as caught:
                calls(api.CREATE, uuid=domain, within=1)
            assert caught.value.code == c.VIR_ERR_OPERATION_TIMEOUT
            os.kill(daemon.pid, signal.SIGCONT)
            raw.wait(lambda: ident in raw.replies, "the refusal")
            with pytest.raises(LibvirtError, match="after its deadline") as caught:
                decode_reply(raw.replies[ident][0])
            assert caught.value.code == c.VIR_ERR_OPERATION_TIMEOUT
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    assert calls.outcome(request.id).state == "unknown"
    assert calls.state(domain) == c.VIR_DOMAIN_SHUTOFF
    assert qemu_pids(daemon) == {}
