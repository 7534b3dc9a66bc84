"""The floor: what a bare pika echo costs. Both sides are what pika's tutorial shows, BlockingConnection and
direct reply-to; bodies are msgpack maps that are decoded and encoded once per side, as any RPC must.

    python tests/bench/floor_echo.py server URL QUEUE
    python tests/bench/floor_echo.py client URL QUEUE

The client is one thread that keeps as many calls outstanding as it is asked for: the least that can be asked of it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgpack
import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic, BasicProperties

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import measure

REPLY_TO = "amq.rabbitmq.reply-to"


def request_body() -> bytes:
    """A call of about 200 bytes."""
    body: bytes = msgpack.packb({
        "v": 1, "id": "5f0c7d3e-26c5-4b7e-9f39-6d0f3f0a7f11", "procedure": "domain.get_info", "deadline": 1.8e9,
        "driver": "qemu", "path": "/system", "read_only": False, "trace": "", "sent": 1.7e9,
        "args": {"uuid": "c7a5fdbd-cdaf-9455-926a-d65c16db1809"}})
    return body


def serve(url: str, queue: str) -> None:
    """Answer each request with its own content, for ever."""
    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.queue_declare(queue, auto_delete=True)
    channel.basic_qos(prefetch_count=128)

    def answer(channel: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        channel.basic_publish("", properties.reply_to, msgpack.packb(msgpack.unpackb(body)),
                              BasicProperties(correlation_id=properties.correlation_id))
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(queue, answer)
    print("READY", flush=True)
    channel.start_consuming()


class Caller:
    """Keeps some calls outstanding until enough are answered."""

    def __init__(self, url: str, queue: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._channel.basic_consume(REPLY_TO, self._answered, auto_ack=True)
        self._queue = queue
        self._fields = msgpack.unpackb(request_body())
        self._began: dict[str, float] = {}
        self._latencies: list[float] = []
        self._sent = self._calls = 0

    def run(self, request: dict[str, int]) -> dict[str, float]:
        """Make ``calls`` calls with ``threads`` outstanding."""
        self._calls, self._sent, self._latencies = request["calls"], 0, []
        wall, cpu = time.perf_counter(), measure.own_cpu()
        for _ in range(min(request["threads"], self._calls)):
            self._call()
        while len(self._latencies) < self._calls:
            self._connection.process_data_events(time_limit=None)
        return measure.timed_calls(self._latencies, time.perf_counter() - wall, measure.own_cpu() - cpu)

    def _call(self) -> None:
        ident = str(self._sent)
        self._sent += 1
        self._began[ident] = time.perf_counter()
        self._channel.basic_publish("", self._queue, msgpack.packb(self._fields),
                                    BasicProperties(correlation_id=ident, reply_to=REPLY_TO))

    def _answered(self, _channel: BlockingChannel, _method: Basic.Deliver, properties: BasicProperties,
                  body: bytes) -> None:
        msgpack.unpackb(body)
        self._latencies.append(time.perf_counter() - self._began.pop(properties.correlation_id))
        if self._sent < self._calls:
            self._call()


def start(url: str, queue: str) -> measure.Pair:
    """Both programs, up and running."""
    server = measure.Program(Path(__file__), "server", url, queue)
    return measure.Pair("floor: bare pika echo", measure.Program(Path(__file__), "client", url, queue), server)


if __name__ == "__main__":
    role, *where = sys.argv[1:]
    if role == "server":
        serve(*where)
    else:
        measure.serve(Caller(*where).run)
