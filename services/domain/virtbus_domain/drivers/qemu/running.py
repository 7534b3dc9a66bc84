"""The guests that run: found again after a restart of the service, listened to, and told of when they end.

What happens by itself (a guest powers off, a disk fails, the service was killed meanwhile) arrives as a QMP event, as
the end of a process, or as a process found in ``/proc``. Each waits for its domain's turn, is then looked at, and is
told; what requests do to a guest is the driver's.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine, Mapping
from typing import Any

from virtbus_domain.driver import DomainDriver
from virtbus_domain.drivers.qemu.clearing import clear_after, clear_after_all
from virtbus_domain.drivers.qemu.discovery import FoundGuest, find_guests
from virtbus_domain.drivers.qemu.guest import RESUMED, STARTED, STATE_EVENTS, SUSPENDED, Guest
from virtbus_domain.drivers.qemu.process import QemuProcess, exit_error
from virtbus_domain.moves import Move
from virtbus_domain.object import DomainObject, identity
from virtbus_domain.xml import parse_domain
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.driver import DriverHost

FIND_TIMEOUT = 3.0  # seconds that a start waits for guests to say how they are; a hung one says so later
CLEAR_AWAY = 0.1  # seconds after its end until a guest's run directory is removed
ASK_AGAIN = 5.0  # seconds until a hung guest that was found is asked again

PAUSED = Move(c.VIR_DOMAIN_PAUSED, c.VIR_DOMAIN_PAUSED_USER, (SUSPENDED,))
RUNNING = Move(c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_UNPAUSED, (RESUMED,))
# libvirt's order: the CPUs are let run, and then the start is told.
STARTED_RUNNING = Move(c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_BOOTED, (RESUMED, STARTED))
STARTED_PAUSED = Move(c.VIR_DOMAIN_PAUSED, c.VIR_DOMAIN_PAUSED_USER, (STARTED, SUSPENDED))
# QEMU answers SIGTERM with a shutdown of its own, which libvirt's clients see before the end; a killed one is mute.
KILLED = Move(c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_DESTROYED,
              ((c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_DESTROYED),))
DESTROYED = Move(KILLED.state, KILLED.reason,
                 ((c.VIR_DOMAIN_EVENT_SHUTDOWN, c.VIR_DOMAIN_EVENT_SHUTDOWN_HOST), *KILLED.events))
SHUT_DOWN = Move(c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_SHUTDOWN,
                 ((c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN),))
CRASHED = Move(c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_CRASHED,
               ((c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_FAILED),))
# It ran when we last looked and nobody was there to see why it ended.
GONE = Move(c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_UNKNOWN,
            ((c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_FAILED),))
# The service ended in the middle of its start, before it was let run and before anybody was told of it.
HALF_STARTED = Move(c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_DAEMON)


_CLAIMS = {"STOP": c.VIR_DOMAIN_PAUSED, "RESUME": c.VIR_DOMAIN_RUNNING}


class RunningGuests(DomainDriver):
    """The half of the QEMU driver that looks and listens."""

    def __init__(self, host: DriverHost) -> None:
        super().__init__(host)
        self._guests: dict[str, Guest] = {}  # by UUID
        self._tasks: set[asyncio.Task[None]] = set()

    async def _find(self) -> None:
        """Take in what runs and what has ended since the service last looked; to be called once, after ``load``."""
        found = {guest.uuid: guest for guest in find_guests(self.host.run_dir)}
        await clear_after_all(self.host.run_dir, self.host.state_dir)
        for gone in [d for d in self.domains if d.active and d.uuid not in found]:
            await self.moved(gone, _end_unseen(gone))
        starts, others = [], []
        for guest in found.values():
            self._last_id = max(self._last_id, guest.id)
            domain = self._domain_of(guest)
            if domain is not None and domain.id != guest.id:
                starts.append(self._background(self._finish_start(domain, guest)))
            elif domain is not None:
                others.append(self._background(self._found(domain, guest)))
        if others:
            await asyncio.wait(others, timeout=FIND_TIMEOUT)
        if starts:  # bounded by the monitor's own limits: the requests that began them are about to be answered
            await asyncio.wait(starts)

    async def stop(self) -> None:
        """Let go of all guests; they go on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for guest in self._guests.values():
            await guest.release()

    def _domain_of(self, found: FoundGuest) -> DomainObject | None:
        """The domain of a found guest: as stored, or from what was written down before it was started."""
        domain = self.domains.by_uuid(found.uuid)
        if domain is not None and domain.id == found.id:
            return domain
        try:
            model = parse_domain(found.paths.live_xml.read_text())
        except (OSError, LibvirtError) as e:
            self.host.log.error("guest %s cannot be managed: its live.xml: %s", found.paths.directory, e)
            return None
        if domain is None:
            domain = DomainObject(*identity(model), self.facts(model))
            self.domains.add(domain)
        return domain

    async def _adopt(self, domain: DomainObject, found: FoundGuest) -> Guest | None:
        """Watch a found guest from now on; None when it has ended since."""
        guest = Guest(found.paths, self._on_event)
        try:
            guest.attach(QemuProcess.adopt(found))
        except ProcessLookupError:
            await self.moved(domain, _end_unseen(domain))
            return None
        guest.said_shutdown = domain.state == c.VIR_DOMAIN_SHUTDOWN
        self._guests[domain.uuid] = guest
        self._background(self._watch(domain, guest))
        return guest

    async def _found(self, domain: DomainObject, found: FoundGuest) -> None:
        """Take in a guest that an earlier run of the service started; a hung one is asked until it answers."""
        guest = await self._adopt(domain, found)
        while guest is not None and not guest.process.exited.is_set():
            try:
                async with domain.turns.turn("finding it again", math.inf, self.error_domain):
                    if self._guests.get(domain.uuid) is guest:
                        await self._greet(domain, guest)
                return
            except LibvirtError as e:
                self.host.log.warning("domain '%s' does not answer: %s", domain.name, e)
            await guest.process.exits_within(ASK_AGAIN)

    async def _greet(self, domain: DomainObject, guest: Guest) -> None:
        """Learn how a found guest is, and go on with a reboot that was under way."""
        status = (await guest.execute("query-status"))["status"]
        # A guest halts only to be started again, and one that was told to run waits for its start no more.
        if status == "shutdown" or (status == "prelaunch" and domain.state == c.VIR_DOMAIN_RUNNING):
            await self._start_again(guest)
        else:
            await self._look(domain, guest)

    async def _finish_start(self, domain: DomainObject, found: FoundGuest) -> None:
        """The service ended between a guest's start and its record: if it was let run it was started, else it was not.

        As in libvirt, one that was not let run is ended: what it still lacks is known to nobody any more.
        """
        before = domain.facts
        live = found.paths.live_xml.read_text()
        domain.id, domain.live, domain.facts = found.id, live, self.facts(parse_domain(live))
        domain.started = time.time()
        guest = await self._adopt(domain, found)
        if guest is None:
            return
        async with domain.turns.turn("finishing its start", math.inf, self.error_domain):
            try:
                status = (await guest.execute("query-status"))["status"]
            except LibvirtError as e:
                self.host.log.warning("domain '%s' does not answer: %s", domain.name, e)
                status = "prelaunch"
            if self._guests.get(domain.uuid) is not guest:
                return
            if status != "prelaunch":
                await self.moved(domain, STARTED_RUNNING)
                await self._look(domain, guest)
                return
            self.host.log.warning("domain '%s' was not fully started yet; it is ended", domain.name)
            await guest.process.kill()
            self._forget(guest)
            domain.facts = before
            await self.moved(domain, HALF_STARTED)

    def _background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        async def guarded() -> None:
            try:
                await work
            except LibvirtError as e:
                self.host.log.warning("a guest does not answer: %s", e)
            except Exception:
                self.host.log.exception("unexpected failure beside the requests")
        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- what happens by itself -------------------------------------------------------------------------------------

    def _on_event(self, guest: Guest, name: str, data: Mapping[str, Any]) -> None:
        """A QMP event. Called in QEMU's order, from the monitor's reader: it only takes note."""
        domain = self.domains.by_uuid(guest.paths.uuid)
        if name == "SHUTDOWN":
            guest.said_shutdown = True
        if domain is None or self._guests.get(domain.uuid) is not guest:
            return
        if name in STATE_EVENTS:
            self._background(self._take_turn_and_look(domain, guest, _CLAIMS.get(name)))
        elif name == "SHUTDOWN":
            self._background(self._shuts_down(domain, guest, from_guest=bool(data.get("guest"))))
        elif name == "RESET":
            self._background(self._rebooted(domain))

    async def _take_turn_and_look(self, domain: DomainObject, guest: Guest, claim: int | None) -> None:
        """Look, unless the event says what we believe: had the guest changed since, another event would follow."""
        async with domain.turns.turn("looking at it", math.inf, self.error_domain):
            if self._guests.get(domain.uuid) is guest and domain.state != claim:
                await self._look(domain, guest)

    async def _look(self, domain: DomainObject, guest: Guest) -> None:
        """Ask a guest how it is, and tell if that is not what we believed."""
        now = await guest.status()
        if now is not None and now.state != domain.state:
            await self.moved(domain, now)

    async def _shuts_down(self, domain: DomainObject, guest: Guest, *, from_guest: bool) -> None:
        async with domain.turns.turn("shutting down", math.inf, self.error_domain):
            if self._guests.get(domain.uuid) is not guest:
                return
            if guest.restarts:
                await self._start_again(guest)
                return
            detail = c.VIR_DOMAIN_EVENT_SHUTDOWN_GUEST if from_guest else c.VIR_DOMAIN_EVENT_SHUTDOWN_HOST
            await self.moved(domain, Move(c.VIR_DOMAIN_SHUTDOWN, c.VIR_DOMAIN_SHUTDOWN_UNKNOWN,
                                          ((c.VIR_DOMAIN_EVENT_SHUTDOWN, detail),)))

    async def _start_again(self, guest: Guest) -> None:
        """The second half of a reboot. Ended in the middle it is begun again by ``_greet``."""
        await guest.execute("system_reset")
        await guest.execute("set-action", {"shutdown": "poweroff"})
        guest.restarts = guest.said_shutdown = False
        await guest.execute("cont")

    async def _rebooted(self, domain: DomainObject) -> None:
        change = self.host.change()
        change.event(api.REBOOTED, api.RebootBody(domain=domain.reference))
        await self.host.commit(change)

    async def _watch(self, domain: DomainObject, guest: Guest) -> None:
        """Wait for the end of a guest; tell of it unless a request of ours ended it."""
        await guest.ended()
        async with domain.turns.turn("its end", math.inf, self.error_domain):
            if self._guests.get(domain.uuid) is not guest:
                return
            if not guest.said_shutdown:
                self.host.log.warning("%s", exit_error(f"domain '{domain.name}' ended unexpectedly", guest.paths.log))
            self._forget(guest)
            await self.moved(domain, SHUT_DOWN if guest.said_shutdown else CRASHED)

    def _forget(self, guest: Guest) -> None:
        del self._guests[guest.paths.uuid]
        self._background(self._clear_away(guest))

    async def _clear_away(self, guest: Guest) -> None:
        """Nobody waits for this: the next start has directories of its own, and leftovers go when we start."""
        await asyncio.sleep(CLEAR_AWAY)
        guest.resume_reading()
        await clear_after(guest.paths, self.host.state_dir)


def _end_unseen(domain: DomainObject) -> Move:
    """A guest has ended while nobody looked; one that was shutting down has done so."""
    return SHUT_DOWN if domain.state == c.VIR_DOMAIN_SHUTDOWN else GONE
