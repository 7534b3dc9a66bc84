"""``import virtbus`` and ``open("test:///default")`` in a fresh interpreter, without any infrastructure.

Modules are compiled beforehand, as pip does when it installs them: where ``PYTHONDONTWRITEBYTECODE`` is set, each
import would compile a checkout anew.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.figures import Figure

PROGRAM = "import virtbus as libvirt; libvirt.open('test:///default').listAllDomains()"


def _seconds(program: str, environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    return time.perf_counter() - began


def run(broker: str, folder: Path, rounds: int) -> list[Figure]:
    """Alternate with an empty program, whose time is not ours."""
    del broker
    environment = os.environ | {"PYTHONPYCACHEPREFIX": str(folder / "bytecode"), "PYTHONDONTWRITEBYTECODE": ""}
    _seconds(PROGRAM, environment)
    pairs = [(_seconds(PROGRAM, environment), _seconds("pass", environment)) for _ in range(max(7, rounds))]
    net = statistics.median(ours - floor for ours, floor in pairs)
    whole, floor = (statistics.median(column) for column in zip(*pairs, strict=True))
    return [Figure("opening", "import and open test:///default", f"{whole:.2f} s", f"{floor:.2f} s: python alone", net,
                   "<= 0.5 s")]
