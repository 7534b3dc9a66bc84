"""Answers of libvirt's own QEMU driver: what it stores of a domain document, and the QEMU command it would run.

``qemu:///embed`` is the real driver inside a process, without a daemon. Hostile and even some ordinary documents end
that process; so it is a child (see ``embed_child.py``), an answer can be ``DIED``, and the next request gets a fresh
child. One child serves a whole test run, since probing the emulators takes it seconds, and each request is asked once.

Beside python3-libvirt this needs Debian's libvirt-daemon (for the secret driver), which brings the QEMU driver, but
neither its service nor its configuration.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import selectors
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Literal, NamedTuple

from deploy.packages import libvirt_driver
from tests.support.components import missing

ROOT = "/EMBED"  # stands in answers for the driver's own folder, which is another one in each run

_PYTHON = os.environ.get("VIRTBUS_TEST_ORACLE_PYTHON", "/usr/bin/python3")
_CHILD = Path(__file__).with_name("embed_child.py")
_SECONDS = 60.0  # to answer one request; the first needs the emulators to be probed


class Request(NamedTuple):
    """``define``: the stored form, dumped with ``flags`` of VIR_DOMAIN_XML_*. ``argv``: the command as shell text."""

    operation: Literal["define", "argv"]
    document: str
    flags: int = 0


class Refusal(NamedTuple):
    """libvirt's error."""

    code: int
    domain: int
    message: str


Answer = str | Refusal
DIED = Refusal(-1, -1, "libvirt's process died of this document")


def ask(requests: Sequence[Request]) -> list[Answer]:
    """libvirt's answers; skips the test, or fails it in CI, where libvirt's driver is not there to be asked."""
    for component, reason in _absent():
        missing(component, reason)
    return [_driver().ask(request) for request in requests]


@functools.cache
def _absent() -> list[tuple[str, str]]:
    """What keeps the driver from running, with the reason."""
    found = []
    if os.geteuid() != 0:
        found.append(("root", "libvirt's QEMU driver is asked in a mount namespace of its own"))
    for driver, package in (("qemu", "libvirt-daemon-driver-qemu"), ("secret", "libvirt-daemon")):
        if not libvirt_driver(driver)():
            found.append((package, f"no {driver} driver of libvirt's (`python3 -m deploy.packages test` installs it)"))
    return found


@functools.cache
def _driver() -> _Driver:
    driver = _Driver()
    atexit.register(driver.close)
    return driver


class _Driver:
    """The child, and what it has answered so far."""

    def __init__(self) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="virtbus-embed-"))
        self._answers: dict[Request, Answer] = {}
        self._child: subprocess.Popen[str] | None = None

    def ask(self, request: Request) -> Answer:
        if request not in self._answers:
            self._answers[request] = self._put(request)
        return self._answers[request]

    def close(self) -> None:
        """End the child, which ends its guests, and remove its folder."""
        self._end()
        shutil.rmtree(self._root, ignore_errors=True)

    def _put(self, request: Request) -> Answer:
        child = self._child or self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps([request.operation, request.flags, request.document]) + "\n")
            child.stdin.flush()
            line = _line(child.stdout)
        except BrokenPipeError:
            line = ""
        if not line:
            self._end()
            return DIED
        found = json.loads(line.replace(str(self._root), ROOT))
        return found if isinstance(found, str) else Refusal(*found)

    def _start(self) -> subprocess.Popen[str]:
        with (self._root / "stderr").open("w") as errors:
            child = subprocess.Popen([_PYTHON, str(_CHILD), str(self._root)], text=True, stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=errors, env=os.environ | {"LC_ALL": "C.UTF-8"})
        assert child.stdout is not None
        self._child = child
        if not _line(child.stdout):
            self._end()
            raise AssertionError(f"libvirt's driver did not start: {(self._root / 'stderr').read_text()}")
        return child

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


def _line(stream: IO[str]) -> str:
    """The next line; empty when the process ended, or is too slow."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return stream.readline() if selector.select(_SECONDS) else ""
