"""The overrides of pika's private methods: that they are reached, what they save, and that all works without them."""

from __future__ import annotations

import contextlib
import select
import shutil
import socket
import ssl
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pika
import pytest
from pika.adapters.asyncio_connection import AsyncioConnection

from tests.support.bus import PATIENCE, Service, cut_client, echo
from virtbus_shared import constants as c
from virtbus_shared.bus import wire
from virtbus_shared.bus.client import BusClient
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
               for name in ("_proto_connection_made", "_output_marshaled_frames", "_on_data_available", "_write")}
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

        def answer_all() -> None:
            for delivery in deliveries:
                delivery.reply_and_ack(b"ok")

        service.call(answer_all)
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
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    for command in (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -addext keyUsage=critical,keyCertSign "
        "-keyout ca.key -out ca.pem",
        "openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr",
        "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names "
        "-out server.pem",
    ):
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


class TlsFront:
    """TLS in front of a broker that has none: accepts, decrypts, and passes on."""

    def __init__(self, certificates: Path, target: tuple[str, int]) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._connect, args=(self._listener.accept()[0],), daemon=True).start()

    def _connect(self, raw: socket.socket) -> None:
        """One connection. Both directions in one thread: a TLS socket must not be read and written by two."""
        with contextlib.suppress(OSError), socket.create_connection(self._target) as behind, raw:
            with self._context.wrap_socket(raw, server_side=True) as front:
                while True:
                    readable = [front] if front.pending() else select.select([front, behind], [], [])[0]
                    for one in readable:
                        data = one.recv(65536)
                        if not data:
                            return
                        (behind if one is front else front).sendall(data)

    def close(self) -> None:
        """Accept no more."""
        self._listener.close()


@pytest.fixture
def tls_url(broker_url: str, certificates: Path) -> Iterator[str]:
    """The broker's URL through TLS, without what makes its certificate trusted."""
    params = pika.URLParameters(broker_url)
    front = TlsFront(certificates, (params.host, params.port))
    user, password = params.credentials.username, params.credentials.password
    yield f"amqps://{user}:{password}@localhost:{front.port}/{quote(params.virtual_host, safe='')}"
    front.close()


def test_tls(tls_url: str, certificates: Path, node: str) -> None:
    """amqps with the authority's file: calls and big bodies pass, through pika's TLS transport."""
    url = f"{tls_url}?cacertfile={certificates / 'ca.pem'}"
    client = BusClient(url)
    with Service(url, node, on_request=echo), ThreadPoolExecutor(8) as pool:
        bodies = [bytes(1_000_000), b"", *(b"%d" % n for n in range(100))]
        assert list(pool.map(lambda body: call(client, node, body), bodies)) == bodies
    client.close()


def test_tls_does_not_trust_anybody(tls_url: str, certificates: Path) -> None:
    """A broker whose certificate is of an unknown authority, or of another name, is not talked to."""
    other_name = tls_url.replace("@localhost", "@127.0.0.1")
    for url in (tls_url, f"{other_name}?cacertfile={certificates / 'ca.pem'}"):
        client = BusClient(url)
        with pytest.raises(LibvirtError, match="certificate verify failed") as caught:
            call(client, "a")
        assert caught.value.code == c.VIR_ERR_SYSTEM_ERROR
        client.close()
