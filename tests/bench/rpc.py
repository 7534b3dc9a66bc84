"""A whole call through the broker: gateway, bus, dispatch, validation, handler, metrics, against a bare pika echo.

The call is ``domain.info()`` of a defined test domain, made with the gateway's own class by one and by 64 threads that
share a connection; the floor is an echo of a body of the same size between two plain pika programs on the same broker.
"""

from __future__ import annotations

import functools
import secrets
import sys
from pathlib import Path

import pika

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import virtbus
from tests.bench import floor_echo, measure
from tests.bench.figures import Figure, milliseconds
from tests.support.processes import Daemon

GOALS = {1: ("<= 1.2", "", ""), 64: ("", ">= 2", "<= 0.5")}  # p50, calls per second, CPU


def run(broker: str, folder: Path, rounds: int) -> list[Figure]:
    """Start floor and service, alternate, and judge."""
    daemon = Daemon("domain", node="bench", broker=broker, folder=folder)
    daemon.start()
    floor = floor_echo.start(broker, f"floor.{secrets.token_hex(4)}")
    client = measure.Program(Path(__file__), f"test+amqp://bench/default?broker={broker}")
    ours = measure.Pair("domain.info()", client, daemon)
    pid = measure.listener_pid(pika.URLParameters(broker).port)
    figures = []
    try:
        for threads, (p50, rate, cpu) in GOALS.items():
            results = measure.alternate([floor, ours], threads, pid, rounds=rounds, seconds=0.3)
            print(f"\n{threads} calls outstanding:\n{measure.table(results, floor.name)}", flush=True)
            figures += judge(results[ours.name], results[floor.name], threads, p50, rate, cpu)
    finally:
        floor.stop()
        client.stop()
        daemon.stop()
    return figures


def judge(ours: list[measure.Figures], floor: list[measure.Figures], threads: int, p50: str, rate: str,
          cpu: str) -> list[Figure]:
    """The figures that have goals at this number of threads."""
    middle = measure.median
    callers = "1 caller" if threads == 1 else f"{threads} callers"
    figures = []
    if p50:
        figures.append(Figure("rpc", f"call, {callers}: p50", milliseconds(middle(ours, lambda r: r.p50)),
                              milliseconds(middle(floor, lambda r: r.p50)),
                              measure.ratio(ours, floor, lambda r: r.p50), p50))
    if rate:
        figures.append(Figure("rpc", f"call, {callers}: calls/s", f"{middle(ours, lambda r: r.rate):.0f}",
                              f"{middle(floor, lambda r: r.rate):.0f}",
                              measure.ratio(ours, floor, lambda r: r.rate), rate))
    if cpu:
        figures.append(Figure("rpc", f"call, {callers}: CPU", milliseconds(middle(ours, lambda r: r.cpu)),
                              milliseconds(middle(floor, lambda r: r.cpu)),
                              measure.ratio(ours, floor, lambda r: r.cpu), cpu))
    return figures


if __name__ == "__main__":
    domain = virtbus.open(sys.argv[1]).lookupByName("test")
    measure.serve(functools.partial(measure.call_in_threads, domain.info))
