"""QEMU as a process: started so that it outlives us, watched and ended without polling.

A guest belongs to the node, not to the service: QEMU gets a session of its own, no terminal, no environment of ours
and only the file descriptors meant for it. Its end is noticed through a pidfd, the same way whether this service
started it or an earlier one did, and a signal sent through a pidfd cannot hit a stranger that got its PID later.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from socket import socket

from virtbus_domain.drivers.qemu import monitor as qmp
from virtbus_domain.drivers.qemu.discovery import FoundGuest, GuestPaths, start_time, stat_fields
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.timeout import timeout

TERM_GRACE = 10.0  # seconds from SIGTERM to SIGKILL: libvirt's
KILL_GRACE = 5.0  # seconds from SIGKILL to giving up; only a process stuck inside the kernel needs more
_UTIME, _STIME = 11, 12  # of stat_fields; proc(5)
_NANOSECONDS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_LOG_TAIL = 4096  # bytes of QEMU's log that an error message may quote


class QemuProcess:
    """One QEMU. ``exited`` is set when it has ended; ``status`` is then its exit status if it was our child.

    A negative status is the number of the signal that ended it; None means that it was another's child.
    """

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.start_time = start_time(pid)
        self.exited = asyncio.Event()
        self.status: int | None = None
        self._pidfd = pidfd
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(pidfd, self._on_exit)

    @classmethod
    def spawn(cls, argv: Sequence[str], log: Path, pass_fds: Sequence[int] = (), *, outlives_us: bool = True,
              environment: Mapping[str, str] | None = None) -> QemuProcess:
        """Start QEMU. Blocks for about 0.4 ms, until its program is loaded; ``OSError`` when it cannot be.

        ``pass_fds`` keep their numbers; their owner may close his copies afterwards. One that does not outlive us,
        because it only answers questions of ours, is killed by the kernel when we end, however we end.
        """
        with open(log, "ab") as output:
            child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=pass_fds,
                start_new_session=True, cwd="/", env=_environment() | dict(environment or {}),
                preexec_fn=None if outlives_us else _die_with_parent)  # noqa: PLW1509  # it makes one system call
        # From here on the pidfd watches and reaps. Popen, told that all is over, neither waits nor warns about a
        # child that outlives it.
        child.returncode = 0
        try:
            return cls(child.pid, os.pidfd_open(child.pid))
        except OSError:  # out of descriptors: a guest that we cannot hold must not run
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            raise

    @classmethod
    def adopt(cls, found: FoundGuest) -> QemuProcess:
        """Watch a guest that an earlier service started. ``ProcessLookupError`` when it has ended since."""
        pidfd = os.pidfd_open(found.pid)
        try:
            # The pidfd holds on to whoever has the PID now; the start time tells whether that is still our guest.
            if start_time(found.pid) != found.start_time:
                raise ProcessLookupError(found.pid)
            return cls(found.pid, pidfd)
        except BaseException:
            os.close(pidfd)
            raise

    def cpu_time(self) -> int:
        """CPU time in nanoseconds, user and system, of all threads; 0 once it has ended. Kept by the kernel."""
        try:
            fields = stat_fields(self.pid)
        except ProcessLookupError:
            return 0
        return (int(fields[_UTIME]) + int(fields[_STIME])) * _NANOSECONDS_PER_TICK

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to this process and no other; nothing happens when it has ended."""
        if not self.exited.is_set():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    async def terminate(self, *, grace: float = TERM_GRACE, force: bool = True) -> bool:
        """End the process: SIGTERM, with which QEMU flushes its disks, and SIGKILL ``grace`` seconds later; whether
        SIGTERM was enough.

        Without ``force`` there is no SIGKILL, and a process that is still there is a ``LibvirtError``
        (``VIR_ERR_SYSTEM_ERROR``, as libvirt's).
        """
        self.send_signal(signal.SIGTERM)
        if await self.exits_within(grace):
            return True
        if force and await self.kill():
            return False
        name = "SIGKILL" if force else "SIGTERM"
        detail = f"Failed to terminate process {self.pid} with {name}: {os.strerror(errno.EBUSY)}"
        raise LibvirtError(c.VIR_ERR_SYSTEM_ERROR, detail, int1=errno.EBUSY)

    async def kill(self, *, grace: float = 0) -> bool:
        """Wait ``grace`` seconds for an end that is under way, then send SIGKILL; whether the process has ended."""
        if not await self.exits_within(grace):
            self.send_signal(signal.SIGKILL)
        return await self.exits_within(KILL_GRACE)

    def release(self) -> None:
        """Stop watching: the service ends, the guest goes on."""
        if not self.exited.is_set():
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)

    async def exits_within(self, seconds: float) -> bool:
        """Wait for the end, but no longer than this; whether the process has ended."""
        with suppress(TimeoutError):
            async with timeout(seconds):
                await self.exited.wait()
        return self.exited.is_set()

    def _on_exit(self) -> None:
        with suppress(ChildProcessError):  # another's child: whoever that is reaps it
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
            if result is not None:
                self.status = result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
        self.release()
        self.exited.set()


async def launch(argv: Sequence[str], paths: GuestPaths, listener: socket, pass_fds: Sequence[int],
                 on_event: qmp.EventCallback | None = None, *, outlives_us: bool = True,
                 environment: Mapping[str, str] | None = None) -> tuple[QemuProcess, qmp.Monitor]:
    """Start QEMU with a listening monitor socket and return it with its monitor connected. Closes ``listener``.

    ``environment`` is what it finds beside what every QEMU does.

    When QEMU ends or does not answer, it is killed and the error says so in its own words
    (``VIR_ERR_INTERNAL_ERROR``); the run directory and ``pass_fds`` stay the caller's.
    """
    try:
        process = QemuProcess.spawn(argv, paths.log, [listener.fileno(), *pass_fds], outlives_us=outlives_us,
                                    environment=environment)
    except OSError as error:
        raise LibvirtError(c.VIR_ERR_SYSTEM_ERROR, f"Cannot run '{argv[0]}': {error.strerror}",
                           domain=c.VIR_FROM_QEMU, int1=error.errno or -1) from error
    finally:
        # QEMU must hold the only copy: when it dies, the kernel then ends our connection too.
        listener.close()
    monitor = qmp.Monitor(on_event)
    try:
        await monitor.connect(paths.monitor)
    except BaseException as error:
        hung_up = isinstance(error, LibvirtError) and error.code == c.VIR_ERR_OPERATION_FAILED
        # A QEMU that hung up is exiting: left alone it can finish writing why.
        await process.kill(grace=KILL_GRACE if hung_up else 0)
        if hung_up:
            raise exit_error("process exited while connecting to monitor", paths.log) from error
        raise
    return process, monitor


def exit_error(what: str, log: Path) -> LibvirtError:
    """The error of a QEMU that ended by itself: ``what`` and the last lines of its log, in libvirt's style."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_TAIL))
            tail = file.read().decode(errors="replace").strip()
    except OSError:
        tail = ""
    return LibvirtError(c.VIR_ERR_INTERNAL_ERROR, f"{what}: {tail}" if tail else what, domain=c.VIR_FROM_QEMU)


def _environment() -> dict[str, str]:
    """What QEMU may know of our environment, which can hold the broker's password."""
    return {"LC_ALL": "C"} | {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}


_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """In the child, before QEMU: see prctl(2)."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
