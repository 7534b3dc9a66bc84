"""A whole node inside this process: the same envelopes, many threads, events, and an end that leaves nothing behind."""

from __future__ import annotations

import os
import queue
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support.service import domain_xml
from virtbus_shared import constants as c
from virtbus_shared.api import SERVICES, common
from virtbus_shared.api import domain as api
from virtbus_shared.envelope import EventMessage, Request, decode_reply
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import Params, Procedure, Result
from virtbus_shared.service.inprocess import InProcessNode, open_node

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=Result)


@pytest.fixture
def node() -> Iterator[InProcessNode]:
    """A node with ``test:///default`` open."""
    node = open_node()
    node.open("test", "/default")
    yield node
    node.close()


def call(node: InProcessNode, row: Procedure[P, R], within: float = 20, **args: object) -> R:
    """One call, as the gateway makes it."""
    request = Request(uuid.uuid4().hex, row.name, time.time() + within, args, "test", "/default")
    return row.result.model_validate(decode_reply(node.call(row.service, request.encode(), request.deadline)))


def test_all_four_services_answer(node: InProcessNode) -> None:
    """Nothing but the installed distributions is needed."""
    assert [call(node, common.PING[service]).service for service in SERVICES] == list(SERVICES)
    assert call(node, common.PING["domain"]).drivers == ["test:///default"]


def test_many_threads_share_a_node(node: InProcessNode) -> None:
    """Eight threads at once: each gets the replies to its own calls."""
    def work(thread: int) -> list[str]:
        names = [f"t{thread}-{n}" for n in range(20)]
        assert [call(node, api.DEFINE_XML, xml=domain_xml(name)).name for name in names] == names
        return names

    with ThreadPoolExecutor(8) as pool:
        defined = {name for names in pool.map(work, range(8)) for name in names}
    assert {d.name for d in call(node, api.LIST_ALL).domains} == defined | {"test"}


def test_events_reach_every_subscriber_in_order(node: InProcessNode) -> None:
    """One that fails harms neither the others nor what comes next; one that has left hears no more."""
    heard: queue.SimpleQueue[EventMessage] = queue.SimpleQueue()
    left: list[bytes] = []

    def fails(body: bytes) -> None:
        raise ValueError("on purpose")

    with node.subscribed(left.append):
        pass
    with node.subscribed(fails), node.subscribed(lambda body: heard.put(EventMessage.decode(body))):
        for n in range(5):
            call(node, api.DEFINE_XML, xml=domain_xml(f"d{n}"))
        events = [heard.get(timeout=20) for _ in range(5)]
    assert [e.body["domain"]["name"] for e in events] == [f"d{n}" for n in range(5)]
    assert [e.sequence for e in events] == [1, 2, 3, 4, 5]
    assert heard.empty()
    assert left == []


def test_rubbish_gets_an_error_at_once(node: InProcessNode) -> None:
    """The caller of a message that is none does not wait for its deadline."""
    with pytest.raises(LibvirtError) as caught:
        decode_reply(node.call("domain", b"\xc1", time.time() + 3600))
    assert caught.value.code == c.VIR_ERR_RPC


def test_what_is_not_there_is_named(node: InProcessNode) -> None:
    """A service that is not installed, and a connection that no driver serves."""
    with pytest.raises(LibvirtError, match="the secret service is not installed in this process") as caught:
        node.call("secret", b"", time.time() + 1)
    assert caught.value.code == c.VIR_ERR_NO_SUPPORT
    with pytest.raises(LibvirtError) as caught:
        node.open("qemu", "/system")
    assert caught.value.code == c.VIR_ERR_NO_CONNECT


def test_a_caller_waits_no_longer_than_its_deadline(node: InProcessNode) -> None:
    """A hung domain: its caller gets libvirt's time-out, and so does one whose deadline no clock can count."""
    domain = call(node, api.DEFINE_XML, xml=domain_xml("hung", hang="create"))
    with pytest.raises(LibvirtError) as caught:
        call(node, api.CREATE, within=0.05, uuid=domain.uuid)
    assert caught.value.code == c.VIR_ERR_OPERATION_TIMEOUT
    assert call(node, api.CREATE_XML, within=9e11, xml=domain_xml("patient")).name == "patient"


def test_a_forked_child_has_no_node(node: InProcessNode) -> None:
    """The thread that answers stays with the parent: the child is told instead of waiting for ever."""
    call(node, common.PING["domain"])
    pid = os.fork()
    if pid == 0:  # nothing of pytest may run here
        code = 1
        try:
            call(node, common.PING["domain"], within=5)
        except LibvirtError as error:
            code = 0 if error.code == c.VIR_ERR_NO_SUPPORT else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_closing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread, no folder; a hung domain does not hold it up, and closing twice does no harm."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(threading.enumerate())
    node = open_node()
    node.open("test", "/default")
    domain = call(node, api.DEFINE_XML, xml=domain_xml("hung", hang="create"))
    with ThreadPoolExecutor(1) as pool, node.subscribed(lambda _: None):
        hung = pool.submit(call, node, api.CREATE, within=2.0, uuid=domain.uuid)
        while not call(node, api.GET_INFO, uuid=domain.uuid) or call(node, api.LOOKUP_BY_UUID, uuid=domain.uuid).id < 0:
            pass
        node.close()
        node.close()
        with pytest.raises(LibvirtError):
            hung.result()
    assert set(threading.enumerate()) == before
    assert list(tmp_path.iterdir()) == []


def test_a_user_without_a_name_may_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container, nobody gave the number a name."""
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nameless)
    node = open_node()
    node.open("test", "/default")
    assert len(call(node, api.LIST_ALL).domains) == 1
    node.close()
