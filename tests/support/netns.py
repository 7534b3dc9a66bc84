"""A network namespace of its own for a test: real bridges and taps that nobody else on the machine can see.

The namespace is a named one (`ip netns`), so a service started in it is an ordinary child process and the test can
look at the same links by running `ip` beside it.
"""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkNamespace:
    """A namespace that exists, with `lo` up."""

    name: str

    def command(self, argv: Sequence[str]) -> list[str]:
        """The argument list that runs a command in here: for a process that is started and kept."""
        return ["ip", "netns", "exec", self.name, *argv]

    def run(self, argv: Sequence[str], timeout: float = 30) -> str:
        """Run a command in here to its end; its output. AssertionError with what it said when it fails."""
        done = subprocess.run(self.command(argv), capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == 0, f"{' '.join(argv)}: status {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout


@contextmanager
def network_namespace() -> Iterator[NetworkNamespace]:
    """Make a namespace, and remove it with every link in it afterwards. Needs root and iproute2."""
    namespace = NetworkNamespace(f"virtbus-{secrets.token_hex(4)}")
    subprocess.run(["ip", "netns", "add", namespace.name], check=True)
    try:
        namespace.run(["ip", "link", "set", "lo", "up"])
        yield namespace
    finally:
        subprocess.run(["ip", "netns", "delete", namespace.name], check=True)
