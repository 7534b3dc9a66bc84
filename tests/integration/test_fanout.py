"""One command for all nodes: each answers for itself, as it comes, and a node that hangs or dies spoils nothing."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.calls import calling, new_node
from tests.support.processes import running_node
from virtbus_shared import constants as c
from virtbus_shared.api import common
from virtbus_shared.bus.client import BusClient
from virtbus_shared.envelope import Request, decode_reply
from virtbus_shared.errors import LibvirtError


def ask_all(client: BusClient, nodes: int, within: float = 30) -> list[str]:
    """The names of the nodes whose nodedev service answers a ping, until so many have."""
    row = common.PING["nodedev"]
    request = Request(f"all-{time.time_ns()}", row.name, time.time() + within, {})
    names: list[str] = []

    def on_reply(body: bytes) -> bool:
        names.append(str(decode_reply(body)["node"]))
        return len(names) == nodes

    count = client.gather("nodedev", row.name, request.id, request.encode(), request.deadline, on_reply)
    assert count == len(names)
    return sorted(names)


@pytest.mark.slow
def test_every_node_answers(broker: object, tmp_path: Path, broker_url: str) -> None:
    """Three nodes, one publish, three answers; without the one that was killed, and without the one that is stopped."""
    names = sorted(new_node() for _ in range(3))
    with ExitStack() as stack:
        nodes = {name: stack.enter_context(running_node(
            node=name, broker=broker_url, folder=tmp_path / name, services=("nodedev",))) for name in names}
        calls = stack.enter_context(calling(broker_url, names[0]))
        assert ask_all(calls.client, 3) == names
        os.kill(nodes[names[1]]["nodedev"].pid, signal.SIGSTOP)
        try:
            assert ask_all(calls.client, 2) == [names[0], names[2]]
        finally:
            os.kill(nodes[names[1]]["nodedev"].pid, signal.SIGCONT)
        nodes[names[2]]["nodedev"].kill()
        assert ask_all(calls.client, 2) == names[:2]


@pytest.mark.timeout(30)
def test_nobody_there_ends_at_once(broker_url: str) -> None:
    """A fan-out to a kind of service that no node runs ends with no answers, though its deadline is a minute away."""
    client = BusClient(broker_url)
    try:
        assert ask_all(client, 1, within=60) == []
        with pytest.raises(LibvirtError) as caught:
            client.gather("storage", "domain.ping", "x", b"", time.time() + 5, lambda _: False)
        assert caught.value.code == c.VIR_ERR_INVALID_ARG
    finally:
        client.close()
