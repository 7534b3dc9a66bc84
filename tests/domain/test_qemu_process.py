"""QEMU as a process: it outlives us, its end is noticed, it is found again, and a hung one harms nobody.

All with real QEMU; guests are paused and have no machine or a tiny one, so each takes some tens of milliseconds.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.support.components import require_program
from virtbus_domain.drivers.qemu.discovery import FoundGuest, GuestPaths, find_guests, start_time
from virtbus_domain.drivers.qemu.monitor import EventCallback, Monitor, listen
from virtbus_domain.drivers.qemu.process import QemuProcess, launch
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

UUIDS = [f"0b3ca7d0-3d3f-4a5a-9c38-{number:012x}" for number in range(8)]


@pytest.fixture
def run_dir(tmp_path: Path) -> Iterator[Path]:
    """A run directory; whatever runs in it at the end is killed."""
    yield tmp_path
    for guest in find_guests(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(guest.pid, signal.SIGKILL)


def arguments(paths: GuestPaths, monitor_fd: int, *extra: str) -> list[str]:
    """A QEMU without a machine: the quickest real one."""
    return [str(require_program("qemu-system-x86_64")), "-pidfile", str(paths.pidfile), "-no-user-config",
            "-nodefaults", "-display", "none", "-machine", "none", "-accel", "tcg", "-S",
            "-chardev", f"socket,id=charmonitor,fd={monitor_fd},server=on,wait=off",
            "-mon", "chardev=charmonitor,mode=control", *extra]


async def start(run_dir: Path, number: int = 1, *extra: str,
                on_event: EventCallback | None = None) -> tuple[GuestPaths, QemuProcess, Monitor]:
    """Start a guest as the service does."""
    paths = GuestPaths(run_dir, number, UUIDS[number])
    paths.create()
    listener = listen(paths.monitor)
    process, monitor = await launch(arguments(paths, listener.fileno(), *extra), paths, listener, [], on_event)
    return paths, process, monitor


@asynccontextmanager
async def guest(run_dir: Path, number: int = 1,
                on_event: EventCallback | None = None) -> AsyncIterator[tuple[QemuProcess, Monitor]]:
    """A guest that is killed at the end."""
    _, process, monitor = await start(run_dir, number, on_event=on_event)
    try:
        yield process, monitor
    finally:
        await process.kill()
        await monitor.closed.wait()


def orphan(run_dir: Path, number: int = 1) -> FoundGuest:
    """A guest whose service was killed with -9 right after it had started it."""
    script = textwrap.dedent(f"""
        import asyncio, os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from pathlib import Path
        from tests.domain.test_qemu_process import start
        async def main():
            await start(Path({str(run_dir)!r}), {number})
            os.kill(os.getpid(), signal.SIGKILL)
        asyncio.run(main())
    """)
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    [found] = [found for found in find_guests(run_dir) if found.id == number]
    return found


def refused(error: pytest.ExceptionInfo[LibvirtError], code: int, words: str) -> None:
    """The error has this code, comes from the QEMU driver and says these words."""
    assert (error.value.code, error.value.domain) == (code, c.VIR_FROM_QEMU)
    assert words in error.value.message


class TestLife:
    """From the spawn to the end."""

    def test_quit_through_the_monitor(self, run_dir: Path) -> None:
        """A guest that is told to quit ends with status 0, after its events and the end of its monitor."""
        async def scenario() -> None:
            events: list[str] = []
            _, process, monitor = await start(run_dir, on_event=lambda name, *_: events.append(name))
            assert await monitor.execute("query-status") == {
                "status": "prelaunch", "singlestep": False, "running": False}
            await monitor.execute("quit")
            await process.exited.wait()
            await monitor.closed.wait()
            assert process.status == 0
            assert events == ["SHUTDOWN"]
        asyncio.run(scenario())

    def test_detached_from_us(self, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """QEMU has its own session, no terminal, none of our other descriptors and none of our environment."""
        monkeypatch.setenv("VIRTBUS_BROKER", "amqp://user:secret@broker")

        async def scenario() -> None:
            with (run_dir / "ours").open("w") as ours:
                os.set_inheritable(ours.fileno(), True)
                async with guest(run_dir) as (process, _):
                    of_qemu = Path(f"/proc/{process.pid}")
                    open_files = {os.readlink(link) for link in (of_qemu / "fd").iterdir()}
                    assert str(run_dir / "ours") not in open_files
                    assert os.readlink(of_qemu / "fd/0") == "/dev/null"
                    assert os.getsid(process.pid) == process.pid
                    assert b"secret" not in (of_qemu / "environ").read_bytes()
        asyncio.run(scenario())

    def test_kill_is_noticed(self, run_dir: Path) -> None:
        """Somebody's kill -9 is noticed without polling, and the child is reaped."""
        async def scenario() -> None:
            async with guest(run_dir) as (process, monitor):
                os.kill(process.pid, signal.SIGKILL)
                await process.exited.wait()
                assert process.status == -signal.SIGKILL
                assert not psutil.pid_exists(process.pid)
                await monitor.closed.wait()
                with pytest.raises(LibvirtError) as error:
                    await monitor.execute("query-status")
                refused(error, c.VIR_ERR_OPERATION_FAILED, "domain is no longer running")
        asyncio.run(scenario())

    def test_cpu_time(self) -> None:
        """CPU time is the kernel's figure, in nanoseconds; that of a process which has ended is zero."""
        async def scenario() -> None:
            process = QemuProcess(os.getpid(), os.pidfd_open(os.getpid()))  # one that has surely used some
            times = psutil.Process().cpu_times()
            assert 0 < round(times.user + times.system, 2) * 1e9 <= process.cpu_time() + 1
            process.release()
            ended = QemuProcess.spawn([str(require_program("true"))], Path(os.devnull))
            await ended.exited.wait()
            assert (ended.status, ended.cpu_time()) == (0, 0)
        asyncio.run(scenario())

    def test_no_descriptor_left(self, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A QEMU that could not be watched is not left running."""
        def refuse(pid: int) -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(os, "pidfd_open", refuse)
        with pytest.raises(LibvirtError, match="Too many open files"):
            asyncio.run(start(run_dir))
        assert find_guests(run_dir) == []

    def test_terminate(self, run_dir: Path) -> None:
        """SIGTERM ends a healthy guest orderly; terminating it again is nothing."""
        async def scenario() -> None:
            async with guest(run_dir) as (process, _):
                await process.terminate()
                assert process.status == 0
                await process.terminate()
                process.send_signal(signal.SIGTERM)
        asyncio.run(scenario())

    def test_terminate_a_hung_guest(self, run_dir: Path) -> None:
        """A guest that ignores SIGTERM survives a gentle end, with libvirt's error, and not a forced one."""
        async def scenario() -> None:
            async with guest(run_dir) as (process, _):
                process.send_signal(signal.SIGSTOP)
                with pytest.raises(LibvirtError) as error:
                    await process.terminate(grace=0.05, force=False)
                assert error.value.code == c.VIR_ERR_SYSTEM_ERROR
                assert error.value.message == (
                    f"Failed to terminate process {process.pid} with SIGTERM: Device or resource busy")
                assert not process.exited.is_set()
                await process.terminate(grace=0.05)
                assert process.status == -signal.SIGKILL
        asyncio.run(scenario())


class TestFailedStart:
    """QEMU that does not come up."""

    def test_its_own_words(self, run_dir: Path) -> None:
        """The error of a QEMU that refuses its arguments is libvirt's, and ends with what QEMU said."""
        async def scenario() -> None:
            with pytest.raises(LibvirtError) as error:
                await start(run_dir, 1, "-device", "no-such-device")
            refused(error, c.VIR_ERR_INTERNAL_ERROR, "process exited while connecting to monitor: ")
            assert "'no-such-device' is not a valid device model name" in error.value.message
            assert find_guests(run_dir) == []
        asyncio.run(scenario())

    def test_no_program(self, run_dir: Path) -> None:
        """An emulator that is not there is named."""
        async def scenario() -> None:
            paths = GuestPaths(run_dir, 1, UUIDS[1])
            paths.create()
            with pytest.raises(LibvirtError) as error:
                await launch(["/nonexistent/qemu"], paths, listen(paths.monitor), [])
            refused(error, c.VIR_ERR_SYSTEM_ERROR, "Cannot run '/nonexistent/qemu': No such file or directory")
        asyncio.run(scenario())

    def test_cancelled(self, run_dir: Path) -> None:
        """A start that is cancelled while QEMU is silent leaves no process behind."""
        async def scenario() -> None:
            paths = GuestPaths(run_dir, 1, UUIDS[1])
            paths.create()
            argv = [str(require_program("sleep")), "600"]
            before = set(psutil.Process().children())
            task = asyncio.create_task(launch(argv, paths, listen(paths.monitor), []))
            await asyncio.sleep(0)  # its first step, in which the process is started
            [child] = set(psutil.Process().children()) - before
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not psutil.pid_exists(child.pid)
        asyncio.run(scenario())

    def test_long_run_directory(self, run_dir: Path) -> None:
        """A run directory far longer than a socket address may be works all the same."""
        async def scenario() -> None:
            async with guest(run_dir / ("d" * 200)) as (_, monitor):
                assert await monitor.execute("query-target") == {"arch": "x86_64"}
            for left in find_guests(run_dir / ("d" * 200)):
                os.kill(left.pid, signal.SIGKILL)
        asyncio.run(scenario())


class TestMonitor:
    """Commands and events."""

    def test_refusal(self, run_dir: Path) -> None:
        """QEMU's refusal is libvirt's error, and the monitor goes on."""
        async def scenario() -> None:
            async with guest(run_dir) as (_, monitor):
                with pytest.raises(LibvirtError) as error:
                    await monitor.execute("device_del", {"id": "none"})
                refused(error, c.VIR_ERR_INTERNAL_ERROR,
                        "unable to execute QEMU command 'device_del': Device 'none' not found")
                assert await monitor.execute("query-target") == {"arch": "x86_64"}
        asyncio.run(scenario())

    def test_events_in_order(self, run_dir: Path) -> None:
        """Events reach the callback in QEMU's order; a callback that fails does not end the connection."""
        async def scenario() -> None:
            events: list[str] = []

            def on_event(name: str, *_: object) -> None:
                events.append(name)
                raise RuntimeError("a faulty callback")

            async with guest(run_dir, on_event=on_event) as (_, monitor):
                for _ in range(20):
                    await monitor.execute("cont")
                    await monitor.execute("stop")
                assert events == ["RESUME", "STOP"] * 20
        asyncio.run(scenario())

    def test_many_in_flight(self, run_dir: Path) -> None:
        """Each of many commands sent at once gets its own answer."""
        async def scenario() -> None:
            async with guest(run_dir) as (_, monitor):
                names = [f"object{number}" for number in range(50)]
                for name in names:
                    await monitor.execute("object-add", {"qom-type": "iothread", "id": name})
                answers = await asyncio.gather(*(
                    monitor.execute("qom-get", {"path": f"/objects/{name}", "property": "type"}) for name in names))
                assert answers == ["iothread"] * 50
        asyncio.run(scenario())

    def test_hung_guest_harms_no_other(self, run_dir: Path) -> None:
        """A command to a stopped QEMU times out; meanwhile another guest answers, and later the first does again."""
        async def scenario() -> None:
            async with guest(run_dir, 1) as (process, hung), guest(run_dir, 2) as (_, healthy):
                process.send_signal(signal.SIGSTOP)
                waiting = asyncio.create_task(hung.execute("query-status", within=1))
                for _ in range(10):
                    await healthy.execute("query-status")
                assert not waiting.done()
                with pytest.raises(LibvirtError) as error:
                    await waiting
                refused(error, c.VIR_ERR_OPERATION_TIMEOUT, "'query-status' within 1 s")
                process.send_signal(signal.SIGCONT)
                assert await hung.execute("query-target") == {"arch": "x86_64"}
        asyncio.run(scenario())

    def test_close_and_connect_again(self, run_dir: Path) -> None:
        """A monitor that was hung up can be connected again by its path; the guest does not notice."""
        async def scenario() -> None:
            paths, process, first = await start(run_dir)
            await first.close()
            assert first.closed.is_set()
            second = Monitor()
            await second.connect(paths.monitor)
            await second.execute("quit")
            await process.exited.wait()
            await second.closed.wait()
        asyncio.run(scenario())

    def test_silent_greeting(self, run_dir: Path) -> None:
        """A socket behind which nobody greets is a time-out; one behind which nobody listens is a failure."""
        async def scenario() -> None:
            path = run_dir / "silent.sock"
            with listen(path):
                with pytest.raises(LibvirtError) as error:
                    await Monitor().connect(path, within=0.05)
                refused(error, c.VIR_ERR_OPERATION_TIMEOUT, "did not greet")
            with pytest.raises(LibvirtError) as error:
                await Monitor().connect(path)
            refused(error, c.VIR_ERR_OPERATION_FAILED, "failed to connect to monitor socket")
        asyncio.run(scenario())


class TestDiscovery:
    """Guests are found by looking."""

    def test_after_the_service_was_killed(self, run_dir: Path) -> None:
        """A guest outlives kill -9 of its service, is found with its ID and UUID, managed, and its end noticed."""
        async def scenario() -> None:
            found = orphan(run_dir, 5)
            assert (found.id, found.uuid) == (5, UUIDS[5])
            assert os.getsid(found.pid) == found.pid
            process = QemuProcess.adopt(found)
            monitor = Monitor()
            await monitor.connect(found.paths.monitor)
            await monitor.execute("quit")
            await process.exited.wait()
            await monitor.closed.wait()
            assert process.status is None
            assert find_guests(run_dir) == []
            assert not found.paths.directory.exists()
        asyncio.run(scenario())

    def test_orphan_killed(self, run_dir: Path) -> None:
        """The forced end of a guest that is not our child."""
        async def scenario() -> None:
            process = QemuProcess.adopt(orphan(run_dir))
            await process.terminate()
            assert process.exited.is_set()
        asyncio.run(scenario())

    def test_released_guest_goes_on(self, run_dir: Path) -> None:
        """A service that stops watching leaves the guest as it is."""
        async def scenario() -> None:
            _, process, monitor = await start(run_dir)
            await monitor.close()
            process.release()
            [found] = find_guests(run_dir)
            assert (found.pid, found.start_time) == (process.pid, process.start_time)
            again = QemuProcess.adopt(found)
            await again.terminate()
            assert again.status == 0
        asyncio.run(scenario())

    def test_reused_pid(self) -> None:
        """A process that has the PID of a dead guest is not adopted."""
        async def scenario() -> None:
            paths = GuestPaths(Path("/nonexistent"), 1, UUIDS[1])
            with pytest.raises(ProcessLookupError):
                QemuProcess.adopt(FoundGuest(paths, os.getpid(), start_time(os.getpid()) - 1))
        asyncio.run(scenario())

    def test_left_behind(self, run_dir: Path) -> None:
        """Directories without a process are removed, however little is in them; what is not ours stays."""
        half, full = GuestPaths(run_dir, 1, UUIDS[1]), GuestPaths(run_dir, 2, UUIDS[2])
        half.create()
        full.create()
        full.live_xml.write_text("<domain/>")
        listen(full.monitor).close()
        foreign = run_dir / "qemu" / "capabilities"
        foreign.mkdir()
        assert find_guests(run_dir) == []
        assert not half.directory.exists()
        assert not full.directory.exists()
        assert foreign.is_dir()

    def test_other_spelling(self, run_dir: Path) -> None:
        """A guest is found through another path to the same run directory, as /var/run is to /run."""
        (run_dir / "real").mkdir()
        (run_dir / "link").symlink_to("real")
        found = orphan(run_dir / "link")
        assert find_guests(run_dir / "real") == [found]
        os.kill(found.pid, signal.SIGKILL)

    def test_hidden_process(self, run_dir: Path) -> None:
        """The directory of a QEMU that /proc does not show as ours is left alone: it holds the lock."""
        paths = GuestPaths(run_dir, 1, UUIDS[1])
        paths.create()
        stranger = subprocess.Popen(
            [require_program("qemu-system-x86_64"), "-machine", "none", "-accel", "tcg", "-display", "none",
             "-monitor", "stdio", "-pidfile", paths.pidfile], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert stranger.stdout is not None
            stranger.stdout.readline()  # its monitor's greeting: it has come up
            assert find_guests(run_dir) == []
            assert paths.directory.is_dir()
        finally:
            stranger.communicate(b"quit\n", timeout=30)
        assert find_guests(run_dir) == []
        assert not paths.directory.exists()

    def test_nothing_there(self, run_dir: Path) -> None:
        """A run directory that was never used holds no guests."""
        assert find_guests(run_dir / "new") == []

    def test_impostor(self, run_dir: Path) -> None:
        """A program that only mentions a guest's path is no guest, and neither is another run directory's guest."""
        paths = GuestPaths(run_dir, 3, UUIDS[3])
        paths.create()
        sleep = [str(require_program("sleep")), "600"]
        other = subprocess.Popen([*sleep, str(paths.pidfile)])
        try:
            assert find_guests(run_dir) == []
            assert find_guests(run_dir.parent) == []
        finally:
            other.kill()
            other.wait()

    def test_same_directory_twice(self, run_dir: Path) -> None:
        """The ID and UUID of a running guest cannot be taken a second time."""
        paths = GuestPaths(run_dir, 1, UUIDS[1])
        paths.create()
        with pytest.raises(FileExistsError):
            paths.create()
