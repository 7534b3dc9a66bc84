"""Starting and ending a real guest through the broker, against the same QEMU command line started without virtbus.

The floor spawns QEMU with the arguments that our own guest runs with, from Python, with a monitor socket that listens
already, and counts until QMP has answered ``cont``; its end is SIGKILL and a wait. Guests are emulated (TCG), 64 MiB,
without devices: what is measured is the management, not the guest. Both run for a moment before they are ended, so that
the end is not timed beside what is left of the start, which still has events to publish.
"""

from __future__ import annotations

import json
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import virtbus
from tests.bench.figures import Figure, milliseconds
from tests.support.processes import Daemon

XML = """<domain type='qemu'><name>bare</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
<devices><controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""

RUNS = 0.1  # seconds between start and end


class Floor:
    """QEMU without virtbus."""

    def __init__(self, argv: list[str]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="virtbus-bench-"))
        path = self._folder / "monitor.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(1)
        self._argv = [self._rewritten(word, listener.fileno()) for word in argv]
        began = time.perf_counter()
        self._process = subprocess.Popen(self._argv, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._monitor = socket.socket(socket.AF_UNIX)
        self._monitor.settimeout(30)
        self._monitor.connect(str(path))
        listener.close()
        self._buffer = b""
        self._line()
        self._command("qmp_capabilities")
        self._command("cont")
        self.started = time.perf_counter() - began

    def _rewritten(self, word: str, fd: int) -> str:
        if word.endswith("/qemu.pid"):
            return str(self._folder / "qemu.pid")
        if word.startswith("socket,id=charmonitor,"):
            return f"socket,id=charmonitor,fd={fd},server=on,wait=off"
        return word

    def _line(self) -> dict[str, object]:
        while b"\n" not in self._buffer:
            data = self._monitor.recv(65536)
            if not data:
                raise RuntimeError(f"QEMU ended: {' '.join(self._argv)}")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        answer: dict[str, object] = json.loads(line)
        return answer

    def _command(self, name: str) -> None:
        self._monitor.sendall(json.dumps({"execute": name}).encode())
        while "return" not in self._line():
            pass

    def end(self) -> float:
        """Kill it; how long that took, seconds."""
        began = time.perf_counter()
        self._process.kill()
        self._process.wait()
        took = time.perf_counter() - began
        self._monitor.close()
        shutil.rmtree(self._folder)
        return took


def timed(action: Callable[[], object]) -> float:
    """Seconds that an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def run(broker: str, folder: Path, rounds: int) -> list[Figure]:
    """Alternate our guest and the floor's."""
    daemon = Daemon("domain", node="bench", broker=broker, folder=folder)
    daemon.start()
    starts: list[tuple[float, float]] = []
    ends: list[tuple[float, float]] = []
    try:
        domain = virtbus.open(f"qemu+amqp://bench/system?broker={broker}").defineXML(XML)
        domain.create()
        argv = _arguments(domain.UUIDString())
        domain.destroy()
        for _ in range(max(15, rounds)):
            started = timed(domain.create)
            time.sleep(RUNS)
            ended = timed(domain.destroy)
            floor = Floor(argv)
            time.sleep(RUNS)
            starts.append((started, floor.started))
            ends.append((ended, floor.end()))
    finally:
        daemon.stop()
    return [_figure("domain start to running", starts, "<= 1.6", "9.7 x"),
            _figure("domain destroy", ends, "<= 3", "45 x")]


def _arguments(uuid: str) -> list[str]:
    """The command line of the QEMU that runs a domain."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode().split("\0")[:-1]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if uuid in words and "-pidfile" in words:
                return words
    raise LookupError(f"no QEMU runs {uuid}")


def _figure(what: str, pairs: list[tuple[float, float]], goal: str, libvirt: str) -> Figure:
    ours, floor = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Figure("life", what, milliseconds(ours), milliseconds(floor), statistics.median(a / b for a, b in pairs),
                  goal, libvirt)
