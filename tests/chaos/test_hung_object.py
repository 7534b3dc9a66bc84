"""Law 3 from outside: one hung object harms nobody else, and a node that is not there is told at once.

Nothing here measures time: the answers of the others are awaited while the hung call is still pending, so a service
that waited for it could never give them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.support.calls import calling, event_log, fake_xml, guest_xml, metric, new_node, qemu_pids, until
from tests.support.components import require_program
from tests.support.processes import running_node
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.errors import LibvirtError

HANG = "<fault operation='create' kind='hang'/>"


@pytest.mark.slow
def test_hung_objects_harm_nobody_else(broker_url: str, tmp_path: Path) -> None:
    """While a hypervisor call hangs for ever and a QEMU is stopped dead, every other call is answered."""
    require_program("qemu-system-x86_64")
    with (
        running_node(node=new_node(), broker=broker_url, folder=tmp_path, services=("domain",)) as node,
        calling(broker_url, node.name, "test", "/default") as tests,
        calling(broker_url, node.name) as guests,
    ):
        daemon = node["domain"]
        hangs, other = (tests(api.DEFINE_XML, xml=fake_xml(*what)).uuid for what in (("hangs", HANG), ("other",)))
        still, moves = (guests(api.DEFINE_XML, xml=guest_xml(name)).uuid for name in ("still", "moves"))
        guests(api.CREATE, uuid=still)
        os.kill(qemu_pids(daemon)[still][0], signal.SIGSTOP)
        hung: list[Future[Any]] = [tests.start(api.CREATE, uuid=hangs, within=15) for _ in range(16)]
        hung += [guests.start(api.SUSPEND, uuid=still, within=8) for _ in range(16)]
        until(lambda: metric(daemon, "virtbus_rpc_in_flight") == len(hung), "the calls hanging")

        assert {d.name for d in tests.listed().values()} == {"test", "hangs", "other"}
        assert {d.name for d in guests.listed().values()} == {"still", "moves"}
        for calls, uuid in ((tests, hangs), (guests, still)):
            assert "<name>" in calls(api.GET_XML_DESC, uuid=uuid).xml
            assert calls(api.GET_INFO, uuid=uuid).max_memory > 0
            assert calls(api.GET_STATE, uuid=uuid).state in (c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_RUNNING)
            assert calls(api.GET_ALL_STATS).stats
        for calls, uuid in ((tests, other), (guests, moves)):
            calls(api.CREATE, uuid=uuid)
            calls(api.SUSPEND, uuid=uuid)
            calls(api.RESUME, uuid=uuid)
            calls(api.DESTROY, uuid=uuid)
        fresh = guests(api.DEFINE_XML, xml=guest_xml("fresh")).uuid
        guests(api.UNDEFINE, uuid=fresh)
        assert not hung[0].done(), "the call that should have hung was answered"

        guests(api.DESTROY, uuid=still)
        assert qemu_pids(daemon) == {}
        assert _codes(hung[:16]) == {c.VIR_ERR_OPERATION_TIMEOUT}
        # After its deadline the object is as it was, and free.
        assert tests.state(hangs) == c.VIR_DOMAIN_SHUTOFF
        assert tests.listed()[hangs].id == -1
        tests(api.UNDEFINE, uuid=hangs)
        assert _codes(hung[16:]) <= {c.VIR_ERR_OPERATION_TIMEOUT, c.VIR_ERR_OPERATION_INVALID,
                                     c.VIR_ERR_OPERATION_FAILED}
        assert metric(daemon, "virtbus_rpc_in_flight") == 0


def test_destroy_does_not_wait_for_what_hangs(broker_url: str, tmp_path: Path) -> None:
    """A hung guest is told to end at once, while a command that it does not answer still holds its turn."""
    with (
        running_node(node=new_node(), broker=broker_url, folder=tmp_path, services=("domain",)) as node,
        calling(broker_url, node.name) as guests,
    ):
        uuid = guests(api.DEFINE_XML, xml=guest_xml("hangs")).uuid
        guests(api.CREATE, uuid=uuid)
        [pid] = qemu_pids(node["domain"])[uuid]
        os.kill(pid, signal.SIGSTOP)
        hung = guests.start(api.SUSPEND, uuid=uuid, within=60)
        until(lambda: metric(node["domain"], "virtbus_rpc_in_flight") == 1, "the call hanging")
        destroyed = guests.start(api.DESTROY, uuid=uuid, within=60)
        until(lambda: _is_told_to_end(pid), "the signal, with the hung call still holding the turn")
        assert not hung.done()
        os.kill(pid, signal.SIGCONT)
        destroyed.result()
        assert qemu_pids(node["domain"]) == {}


def test_a_guest_that_does_not_end_in_time_is_heard_again(broker_url: str, tmp_path: Path) -> None:
    """A request that was to end a guest gives up; what the guest says and does afterwards is still noticed."""
    with (
        running_node(node=new_node(), broker=broker_url, folder=tmp_path, services=("domain",)) as node,
        calling(broker_url, node.name) as guests,
    ):
        uuid = guests(api.DEFINE_XML, xml=guest_xml("late")).uuid
        guests(api.CREATE, uuid=uuid)
        with event_log(guests) as events:
            [pid] = qemu_pids(node["domain"])[uuid]
            os.kill(pid, signal.SIGSTOP)
            error = guests.error(api.DESTROY, uuid=uuid, flags=c.VIR_DOMAIN_DESTROY_GRACEFUL, within=2)
            assert error.code == c.VIR_ERR_OPERATION_TIMEOUT
            assert guests.state(uuid) == c.VIR_DOMAIN_RUNNING
            os.kill(pid, signal.SIGCONT)
            events.wait_for(uuid, c.VIR_DOMAIN_EVENT_STOPPED)
            assert events.of(uuid)[-2:] == [
                (c.VIR_DOMAIN_EVENT_SHUTDOWN, c.VIR_DOMAIN_EVENT_SHUTDOWN_HOST),
                (c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)]
        assert guests.state(uuid) == c.VIR_DOMAIN_SHUTOFF


def _is_told_to_end(pid: int) -> bool:
    """Whether SIGTERM waits for a stopped process (proc(5), ``status``)."""
    [pending] = [int(line.split()[1], 16) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                 if line.startswith("ShdPnd:")]
    return bool(pending >> (signal.SIGTERM - 1) & 1)


def _codes(futures: Sequence[Future[Any]]) -> set[int]:
    """The error codes of calls that must all fail."""
    errors = [future.exception() for future in futures]
    assert all(isinstance(error, LibvirtError) for error in errors), errors
    return {error.code for error in errors if isinstance(error, LibvirtError)}


@pytest.mark.timeout(30)
def test_a_node_that_is_not_there_is_told_at_once(broker_url: str) -> None:
    """A name that no node has is an error that names it, though the call's deadline is a minute away."""
    with calling(broker_url, "nowhere") as calls:
        error = calls.error(api.LIST_ALL, within=60)
    assert error.code == c.VIR_ERR_SYSTEM_ERROR
    assert "'nowhere'" in str(error)
    assert "virtbus-domain" in str(error)


@pytest.mark.timeout(30)
def test_a_service_that_died_is_told_at_once(broker_url: str, tmp_path: Path) -> None:
    """A node that answered a moment ago and a service that was killed or stopped since: the next call says so."""
    with running_node(node=new_node(), broker=broker_url, folder=tmp_path, services=("domain", "nodedev")) as node:
        with calling(broker_url, node.name, "test", "/default") as calls:
            assert calls.listed()
            node["domain"].kill()
            # The broker takes the queue away when it notices; what was sent in between went into it for nothing.
            until(lambda: calls.error(api.LIST_ALL, within=2).code == c.VIR_ERR_SYSTEM_ERROR, "the broker noticing")
            error = calls.error(api.LIST_ALL, within=60)
            assert error.code == c.VIR_ERR_SYSTEM_ERROR
            assert node.name in str(error)
            assert "service 'domain'" in str(error)
            node["domain"].start()
            assert calls.listed()
            assert node["domain"].terminate() == 0
            assert calls.error(api.LIST_ALL, within=60).code == c.VIR_ERR_SYSTEM_ERROR
