"""Our daemons as the processes they are: started, waited for by their own /readyz, killed, and heard when they fail.

Law 4 (guests outlive services) and law 1 (effect once) can only be tested from outside, with kill -9 and a second
process on the same state folder; :meth:`Daemon.start` after :meth:`Daemon.kill` is that second process.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.ports import free_ports

SERVICES = ("domain", "network", "storage", "nodedev")

_HOST = "127.0.0.1"


class DaemonError(Exception):
    """A daemon ended or did not become ready; the text holds the end of its log."""


class Daemon:
    """One service of one node, as `python -m virtbus_SERVICE`; the services of a node share one folder."""

    def __init__(
        self,
        service: str,
        *,
        node: str,
        broker: str,
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.service = service
        self.node = node
        self.broker = broker
        self.state_dir = folder / "state"
        self.run_dir = folder / "run"
        self.log = folder / f"{service}.log"
        (self.port,) = free_ports(1)
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start the process without waiting for it, so that several can start side by side."""
        if self._process is not None:
            raise DaemonError(f"virtbus-{self.service} was started already")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        argv = [
            sys.executable, "-m", f"virtbus_{self.service}",
            "--node", self.node,
            "--broker", self.broker,
            "--state-dir", str(self.state_dir),
            "--run-dir", str(self.run_dir),
            "--metrics-address", f"{_HOST}:{self.port}",
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                argv, env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )

    def wait_ready(self, seconds: float = 30) -> None:
        """Return once /readyz answers 200. DaemonError, with the log, when the process ends or time is up."""
        deadline = time.monotonic() + seconds
        status, body = 0, "no answer"
        while status != 200:
            process = self._started()
            if process.poll() is not None:
                raise DaemonError(f"virtbus-{self.service} ended with status {process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise DaemonError(
                    f"virtbus-{self.service} is not ready after {seconds:.0f} s ({status}: {body}):\n{self.log_tail()}"
                )
            time.sleep(0.02)
            status, body = self.get("/readyz")

    def start(self, seconds: float = 30) -> None:
        """Start and wait until ready."""
        self.launch()
        self.wait_ready(seconds)

    def get(self, path: str) -> tuple[int, str]:
        """HTTP status and body of a path on the metrics address; status 0 while nobody listens."""
        connection = http.client.HTTPConnection(_HOST, self.port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()

    def metrics(self) -> str:
        """The text of /metrics. DaemonError unless it answers 200."""
        status, body = self.get("/metrics")
        if status != 200:
            raise DaemonError(f"virtbus-{self.service}: /metrics answers {status}: {body}")
        return body

    @property
    def pid(self) -> int:
        """Process id of the running daemon."""
        return self._started().pid

    def terminate(self, seconds: float = 20) -> int:
        """Ask for a graceful end (SIGTERM); its exit status. DaemonError, after SIGKILL, when it does not end."""
        process = self._started()
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            text = f"virtbus-{self.service} ignored SIGTERM for {seconds:.0f} s:\n{self.log_tail()}"
            raise DaemonError(text) from None
        self._process = None
        return status

    def kill(self) -> None:
        """End it as the kernel's memory killer would (SIGKILL). Its state stays; :meth:`start` starts another."""
        process = self._started()
        process.kill()
        process.wait()
        self._process = None

    def stop(self) -> None:
        """End it, gracefully if it can; harmless when it does not run."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self.terminate()
        self._process = None

    def log_tail(self, lines: int = 60) -> str:
        """The last lines of what it printed, over all its starts."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise DaemonError(f"virtbus-{self.service} was not started")
        return self._process


class Node:
    """Services of one node, side by side, each its own process: `node["domain"].kill()`."""

    def __init__(
        self,
        *,
        node: str,
        broker: str,
        folder: Path,
        services: tuple[str, ...] = SERVICES,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = node
        self.daemons = {
            service: Daemon(service, node=node, broker=broker, folder=folder, environment=environment)
            for service in services
        }

    def __getitem__(self, service: str) -> Daemon:
        return self.daemons[service]

    def start(self, seconds: float = 30) -> None:
        """Start all, then wait for all. When one fails, the others are ended too."""
        try:
            for daemon in self.daemons.values():
                daemon.launch()
            for daemon in self.daemons.values():
                daemon.wait_ready(seconds)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all. DaemonError, once all have ended, if one had to be killed."""
        with contextlib.ExitStack() as stack:
            for daemon in self.daemons.values():
                stack.callback(daemon.stop)


@contextlib.contextmanager
def running_node(
    *,
    node: str,
    broker: str,
    folder: Path,
    services: tuple[str, ...] = SERVICES,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Node]:
    """A node whose services are ready, ended after the block."""
    started = Node(node=node, broker=broker, folder=folder, services=services, environment=environment)
    started.start()
    try:
        yield started
    finally:
        started.stop()
