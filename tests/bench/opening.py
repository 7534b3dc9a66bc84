"""``import virtbus`` and ``open("test:///default")`` in a fresh interpreter, without any infrastructure."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.figures import Figure

PROGRAM = "import virtbus as libvirt; libvirt.open('test:///default').listAllDomains()"


def _seconds(program: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - began


def run(broker: str, folder: Path, rounds: int) -> list[Figure]:
    """Alternate with an empty program, whose time is not ours."""
    del broker, folder
    pairs = [(_seconds(PROGRAM), _seconds("pass")) for _ in range(max(7, rounds))]
    net = statistics.median(ours - floor for ours, floor in pairs)
    whole, floor = (statistics.median(column) for column in zip(*pairs, strict=True))
    return [Figure("opening", "import and open test:///default", f"{whole:.2f} s", f"{floor:.2f} s: python alone", net,
                   "<= 0.5 s")]
