"""The QEMU driver: what the rows of the domain service do to a QEMU.

Every method is called in its domain's turn and within the request's deadline, so it may simply wait for QEMU: a hung
one holds nothing but its own task. What happens by itself (a guest powers off, a disk fails) arrives as a QMP event
or as the end of the process, waits for the domain's turn, and is then looked at and told.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import AnyProcedure
from virtbus_shared.service.driver import DriverHost

from virtbus_domain.driver import DomainDriver
from virtbus_domain.drivers.qemu.capabilities import CapabilitiesCache, QemuCapabilities, find_emulators
from virtbus_domain.drivers.qemu.discovery import FoundGuest, GuestPaths, find_guests
from virtbus_domain.drivers.qemu.guest import RESUMED, STARTED, STATE_EVENTS, SUSPENDED, Guest
from virtbus_domain.drivers.qemu.guest_capabilities import guest_element
from virtbus_domain.drivers.qemu.process import TERM_GRACE, QemuProcess, exit_error
from virtbus_domain.drivers.qemu.start import start_guest
from virtbus_domain.drivers.qemu.statistics import measure
from virtbus_domain.moves import Move
from virtbus_domain.object import DomainObject, identity
from virtbus_domain.statistics import DomainStatistics, Shape
from virtbus_domain.xml import normalise, parse_domain
from virtbus_domain.xml.domain import Devices, Domain

FIND_TIMEOUT = 3.0  # seconds that a start waits for guests to say how they are; a hung one says so later
ASK_AGAIN = 5.0  # seconds until a hung guest that was found is asked again
PROBE_TIMEOUT = 10.0  # seconds that a start waits for emulators to say what they can

PAUSED = Move(c.VIR_DOMAIN_PAUSED, c.VIR_DOMAIN_PAUSED_USER, (SUSPENDED,))
RUNNING = Move(c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_UNPAUSED, (RESUMED,))
# libvirt's order: the CPUs are let run, and then the start is told.
STARTED_RUNNING = Move(c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_BOOTED, (RESUMED, STARTED))
STARTED_PAUSED = Move(c.VIR_DOMAIN_PAUSED, c.VIR_DOMAIN_PAUSED_USER, (STARTED, SUSPENDED))
DESTROYED = Move(c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_DESTROYED,
                 ((c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_DESTROYED),))
SHUT_DOWN = Move(c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_SHUTDOWN,
                 ((c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN),))
CRASHED = Move(c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_CRASHED,
               ((c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_FAILED),))
# It ran when we last looked and nobody was there to see why it ended.
GONE = Move(c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_UNKNOWN,
            ((c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_FAILED),))
# The service ended in the middle of its start, before it was let run and before anybody was told of it.
HALF_STARTED = Move(c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_DAEMON)


class QemuDriver(DomainDriver):
    """``qemu:///system``."""

    paths = ("/system",)
    type_name = "QEMU"
    prefix = "qemu"
    error_domain = c.VIR_FROM_QEMU
    flags: ClassVar[Mapping[str, int]] = {
        "DomainCreateWithFlags": c.VIR_DOMAIN_START_PAUSED,
        "DomainCreateXML": c.VIR_DOMAIN_START_PAUSED,
        "DomainGetXMLDesc": c.VIR_DOMAIN_XML_SECURE | c.VIR_DOMAIN_XML_INACTIVE | c.VIR_DOMAIN_XML_MIGRATABLE,
        "DomainUndefineFlags": (c.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | c.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
                                | c.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA),
        "DomainDestroyFlags": c.VIR_DOMAIN_DESTROY_GRACEFUL,
        "DomainShutdownFlags": c.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN | c.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT,
        "DomainReboot": c.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN | c.VIR_DOMAIN_REBOOT_GUEST_AGENT,
        "DomainGetVcpusFlags": c.VIR_DOMAIN_AFFECT_LIVE | c.VIR_DOMAIN_AFFECT_CONFIG | c.VIR_DOMAIN_VCPU_MAXIMUM,
    }

    def __init__(self, host: DriverHost) -> None:
        super().__init__(host)
        self._cache = CapabilitiesCache()
        self._emulators: dict[str, QemuCapabilities] = {}  # by architecture: those that answered
        self._guests: dict[str, Guest] = {}  # by UUID
        self._tasks: set[asyncio.Task[None]] = set()

    # -- start and stop of the service ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load definitions, find the guests that run, learn what the emulators can do."""
        self.load()
        emulators = asyncio.create_task(self._ask_emulators())
        found = {guest.uuid: guest for guest in find_guests(self.host.run_dir)}
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
        with suppress(TimeoutError):
            async with asyncio.timeout(PROBE_TIMEOUT):
                await emulators

    async def stop(self) -> None:
        """Let go of all guests; they go on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for guest in self._guests.values():
            await guest.release()

    async def _ask_emulators(self) -> None:
        for arch, binary in find_emulators().items():
            try:
                self._emulators[arch] = await self._cache.get(binary)
            except LibvirtError as e:
                self.host.log.warning("emulator %s cannot be used: %s", binary, e)

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
            self._background(self._take_turn_and_look(domain, guest))
        elif name == "SHUTDOWN":
            self._background(self._shuts_down(domain, guest, from_guest=bool(data.get("guest"))))
        elif name == "RESET":
            self._background(self._rebooted(domain))

    async def _take_turn_and_look(self, domain: DomainObject, guest: Guest) -> None:
        async with domain.turns.turn("looking at it", math.inf, self.error_domain):
            if self._guests.get(domain.uuid) is guest:
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
        # Not waited for: the next start has a directory of its own, and a left-over one is removed when we start.
        self._background(asyncio.to_thread(guest.paths.remove))

    # -- facts ------------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """That of the emulator for this node's own architecture."""
        own = self._emulators.get(os.uname().machine)
        return own.version if own else 0

    def max_vcpus(self, domain_type: str) -> int:
        """libvirt's answer for emulation, the machine's limit for KVM."""
        match domain_type.lower():
            case "" | "qemu":
                return 16
            case "kvm":
                own = self._emulators.get(os.uname().machine)
                return max((m.max_cpus for m in own.machines), default=16) if own else 16
        raise LibvirtError(c.VIR_ERR_INVALID_ARG, f"unknown type '{domain_type}'", domain=self.error_domain)

    async def capabilities(self) -> str:
        """One ``<guest>`` for each emulator that answered. Whether KVM works is tried once: it may be there and hang."""
        return "".join([guest_element(e, kvm=await self._cache.kvm_problem(e.binary) is None)
                        for e in self._emulators.values()])

    def cpu_time(self, domain: DomainObject) -> int:
        """All CPU time of the QEMU process."""
        guest = self._guests.get(domain.uuid)
        return guest.process.cpu_time() if guest else 0

    async def statistics(self, domain: DomainObject, shape: Shape) -> DomainStatistics | None:
        """The kernel's figures and QEMU's."""
        guest = self._guests.get(domain.uuid)
        return await measure(guest, shape, domain.facts.max_memory * 1024) if guest else None

    async def read(self, xml: str) -> Domain:
        """A document with the defaults of this node's QEMU."""
        model = parse_domain(xml)
        if model.type not in ("qemu", "kvm"):
            raise LibvirtError(c.VIR_ERR_INVALID_ARG, f"could not find capabilities for domaintype={model.type}",
                               domain=c.VIR_FROM_CAPABILITIES)
        capabilities = await self._cache.get(self._emulator(model))
        model.devices = model.devices or Devices()
        model.devices.emulator = str(capabilities.binary)
        normalise(model, "qemu", machine=lambda _arch, name: capabilities.canonical_machine(name).name)
        return model

    def _emulator(self, model: Domain) -> Path:
        if model.devices and model.devices.emulator:
            return Path(model.devices.emulator)
        arch = (model.os.arch if model.os else None) or os.uname().machine
        binary = find_emulators().get(arch)
        if binary is None:
            raise LibvirtError(c.VIR_ERR_INVALID_ARG, f"could not find capabilities for arch={arch}: no "
                               f"qemu-system-{arch} in PATH", domain=c.VIR_FROM_CAPABILITIES)
        return binary

    # -- the rows ---------------------------------------------------------------------------------------------------

    def check(self, row: AnyProcedure, domain: DomainObject) -> None:
        """As QEMU's driver in libvirt words it."""
        super().check(row, domain)
        if row is api.RESUME and domain.state == c.VIR_DOMAIN_RUNNING:
            raise self.invalid("domain is already running", self.error_domain)
        if row in (api.SUSPEND, api.RESUME) and domain.state == c.VIR_DOMAIN_PMSUSPENDED:
            raise self.invalid("domain is pmsuspended", self.error_domain)

    def _guest(self, domain: DomainObject) -> Guest:
        guest = self._guests.get(domain.uuid)
        if guest is None:
            raise self.invalid("domain is not running", c.VIR_FROM_DOMAIN)
        return guest

    async def domain_create(self, domain: DomainObject, model: Domain, flags: int) -> Move:
        """Start QEMU, connect to it, and let it run. When that fails, nothing is left of it."""
        paused = bool(flags & c.VIR_DOMAIN_START_PAUSED)
        capabilities = await self._cache.get(self._emulator(model))
        problem = await self._cache.kvm_problem(capabilities.binary) if model.type == "kvm" else None
        guest = Guest(GuestPaths(self.host.run_dir, domain.id, domain.uuid), self._on_event)
        domain.live = await start_guest(guest, model, capabilities, problem, paused=paused)
        self._guests[domain.uuid] = guest
        self._background(self._watch(domain, guest))
        return STARTED_PAUSED if paused else STARTED_RUNNING

    def _refuse_agent(self, flags: int) -> None:
        if flags & c.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT:  # the same bit for reboot
            raise LibvirtError(c.VIR_ERR_ARGUMENT_UNSUPPORTED, "QEMU guest agent is not configured",
                               domain=self.error_domain)

    async def domain_shutdown(self, domain: DomainObject, flags: int) -> None:
        """Press the power button; the guest tells when it obeys."""
        self._refuse_agent(flags)
        guest = self._guest(domain)
        if guest.restarts:
            guest.restarts = False
            await guest.execute("set-action", {"shutdown": "poweroff"})
        await guest.execute("system_powerdown")

    async def domain_reboot(self, domain: DomainObject, flags: int) -> None:
        """Press the power button, and start the guest again when it has shut down.

        ACPI has no button for a restart. QEMU is told to halt at the shutdown instead of ending; ``_start_again``
        does the rest, also when another run of the service finds the guest halted.
        """
        self._refuse_agent(flags)
        guest = self._guest(domain)
        guest.restarts = True
        await guest.execute("set-action", {"shutdown": "pause"})
        await guest.execute("system_powerdown")

    async def domain_reset(self, domain: DomainObject, flags: int) -> None:
        """Reset the machine."""
        del flags
        await self._guest(domain).execute("system_reset")

    async def domain_destroy(self, domain: DomainObject, flags: int) -> Move:
        """End QEMU: SIGTERM, with which it flushes its disks, then SIGKILL unless that was forbidden."""
        guest = self._guest(domain)
        await guest.process.terminate(grace=TERM_GRACE, force=not flags & c.VIR_DOMAIN_DESTROY_GRACEFUL)
        self._forget(guest)
        return DESTROYED

    async def domain_suspend(self, domain: DomainObject) -> Move | None:
        """Stop the virtual CPUs; a paused guest stays so."""
        await self._guest(domain).execute("stop")
        return None if domain.state == c.VIR_DOMAIN_PAUSED else PAUSED

    async def domain_resume(self, domain: DomainObject) -> Move:
        """Let the virtual CPUs run."""
        await self._guest(domain).execute("cont")
        return RUNNING


def _end_unseen(domain: DomainObject) -> Move:
    """A guest has ended while nobody looked; one that was shutting down has done so."""
    return SHUT_DOWN if domain.state == c.VIR_DOMAIN_SHUTDOWN else GONE
