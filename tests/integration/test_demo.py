"""`make demo` as a user runs it: it shows what it promises, and whatever happens to it, nothing of it stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from deploy.demo.isolation import isolated
from deploy.demo.parts import BRIDGE
from tests.support.broker import rabbitmq_server
from tests.support.components import require, require_program, require_root

ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, "-m", "deploy.demo"]


def links() -> set[str]:
    """Names of this machine's network interfaces that could be the demo's; other programs make theirs meanwhile."""
    names = (entry.name for entry in Path("/sys/class/net").iterdir())
    return {name for name in names if name.startswith((BRIDGE, "vnet", "probe"))}


def processes(folder: Path) -> list[str]:
    """Command lines of the processes that have to do with a folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(folder) in line:
            found.append(line)
    return found


@contextmanager
def nothing_left() -> Iterator[dict[str, str]]:
    """An environment for a demo, after which no process, network interface or file of it may be there."""
    before = links()
    # Short, for the monitor sockets below it have a name of limited length.
    with tempfile.TemporaryDirectory(prefix="vb-") as folder:
        yield {**os.environ, "TMPDIR": folder, "NO_COLOR": "1"}
        assert list(Path(folder).iterdir()) == []
        assert processes(Path(folder)) == []
    assert links() <= before


@pytest.fixture
def real_parts() -> None:
    """Everything the whole story needs."""
    require("RabbitMQ", rabbitmq_server() is not None, "not installed")
    require_program("qemu-system-x86_64")
    require_program("qemu-img")
    require_root()
    require("namespaces", isolated(["true"]) is not None, "no private network namespace can be made here")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("real_parts")
def test_shows_a_guest_and_leaves_nothing() -> None:
    """The demo ends with success and says so; its guest booted, was pinged, survived a kill -9, and powered off."""
    with nothing_left() as environment:
        done = subprocess.run(DEMO, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
    output = done.stdout
    assert done.returncode == 0, output + done.stderr
    assert done.stderr == ""
    for line in (
        "bridge vbdemo0", "virtbus-guest: booted", "virtbus-guest: disk ok", "event │ demo-guest: started (booted)",
        "the guest answers at 192.168.152.2", "the guest was found again: running, same id 1",
        "virtbus-guest: power button", "event │ demo-guest: stopped (shutdown)", "outlived its service",
    ):
        assert line in output, f"{line!r} is not in the output:\n{output}"
    assert "\x1b" not in output


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("real_parts")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_cleans_up(how: signal.Signals) -> None:
    """Interrupted while its guest boots, the demo says so, ends all it started, and exits with status 130."""
    with nothing_left() as environment:
        demo = subprocess.Popen(DEMO, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True)
        try:
            assert demo.stdout is not None
            output = ""
            for line in demo.stdout:
                output += line
                if "virtbus-guest: booting" in line:
                    demo.send_signal(how)
            assert demo.wait(60) == 130, output
            assert "Interrupted." in output
            assert "virtbus-guest: power button" not in output
        finally:
            demo.kill()
            demo.wait()


def test_without_a_broker_the_in_process_door_is_shown() -> None:
    """`--in-process` tells what is left out, shows the test node with its events, and succeeds."""
    with nothing_left() as environment:
        done = subprocess.run([*DEMO, "--in-process"], cwd=ROOT, env=environment, capture_output=True, text=True,
                              timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Without a broker" in done.stdout
    assert "event │ test: stopped (destroyed)" in done.stdout
    assert "is already running (code 1)" in done.stdout
