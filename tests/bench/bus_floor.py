"""What the bus adds to the floor: BusClient and BusServer with the envelope, against a bare pika echo.

    python tests/bench/bus_floor.py [--broker URL] [--rounds 9] [--seconds 0.25] [--threads 1,64]

Without ``--broker`` a private RabbitMQ is started. The figures of the whole service (validation, metrics, dispatch)
are another benchmark's; this one says how much room the bus leaves for them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import itertools
import secrets
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pika

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import floor_echo, measure
from tests.support.broker import PrivateBroker
from virtbus_shared.bus.client import BusClient
from virtbus_shared.bus.server import BusServer, Delivery
from virtbus_shared.envelope import Request, decode_reply, decode_request, encode_result

NODE = "bench"


def answer(delivery: Delivery) -> None:
    """The whole service: decode, encode, reply."""
    request = decode_request(delivery.body)
    delivery.reply_and_ack(encode_result(request.id, request.args))


def serve(url: str) -> None:
    """Answer until killed."""
    async def main() -> None:
        await BusServer(url, NODE, "domain", "bench", answer).start()
        print("READY", flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())


class Caller:
    """Calls over a bus client, with the envelope around each."""

    def __init__(self, url: str) -> None:
        self._client = BusClient(url)
        # Not a uuid4 for each call: it reads the kernel's random source with the interpreter's lock released, and with
        # many threads it is the getting back of that lock which costs.
        self._ids, self._numbers = uuid.uuid4(), itertools.count()

    def call(self) -> object:
        """One call and its answer."""
        now = time.time()
        ident = f"{self._ids}-{next(self._numbers)}"
        body = Request(ident, "domain.get_info", now + 30, {"uuid": "c7a5fdbd-cdaf-9455-926a-d65c16db1809"}, "qemu",
                       "/system", sent=now).encode()
        return decode_reply(self._client.call(NODE, "domain.get_info", ident, body, now + 30))


def start(url: str) -> measure.Pair:
    """Both programs, up and running."""
    server = measure.Program(Path(__file__), "--role", "server", "--broker", url)
    return measure.Pair("bus", measure.Program(Path(__file__), "--role", "client", "--broker", url), server)


@contextlib.contextmanager
def broker(url: str | None) -> Iterator[str]:
    """The URL of a broker on this machine, started if none is named."""
    if url is not None:
        yield url
        return
    private = PrivateBroker()
    private.start()
    try:
        with private.fresh_url() as fresh:
            yield fresh
    finally:
        private.stop()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="the bus against a bare pika echo")
    parser.add_argument("--broker")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.25)
    parser.add_argument("--threads", default="1,64")
    parser.add_argument("--role", choices=("server", "client"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role == "server":
        serve(arguments.broker)
    elif arguments.role == "client":
        measure.serve(functools.partial(measure.call_in_threads, Caller(arguments.broker).call))
    else:
        with broker(arguments.broker) as url:
            compare(url, [int(t) for t in arguments.threads.split(",")], arguments.rounds, arguments.seconds)


def compare(url: str, threads: list[int], rounds: int, seconds: float) -> None:
    """Alternate floor and bus, and print a table for each number of threads."""
    pid = measure.listener_pid(pika.URLParameters(url).port)
    floor = floor_echo.start(url, f"floor.{secrets.token_hex(4)}")
    try:
        bus = start(url)
        try:
            for n in threads:
                results = measure.alternate([floor, bus], n, pid, rounds=rounds, seconds=seconds)
                print(f"\n{n} calls outstanding, about 200 bytes each; ratios to the floor:\n")
                print(measure.table(results, floor.name), flush=True)
        finally:
            bus.stop()
    finally:
        floor.stop()


if __name__ == "__main__":
    main()
