"""Measuring two things against each other on a machine that others use too.

Absolute figures mean little there, so everything is a ratio within one run: the programs to compare stay up, rounds of
them alternate, and the median over rounds of (one / other) is what is reported. CPU is read from the scheduler's own
nanosecond counts of each thread, so waiting for a core does not count in it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]


def cpu_seconds(pid: int) -> float:
    """CPU seconds that the threads of a process have used which live now."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue  # a thread that has just ended
    return total / 1e9


def listener_pid(port: int) -> int:
    """The process that listens on a TCP port of this machine: the broker's."""
    for entry in psutil.net_connections("tcp"):
        if entry.status == psutil.CONN_LISTEN and entry.laddr and entry.laddr.port == port and entry.pid is not None:
            return entry.pid
    raise LookupError(f"no process of this machine is seen listening on port {port}")


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which ``part`` (0 to 1) of all lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


class Program:
    """A program under measurement, in a process of its own: it writes READY, then answers one JSON line per line."""

    def __init__(self, script: Path, *arguments: str) -> None:
        self._process = subprocess.Popen([sys.executable, str(script), *arguments], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        line = self._out.readline()
        if line.strip() != "READY":
            self.stop()
            raise RuntimeError(f"{script.name} {' '.join(arguments)} did not start: {line!r}")

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def _out(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def ask(self, request: Mapping[str, int]) -> dict[str, float]:
        """Have it do something and wait for its figures."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(dict(request)) + "\n")
        self._process.stdin.flush()
        line = self._out.readline()
        if not line:
            raise RuntimeError(f"process {self.pid} ended in the middle of a measurement")
        answer: dict[str, float] = json.loads(line)
        return answer

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def serve(run: Callable[[dict[str, int]], dict[str, float]]) -> None:
    """The other side of ``Program``: say READY, then answer each line of standard input, until it closes."""
    print("READY", flush=True)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


def own_cpu() -> float:
    """CPU seconds of this process, all its threads, also those that have ended."""
    return time.process_time()


def timed_calls(latencies: Sequence[float], wall: float, cpu: float) -> dict[str, float]:
    """The figures that a calling program answers with."""
    return {"calls": len(latencies), "wall": wall, "cpu": cpu, "p50": percentile(latencies, 0.5),
            "p99": percentile(latencies, 0.99)}


def call_in_threads(call: Callable[[], object], request: Mapping[str, int]) -> dict[str, float]:
    """Make ``calls`` calls in ``threads`` threads, one after the other in each, and answer what they cost."""
    latencies: list[float] = []
    each = request["calls"] // request["threads"]
    threads = [threading.Thread(target=_call_repeatedly, args=(call, each, latencies))
               for _ in range(request["threads"])]
    wall, cpu = time.perf_counter(), own_cpu()
    if len(threads) == 1:
        _call_repeatedly(call, each, latencies)  # a caller alone is mostly a program's main thread
    else:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return timed_calls(latencies, time.perf_counter() - wall, own_cpu() - cpu)


def _call_repeatedly(call: Callable[[], object], calls: int, latencies: list[float]) -> None:
    """One thread's part: its latencies join the others' at the end, so that no call waits for another's list."""
    now = time.perf_counter
    mine = []
    for _ in range(calls):
        began = now()
        call()
        mine.append(now() - began)
    latencies += mine


@dataclass(frozen=True)
class Figures:
    """One round of one subject: seconds, calls per second, CPU seconds per call."""

    p50: float
    p99: float
    rate: float
    client: float
    server: float
    broker: float

    @property
    def cpu(self) -> float:
        """CPU per call of all three together."""
        return self.client + self.server + self.broker


class Server(Protocol):
    """A program that answers calls."""

    @property
    def pid(self) -> int:
        """Its process."""

    def stop(self) -> None:
        """End it."""


@dataclass(frozen=True)
class Pair:
    """A calling and a serving program that belong together."""

    name: str
    client: Program
    server: Server

    def round(self, threads: int, calls: int, broker: int) -> Figures:
        """Make some calls and return what they cost."""
        before = cpu_seconds(self.server.pid), cpu_seconds(broker)
        answer = self.client.ask({"threads": threads, "calls": calls})
        after = cpu_seconds(self.server.pid), cpu_seconds(broker)
        n = answer["calls"]
        return Figures(answer["p50"], answer["p99"], n / answer["wall"], answer["cpu"] / n,
                       (after[0] - before[0]) / n, (after[1] - before[1]) / n)

    def stop(self) -> None:
        """End both."""
        self.client.stop()
        self.server.stop()


def alternate(pairs: Sequence[Pair], threads: int, broker: int, *, rounds: int,
              seconds: float) -> dict[str, list[Figures]]:
    """Let the pairs call in turn, each for about ``seconds`` a round, after a warm-up that finds out how many calls."""
    counts = {}
    for pair in pairs:
        pair.round(threads, threads * 4, broker)
        rate = pair.round(threads, max(200, threads * 8), broker).rate
        counts[pair.name] = max(threads * 4, int(rate * seconds) // threads * threads)
    results: dict[str, list[Figures]] = {pair.name: [] for pair in pairs}
    for _ in range(rounds):
        for pair in pairs:
            results[pair.name].append(pair.round(threads, counts[pair.name], broker))
    return results


def ratio(of: Sequence[Figures], to: Sequence[Figures], figure: Callable[[Figures], float]) -> float:
    """The median over rounds of one subject's figure divided by another's."""
    return statistics.median(figure(a) / figure(b) for a, b in zip(of, to, strict=True))


def median(rounds: Sequence[Figures], figure: Callable[[Figures], float]) -> float:
    """The median over rounds of a figure."""
    return statistics.median(figure(r) for r in rounds)


def table(results: Mapping[str, Sequence[Figures]], base: str) -> str:
    """Medians of each subject, and its ratios to ``base``, as a Markdown table."""
    lines = ["| subject | p50 us | p99 us | calls/s | client us | server us | broker us | p50 | calls/s | CPU |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for name, rounds in results.items():
        middle = map(statistics.median, zip(*((r.p50 * 1e6, r.p99 * 1e6, r.rate, r.client * 1e6, r.server * 1e6,
                                               r.broker * 1e6) for r in rounds), strict=True))
        ratios = [ratio(rounds, results[base], f) for f in (lambda r: r.p50, lambda r: r.rate, lambda r: r.cpu)]
        lines.append(f"| {name} | " + " | ".join(f"{v:.0f}" for v in middle) + " | "
                     + " | ".join(f"{v:.2f}" for v in ratios) + " |")
    return "\n".join(lines)
