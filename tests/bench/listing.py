"""Ten thousand defined domains, listed with name, state and info in one call through the broker.

The floor is what the answer's bytes cost on their own: decoding a msgpack body of the same content once. libvirt's
figure is for a list over its unix socket followed by one call for each domain's info, which is what its API asks for.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgpack

import virtbus
from tests.bench.figures import Figure, milliseconds
from tests.support.processes import Daemon

DOMAINS = 10_000
XML = "<domain type='test'><name>d{0:05}</name><memory>{1}</memory><vcpu>2</vcpu><os><type>hvm</type></os></domain>"


def run(broker: str, folder: Path, rounds: int) -> list[Figure]:
    """Define them, list them a few times, restart the service with them."""
    daemon = Daemon("domain", node="bench", broker=broker, folder=folder)
    daemon.start()
    try:
        connection = virtbus.open(f"test+amqp://bench/default?broker={broker}")
        began = time.perf_counter()
        with ThreadPoolExecutor(64) as pool:
            for _ in pool.map(lambda i: connection.defineXML(XML.format(i, 262144 + i)), range(DOMAINS)):
                pass
        print(f"defined {DOMAINS} domains in {time.perf_counter() - began:.1f} s", flush=True)
        times, floors = [], []
        for _ in range(max(5, rounds)):
            began = time.perf_counter()
            stats = connection.getAllDomainStats()
            listed = [(domain.name(), fields["state.state"], fields["balloon.maximum"], fields["vcpu.current"])
                      for domain, fields in stats]
            times.append(time.perf_counter() - began)
            body = msgpack.packb([{"name": d.name(), "uuid": d.UUIDString(), "id": -1, **f} for d, f in stats])
            began = time.perf_counter()
            msgpack.unpackb(body)
            floors.append(time.perf_counter() - began)
        if len(listed) < DOMAINS:
            raise RuntimeError(f"{len(listed)} domains were listed, not {DOMAINS}")
        daemon.terminate()
        began = time.perf_counter()
        daemon.start()
        restart = time.perf_counter() - began
    finally:
        daemon.stop()
    times.sort()
    middle = times[len(times) // 2]
    return [
        Figure("listing", f"list {DOMAINS} domains with name, state, info", milliseconds(middle),
               f"{milliseconds(min(floors))} to decode", middle, "<= 0.4 s", "1.1 s"),
        Figure("listing", f"service start with {DOMAINS} definitions, to ready", f"{restart:.2f} s", "", restart,
               "<= 4 s", "2.2 s"),
    ]
