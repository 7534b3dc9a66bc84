"""One running guest: its process and its monitor, and what its state is by its own word.

Events of a guest are only a hint that something changed. They arrive beside commands of ours that are under way, so
what an event claims may be overtaken by the time its domain's turn comes; the state is therefore always asked for
(``query-status``), in the domain's turn, and compared with what we believed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.monitor import COMMAND_TIMEOUT, Monitor
from virtbus_domain.drivers.qemu.process import QemuProcess
from virtbus_domain.moves import Move
from virtbus_shared import constants as c

RECONNECT_TIMEOUT = 5.0  # seconds for QEMU to greet on a monitor that we connect to again

RESUMED = (c.VIR_DOMAIN_EVENT_RESUMED, c.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED)
STARTED = (c.VIR_DOMAIN_EVENT_STARTED, c.VIR_DOMAIN_EVENT_STARTED_BOOTED)
SUSPENDED = (c.VIR_DOMAIN_EVENT_SUSPENDED, c.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED)
SUSPENDED_IOERROR = (c.VIR_DOMAIN_EVENT_SUSPENDED, c.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR)
SUSPENDED_WATCHDOG = (c.VIR_DOMAIN_EVENT_SUSPENDED, c.VIR_DOMAIN_EVENT_SUSPENDED_WATCHDOG)
PANICKED = (c.VIR_DOMAIN_EVENT_CRASHED, c.VIR_DOMAIN_EVENT_CRASHED_PANICKED)
PM_SUSPENDED = (c.VIR_DOMAIN_EVENT_PMSUSPENDED, c.VIR_DOMAIN_EVENT_PMSUSPENDED_MEMORY)

# query-status, "status" (QEMU's RunState) -> what it means here.
_STATES = {
    "running": Move(c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_UNPAUSED, (RESUMED,)),
    "paused": Move(c.VIR_DOMAIN_PAUSED, c.VIR_DOMAIN_PAUSED_UNKNOWN, (SUSPENDED,)),
    "prelaunch": Move(c.VIR_DOMAIN_PAUSED, c.VIR_DOMAIN_PAUSED_STARTING_UP, (SUSPENDED,)),
    "io-error": Move(c.VIR_DOMAIN_PAUSED, c.VIR_DOMAIN_PAUSED_IOERROR, (SUSPENDED_IOERROR,)),
    "watchdog": Move(c.VIR_DOMAIN_PAUSED, c.VIR_DOMAIN_PAUSED_WATCHDOG, (SUSPENDED_WATCHDOG,)),
    "guest-panicked": Move(c.VIR_DOMAIN_CRASHED, c.VIR_DOMAIN_CRASHED_PANICKED, (PANICKED,)),
    "suspended": Move(c.VIR_DOMAIN_PMSUSPENDED, c.VIR_DOMAIN_PMSUSPENDED_UNKNOWN, (PM_SUSPENDED,)),
}

# Events after which the state is asked for.
STATE_EVENTS = frozenset(("STOP", "RESUME", "SUSPEND", "WAKEUP", "GUEST_PANICKED", "BLOCK_IO_ERROR", "WATCHDOG"))

OnEvent = Callable[["Guest", str, Mapping[str, Any]], None]


class Guest:
    """A QEMU that runs. ``on_event`` gets (guest, name, data) of every QMP event, in order; it must not block."""

    def __init__(self, paths: GuestPaths, on_event: OnEvent) -> None:
        self.paths = paths
        self._on_event = on_event
        self._process: QemuProcess | None = None
        self._monitor: Monitor | None = None
        self._connecting = asyncio.Lock()
        self.vcpu_threads: dict[int, int] | None = None  # by number, once QEMU was asked
        self.said_shutdown = False  # it told that it shuts down: its end is no crash

    @property
    def process(self) -> QemuProcess:
        """Its process."""
        assert self._process is not None  # set before a guest is known to anybody
        return self._process

    @property
    def restarts(self) -> bool:
        """It was asked to reboot: when it shuts down it starts again. Known to the next run of the service, too."""
        return self.paths.reboot.exists()

    @restarts.setter
    def restarts(self, value: bool) -> None:
        if value:
            self.paths.reboot.touch()
        else:
            self.paths.reboot.unlink(missing_ok=True)

    def attach(self, process: QemuProcess, monitor: Monitor | None = None) -> None:
        """This is its process; without a monitor, one is connected at the first command."""
        self._process, self._monitor = process, monitor

    def event(self, name: str, data: Mapping[str, Any], _stamp: float) -> None:
        """What its monitor reports."""
        self._on_event(self, name, data)

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None, *,
                      within: float = COMMAND_TIMEOUT) -> Any:
        """Run one QMP command, over a new connection if the last one has ended. Raises ``LibvirtError``."""
        async with self._connecting:
            if self._monitor is None or self._monitor.closed.is_set():
                monitor = Monitor(self.event)
                await monitor.connect(self.paths.monitor, within=RECONNECT_TIMEOUT)
                self._monitor = monitor
        return await self._monitor.execute(command, arguments, within=within)

    async def status(self) -> Move | None:
        """Its state by its own word; None for states that pass by themselves (it is about to end, or restoring)."""
        answer = await self.execute("query-status")
        return _STATES.get(str(answer["status"]))

    def pause_reading(self) -> None:
        """Let its events wait. One that is being ended tells of it, and to hear that would take the processor from it
        in the middle of its end: some 0.3 ms, measured."""
        if self._monitor is not None:
            self._monitor.pause_reading()

    def resume_reading(self) -> None:
        """Hear what has waited, and the end of the connection."""
        if self._monitor is not None:
            self._monitor.resume_reading()

    async def ended(self) -> None:
        """Wait until the process has ended and its last words have been heard."""
        await self.process.exited.wait()
        if self._monitor is not None:
            await self._monitor.closed.wait()

    async def release(self) -> None:
        """Let go of it: the service stops, the guest goes on."""
        self.process.release()
        if self._monitor is not None:
            await self._monitor.close()
