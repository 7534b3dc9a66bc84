"""The QEMU driver: what the rows of the domain service do to a QEMU.

Every method is called in its domain's turn and within the request's deadline, so it may simply wait for QEMU: a hung
one holds nothing but its own task. What guests do by themselves is in ``running``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar

from virtbus_domain.drivers.qemu.capabilities import QemuCapabilities, find_emulators
from virtbus_domain.drivers.qemu.capabilities_cache import CapabilitiesCache
from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.guest import Guest
from virtbus_domain.drivers.qemu.guest_capabilities import guest_element
from virtbus_domain.drivers.qemu.native import from_arguments, native_arguments
from virtbus_domain.drivers.qemu.process import TERM_GRACE
from virtbus_domain.drivers.qemu.reading import complete_read, find_emulator, read_model
from virtbus_domain.drivers.qemu.running import (
    DESTROYED,
    KILLED,
    PAUSED,
    RUNNING,
    STARTED_PAUSED,
    STARTED_RUNNING,
    RunningGuests,
)
from virtbus_domain.drivers.qemu.start import start_guest
from virtbus_domain.drivers.qemu.statistics import measure
from virtbus_domain.moves import Move
from virtbus_domain.normalise import migratable
from virtbus_domain.object import DomainObject
from virtbus_domain.statistics import DomainStatistics, Shape
from virtbus_domain.xml import format_domain, parse_domain
from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.errors import LibvirtError, invalid_arg
from virtbus_shared.procedure import AnyProcedure
from virtbus_shared.service.driver import DriverHost
from virtbus_shared.timeout import timeout

PROBE_TIMEOUT = 10.0  # seconds that a start waits for emulators to say what they can


class QemuDriver(RunningGuests):
    """``qemu:///system``."""

    paths = ("/system",)
    type_name = "QEMU"
    prefix = "qemu"
    error_domain = c.VIR_FROM_QEMU
    flags: ClassVar[Mapping[str, int]] = {
        "DomainCreateWithFlags": c.VIR_DOMAIN_START_PAUSED,
        "DomainCreateXML": c.VIR_DOMAIN_START_PAUSED | c.VIR_DOMAIN_START_VALIDATE,
        "DomainDefineXMLFlags": c.VIR_DOMAIN_DEFINE_VALIDATE,
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
        self._cache = CapabilitiesCache(host.state_dir / "emulators")
        self._emulators: dict[str, QemuCapabilities] = {}  # by architecture: those that answered

    # -- start and stop of the service ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load definitions, find the guests that run, learn what the emulators can do."""
        self.load()
        emulators = asyncio.create_task(self._ask_emulators())
        await self._find()
        with suppress(TimeoutError):
            async with timeout(PROBE_TIMEOUT):
                await emulators

    async def _ask_emulators(self) -> None:
        for arch, binary in find_emulators().items():
            try:
                self._emulators[arch] = await self._cache.get(binary)
            except LibvirtError as e:
                self.host.log.warning("emulator %s cannot be used: %s", binary, e)

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
        """One ``<guest>`` for each emulator that answered. Whether KVM works is tried once: it may hang."""
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
        read_model(model)
        complete_read(model, await self._cache.get(find_emulator(model)), self.host.state_dir / "nvram")
        return model

    def drop_implicit(self, model: Domain) -> None:
        """As libvirt, which has added devices over the years that old releases refuse."""
        migratable.drop_implicit(model)

    # -- the rows ---------------------------------------------------------------------------------------------------

    def check(self, row: AnyProcedure, domain: DomainObject) -> None:
        """As QEMU's driver in libvirt words it. A paused guest cannot hear the power button."""
        if row is api.SHUTDOWN and domain.state != c.VIR_DOMAIN_RUNNING:
            raise self.invalid("domain is not running", self.error_domain)
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
        capabilities = await self._cache.get(find_emulator(model), with_kvm=model.type == "kvm")
        problem = await self._cache.kvm_problem(capabilities.binary) if model.type == "kvm" else None
        guest = Guest(GuestPaths(self.host.run_dir, domain.id, domain.uuid), self._on_event)
        domain.live = await start_guest(guest, model, capabilities, self.host.state_dir,
                                        kvm_problem=problem, paused=paused)
        self._guests[domain.uuid] = guest
        self._background(self._watch(domain, guest))
        return STARTED_PAUSED if paused else STARTED_RUNNING

    async def domain_xml_to_native(self, native: str, xml: str, flags: int = 0) -> str:
        """QEMU's arguments as a start would build them, with nothing made for it: shell words on one line."""
        self.require_flags("ConnectDomainXMLToNative", flags)
        _require_format(native)
        model = await self.read(xml)
        capabilities = await self._cache.get(find_emulator(model), with_kvm=model.type == "kvm")
        problem = await self._cache.kvm_problem(capabilities.binary) if model.type == "kvm" else None
        return native_arguments(model, capabilities, self.host.run_dir, self.host.state_dir / "nvram",
                                kvm_problem=problem)

    async def domain_xml_from_native(self, native: str, config: str, flags: int = 0) -> str:
        """The document for arguments of ``domain_xml_to_native``."""
        self.require_flags("ConnectDomainXMLFromNative", flags)
        _require_format(native)
        return format_domain(from_arguments(config), live=False, secure=True)

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

    def interrupt(self, domain: DomainObject) -> None:
        """End QEMU now if something holds the turn: a command to a hung one fails with its monitor and lets go."""
        guest = self._guests.get(domain.uuid)
        if guest is not None and domain.turns.holder:
            self._background(self._end(guest))

    async def _end(self, guest: Guest) -> None:
        await guest.process.terminate()

    async def domain_destroy(self, domain: DomainObject, flags: int) -> Move:
        """End QEMU: SIGTERM, with which it flushes its disks, then SIGKILL unless that was forbidden."""
        guest = self._guest(domain)
        guest.pause_reading()
        try:
            obeyed = await guest.process.terminate(grace=TERM_GRACE, force=not flags & c.VIR_DOMAIN_DESTROY_GRACEFUL)
        except BaseException:
            guest.resume_reading()
            raise
        self._forget(guest)
        return DESTROYED if obeyed else KILLED

    async def domain_suspend(self, domain: DomainObject) -> Move | None:
        """Stop the virtual CPUs; a paused guest stays so."""
        await self._guest(domain).execute("stop")
        return None if domain.state == c.VIR_DOMAIN_PAUSED else PAUSED

    async def domain_resume(self, domain: DomainObject) -> Move:
        """Let the virtual CPUs run."""
        await self._guest(domain).execute("cont")
        return RUNNING


def _require_format(native: str) -> None:
    if native != "qemu-argv":
        raise invalid_arg(f"unsupported config type {native}")
