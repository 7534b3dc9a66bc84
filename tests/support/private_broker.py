"""A real RabbitMQ of our own: its own node name, ports, cookie and data folder, and an end that cannot be forgotten.

It meets neither a broker the machine runs nor another test run. It lives on the standard input of
its Erlang shell: administration goes through that pipe (a virtual host takes milliseconds there, half a second by
rabbitmqctl), and when the process that started it dies, however it dies, the pipe closes and the broker ends too.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

from tests.support.ports import free_ports

Progress = Callable[[str], None]

_PROGRAM_FOLDERS = ("/usr/lib/rabbitmq/bin", "/opt/rabbitmq/sbin", "/usr/local/sbin", "/usr/local/bin")
_HOST = "127.0.0.1"
_START_SECONDS = 120.0
# Right after a stop, rabbit:start() may answer ok and do nothing: it finds the mark of the boot that has just ended.
_UNTIL_RUNNING = (
    "(fun Again(_, 0) -> error(rabbit_is_not_running); Again(Try, N) -> Try(), "
    "case rabbit:is_running() of true -> ok; false -> timer:sleep(50), Again(Try, N - 1) end end)"
)


class BrokerError(Exception):
    """A broker could not be found, started, or made to do what was asked; the text says why."""


def rabbitmq_server() -> Path | None:
    """The `rabbitmq-server` that runs as whoever calls it, or None.

    Debian's /usr/sbin/rabbitmq-server is passed over as long as the real one is found: it changes to the user
    `rabbitmq`, who cannot write to a folder of ours.
    """
    for folder in _PROGRAM_FOLDERS:
        program = Path(folder) / "rabbitmq-server"
        if program.exists():
            return program
    found = shutil.which("rabbitmq-server")
    return Path(found) if found else None


class PrivateBroker:
    """A RabbitMQ of our own on loopback, gone without a trace after :meth:`stop`."""

    def __init__(self, program: Path | None = None) -> None:
        found = program or rabbitmq_server()
        if found is None:
            raise BrokerError("rabbitmq-server is not installed (Debian and Ubuntu: apt-get install rabbitmq-server)")
        self._program = found
        self.port, self._dist_port, self._epmd_port = free_ports(3)
        self.node_name = f"virtbus-{secrets.token_hex(4)}@localhost"
        self.description = f"a private RabbitMQ on {_HOST}:{self.port}"
        self._folder: Path | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._shell_lock = threading.Lock()

    def start(self, progress: Progress = lambda _line: None) -> None:
        """Start and wait until AMQP is answered (6 to 10 s). After :meth:`kill` it finds its old data again."""
        if self._server is not None:
            raise BrokerError("this broker runs already")
        began = time.monotonic()
        progress(f"broker: starting {self.description}")
        folder = self._prepare_folder()
        try:
            self._start_epmd()
            with (folder / "console.log").open("ab") as console:
                self._server = subprocess.Popen(
                    [str(self._program)], env=self._environment(), cwd=folder, start_new_session=True,
                    stdin=subprocess.PIPE, stdout=console, stderr=subprocess.STDOUT,
                )
            self._wait_until_amqp_answers(progress)
        except BaseException:
            self.stop()
            raise
        progress(f"broker: ready after {time.monotonic() - began:.1f} s")

    def stop(self) -> None:
        """End the broker and its epmd, and remove their data. Harmless when it does not run."""
        self._end_server(signal.SIGTERM)
        if self._epmd is not None:
            _close_input(self._epmd)
            self._epmd.wait(10)
            self._epmd = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def kill(self) -> None:
        """End the broker as a power cut would (SIGKILL), keeping its data; :meth:`start` brings it back."""
        self._end_server(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start RabbitMQ inside its Erlang node, on the same port and data: about a second."""
        self.stop_app()
        self.start_app()

    def stop_app(self) -> None:
        """As `rabbitmqctl stop_app`: every connection is closed and the port refuses, the data stays."""
        self._tell("rabbit:stop().")

    def start_app(self) -> None:
        """As `rabbitmqctl start_app`, and wait until AMQP is answered."""
        self._tell(f"{_UNTIL_RUNNING}(fun rabbit:start/0, 400).")
        self._wait_until_amqp_answers(lambda _line: None)

    @property
    def pid(self) -> int:
        """Process id of the Erlang machine, as `ps` shows it."""
        return self._running().pid

    def url(self, vhost: str = "/") -> str:
        """AMQP URL of one virtual host, as the user `guest`."""
        return f"amqp://guest:guest@{_HOST}:{self.port}/{quote(vhost, safe='')}"

    def add_vhost(self, name: str) -> str:
        """Make a virtual host in which `guest` may do everything; its URL."""
        term = _erlang_binary(name)
        self._tell(
            f'rabbit_vhost:add({term}, <<"virtbus">>).\n'
            f'rabbit_auth_backend_internal:set_permissions(<<"guest">>, {term}, '
            '<<".*">>, <<".*">>, <<".*">>, <<"virtbus">>).'
        )
        return self.url(name)

    def delete_vhost(self, name: str) -> None:
        """Remove a virtual host with all it holds; its connections are closed."""
        self._tell(f'rabbit_vhost:delete({_erlang_binary(name)}, <<"virtbus">>).')

    @contextmanager
    def fresh_url(self) -> Iterator[str]:
        """URL of a virtual host nobody else uses, gone after the block."""
        name = f"t-{secrets.token_hex(6)}"
        try:
            yield self.add_vhost(name)
        finally:
            if self._server is not None and self._server.poll() is None:
                self.delete_vhost(name)

    def ctl(self, *arguments: str) -> str:
        """Output of `rabbitmqctl -q ARGUMENTS` against this broker (half a second each). BrokerError if it fails."""
        self._running()
        command = [str(self._program.with_name("rabbitmqctl")), "-q", *arguments]
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise BrokerError(f"rabbitmqctl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of what the broker printed and logged, for a message about a failure."""
        if self._folder is None:
            return ""
        files = [self._folder / "console.log", *sorted((self._folder / "log").glob("*.log"))]
        text = "\n".join(file.read_text(errors="replace") for file in files if file.exists())
        return "\n".join(text.splitlines()[-lines:])

    def _running(self) -> subprocess.Popen[bytes]:
        if self._server is None:
            raise BrokerError("this broker was not started")
        if self._server.poll() is not None:
            raise BrokerError(f"the broker ended with status {self._server.returncode}:\n{self.log_tail()}")
        return self._server

    def _prepare_folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="virtbus-broker-"))
        for name in ("home", "mnesia", "log"):
            (self._folder / name).mkdir(exist_ok=True)
        # Without these two, RabbitMQ would read the machine's own in /etc/rabbitmq.
        (self._folder / "environment.conf").touch()
        (self._folder / "enabled_plugins").write_text("[].\n")
        (self._folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {_HOST}:{self.port}\n"
            "log.console = false\n"
            "log.file.level = warning\n"
            "vm_memory_high_watermark.absolute = 1GB\n"
            "disk_free_limit.absolute = 50MB\n"
        )
        return self._folder

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        return {
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            "LANG": "C.UTF-8",
            "HOME": f"{folder}/home",  # the Erlang cookie
            "ERL_EPMD_ADDRESS": _HOST,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": self.node_name,
            "RABBITMQ_NODE_IP_ADDRESS": _HOST,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/environment.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_ALLOW_INPUT": "1",
            # Schedulers that spin while idle would take the cores of the guests under test.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
            ),
        }

    def _start_epmd(self) -> None:
        """Run Erlang's port mapper as a child; left to RabbitMQ it would be a daemon that outlives everything."""
        if self._epmd is not None:
            return
        epmd = shutil.which("epmd")
        if epmd is None:
            raise BrokerError("epmd, a part of Erlang, is not installed")
        # The shell outlives a starter that is killed, and then tidies up in its place.
        script = 'folder=$1; shift; "$@" & read _; kill $!; wait; sleep 0.5; rm -rf "$folder"'
        self._epmd = subprocess.Popen(
            ["/bin/sh", "-c", script, "sh", str(self._folder), epmd, "-port", str(self._epmd_port), "-address", _HOST],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )
        deadline = time.monotonic() + 10
        while not _port_answers(self._epmd_port, b""):
            if time.monotonic() > deadline or self._epmd.poll() is not None:
                raise BrokerError(f"{epmd} does not listen on {_HOST}:{self._epmd_port}")
            time.sleep(0.02)

    def _wait_until_amqp_answers(self, progress: Progress) -> None:
        began = time.monotonic()
        told = began
        while not _port_answers(self.port, b"AMQP\x00\x00\x09\x01"):
            self._running()
            now = time.monotonic()
            if now - began > _START_SECONDS:
                raise BrokerError(f"no AMQP on {_HOST}:{self.port} after {_START_SECONDS:.0f} s:\n{self.log_tail()}")
            if now - told > 5:
                progress(f"broker: still starting ({now - began:.0f} s)")
                told = now
            time.sleep(0.05)
        # The listener opens shortly before the boot is over.
        self._tell(f"{_UNTIL_RUNNING}(fun() -> ok end, 400).")

    def _tell(self, expressions: str) -> None:
        """Evaluate Erlang expressions in the broker's shell and wait until they are done."""
        marker = f"virtbus-{secrets.token_hex(8)}"
        with self._shell_lock:
            server = self._running()
            assert server.stdin is not None
            assert self._folder is not None
            console = self._folder / "console.log"
            with console.open("rb") as output:
                output.seek(0, os.SEEK_END)
                # In two pieces, so that a shell that echoes its input does not look like an answer.
                line = f'{expressions}\nio:format("~s~s~n", ["{marker[:8]}", "{marker[8:]}"]).\n'
                server.stdin.write(line.encode())
                server.stdin.flush()
                self._await_marker(output, marker, expressions)

    def _await_marker(self, output: IO[bytes], marker: str, expressions: str) -> None:
        answer = b""
        deadline = time.monotonic() + 60
        while marker.encode() not in answer:
            answer += output.read()
            self._running()
            if time.monotonic() > deadline:
                raise BrokerError(f"no answer from the broker's shell to {expressions}:\n{self.log_tail()}")
            time.sleep(0.002)
        if b"** exception" in answer or b"{error," in answer:
            raise BrokerError(f"{expressions}: {answer.decode(errors='replace').strip()}")

    def _end_server(self, how: signal.Signals) -> None:
        if self._server is None:
            return
        # The shell takes the end of its input as an order to stop at once: it is closed only after the process is gone.
        with suppress(ProcessLookupError):
            self._server.send_signal(how)
        try:
            self._server.wait(20)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        _close_input(self._server)
        self._server = None


def _port_answers(port: int, greeting: bytes) -> bool:
    """Does someone accept on this port and, when a greeting is sent, reply to it?"""
    try:
        with socket.create_connection((_HOST, port), timeout=2) as connection:
            if not greeting:
                return True
            connection.sendall(greeting)
            return bool(connection.recv(1))
    except OSError:
        return False


def _close_input(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()


def _erlang_binary(text: str) -> str:
    return f"<<{','.join(str(byte) for byte in text.encode())}>>"
