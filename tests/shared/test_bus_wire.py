"""The overrides of pika's private methods: that they are reached, what they save, and that all works without them."""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pika
import pytest
from pika.adapters.asyncio_connection import AsyncioConnection

from tests.support.bus import PATIENCE, Service, cut_client, echo
from virtbus_shared.bus import wire
from virtbus_shared.bus.client import BusClient


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


def call(client: BusClient, node: str, body: bytes = b"") -> bytes:
    """One command."""
    return client.call(node, "domain.x", str(uuid.uuid4()), body, time.time() + PATIENCE)


def counted(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> list[object]:
    """A list that grows by one for each call of a method."""
    calls: list[object] = []
    original: Callable[..., object] = getattr(owner, name)

    def wrapper(self: object, *arguments: object) -> object:
        calls.append(arguments)
        return original(self, *arguments)

    monkeypatch.setattr(owner, name, wrapper)
    return calls


def test_the_overrides_are_reached(broker_url: str, client: BusClient, node: str,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Each overridden method of pika is called on both sides; deliveries do not pass through pika's channel."""
    reached = {name: counted(monkeypatch, wire._Lean, name)
               for name in ("_output_marshaled_frames", "_adapter_emit_data", "_on_data_available", "_write")}
    delivered = counted(monkeypatch, pika.channel.Channel, "_on_deliver")
    with Service(broker_url, node, on_request=echo):
        assert call(client, node, b"x") == b"x"
    assert all(reached.values()), {name: len(calls) for name, calls in reached.items()}
    assert delivered == []


def test_a_burst_leaves_in_few_writes(broker_url: str, client: BusClient, node: str,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty replies and acks given in one turn of the loop are one write, and so are fifty calls in the outbox."""
    with Service(broker_url, node) as service, ThreadPoolExecutor(50) as pool:
        assert service.call(lambda: True)
        answers = [pool.submit(call, client, node) for _ in range(50)]
        deliveries = [service.take() for _ in answers]
        writes = counted(monkeypatch, wire.LeanAsyncioConnection, "_write")
        service.call(lambda: [delivery.reply_and_ack(b"ok") for delivery in deliveries])
        assert [answer.result() for answer in answers] == [b"ok"] * 50
        assert len(writes) == 1


@pytest.mark.parametrize("lean", [False, True])
def test_everything_works_on_plain_pika_too(broker_url: str, client: BusClient, node: str, lean: bool,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """With pika's own classes in place of ours nothing but speed is lost: calls, big bodies, threads, events, loss."""
    if not lean:
        monkeypatch.setattr(wire, "LeanSelectConnection", pika.SelectConnection)
        monkeypatch.setattr(wire, "LeanAsyncioConnection", AsyncioConnection)
    with Service(broker_url, node, on_request=echo) as service, ThreadPoolExecutor(16) as pool:
        bodies = [b"%d" % n for n in range(200)] + [bytes(1_000_000), b""]
        assert list(pool.map(lambda body: call(client, node, body), bodies)) == bodies
        with pytest.raises(Exception, match="nobody takes"):
            call(client, node + "x")
        service.do(service.server.probe())
        cut_client(client)
        assert call(client, node, b"after") == b"after"
        assert client._link is not None
        assert isinstance(client._link._connection, wire._Lean) is lean


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `ca.pem`, and `server.pem` with `server.key` for 'localhost'."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    for command in (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem",
        "openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr",
    ):
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    subprocess.run("openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names "
                   "-out server.pem".split(), cwd=folder, check=True, capture_output=True)
    return folder
