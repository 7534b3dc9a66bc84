"""A real QEMU that runs a domain, to which devices come and go: what tests of live changes share.

The guest is started as the service starts it, emulated and as a rule paused. ``state`` is all that QEMU has of what a
change may leave behind, so that two of them can be compared.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.components import require_program
from virtbus_domain.drivers.qemu.capabilities import QemuCapabilities
from virtbus_domain.drivers.qemu.capabilities_probe import probe
from virtbus_domain.drivers.qemu.command.live import Change, attach, detach, update
from virtbus_domain.drivers.qemu.command.live_disk import drive_path
from virtbus_domain.drivers.qemu.command.live_places import place_new, with_device, without_device
from virtbus_domain.drivers.qemu.command.live_run import Reports, carry_out
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.guest import Guest
from virtbus_domain.drivers.qemu.reading import complete
from virtbus_domain.drivers.qemu.start import start_guest
from virtbus_domain.normalise import Context
from virtbus_domain.xml import parse_domain
from virtbus_domain.xml.disk import Disk
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.fragment import parse_device
from virtbus_shared.service.xml_lines import lines_of

UUID = "6f1b3a52-9f0e-4a55-8f2c-0d3f5e4a7b10"
CONTEXT = Context("qemu")
PORTS = "<controller type='pci' model='pcie-root'/>" + "<controller type='pci' model='pcie-root-port'/>" * 12
FAMILIES = {line.path: name for name, line in lines_of(Devices).items()}  # name of an element: field of Devices


NUMA = "<maxMemory slots='4' unit='GiB'>4</maxMemory>" \
       "<cpu><numa><cell id='0' cpus='0' memory='256' unit='MiB'/></numa></cpu>"  # of guests that take memory modules


@functools.cache
def x86_capabilities() -> QemuCapabilities:
    """What this machine's emulator of x86 can do."""
    return asyncio.run(probe(require_program("qemu-system-x86_64")))


def domain_of(capabilities: QemuCapabilities, devices: str = "", *, machine: str = "q35", top: str = "",
              os: str = "") -> Domain:
    """A complete definition with these parts."""
    domain = parse_domain(
        f"<domain type='qemu'><name>guest</name><uuid>{UUID}</uuid><memory unit='MiB'>256</memory>{top}"
        f"<os><type arch='x86_64' machine='{machine}'>hvm</type>{os}</os><features><acpi/></features>"
        f"<devices>{devices}</devices></domain>")
    complete(domain, capabilities, Path("/nonexistent"))
    return domain


def device_of(capabilities: QemuCapabilities, xml: str) -> tuple[str, Any]:
    """A device's family, and the device with its defaults, as a client's document describes it."""
    tag, given = parse_device(xml)
    family = FAMILIES[tag]
    held = domain_of(capabilities, PORTS + xml, top=NUMA if family == "memories" else "").devices
    found = getattr(held, family)
    device = found[0] if isinstance(found, list) else found
    if family in ("inputs", "channels", "consoles", "controllers"):  # some come by themselves
        device = next(other for other in found if _agrees(other, given))
    device.address, device.alias = given.address, given.alias  # type: ignore[attr-defined]
    if family == "controllers":
        device.index = given.index  # type: ignore[attr-defined]
    return family, device


def _agrees(device: Any, given: Any) -> bool:
    return all(getattr(device, name) == getattr(given, name) for name in lines_of(type(given))
               if getattr(given, name) not in (None, []) and name not in ("target", "address"))


def setup_of(domain: Domain, capabilities: QemuCapabilities, run_dir: Path = Path("/run/guest"),
             **prepared: Any) -> Setup:
    """What a running domain's devices are built from."""
    assert domain.os is not None
    return Setup(domain=domain, capabilities=capabilities, run_dir=run_dir,
                 machine=capabilities.canonical_machine(domain.os.machine), **prepared)


class LiveGuest:
    """A guest, what it is made of, and the changes that tests make to it."""

    def __init__(self, guest: Guest, domain: Domain, capabilities: QemuCapabilities, reports: Reports) -> None:
        self.guest = guest
        self.domain = domain
        self.capabilities = capabilities
        self.reports = reports
        self.said: list[tuple[str, Mapping[str, Any]]] = []

    @property
    def devices(self) -> Devices:
        """Its devices as they are."""
        assert self.domain.devices is not None
        return self.domain.devices

    @property
    def setup(self) -> Setup:
        """What its devices are built from."""
        return setup_of(self.domain, self.capabilities, self.guest.paths.directory)

    async def ask(self, command: str, arguments: Mapping[str, object] | None = None) -> Any:
        """QEMU's answer to a command."""
        return await self.guest.execute(command, arguments)

    async def carry_out(self, change: Change, *, patience: float = 30.0) -> Change:
        """Carry a change out; what of it remains."""
        return await carry_out(change, self.guest.execute, self.reports, patience=patience)

    async def attach(self, xml: str) -> tuple[str, Any]:
        """Plug in what a document describes; its family and what it has become."""
        family, device = device_of(self.capabilities, xml)
        await self.attach_device(family, device)
        return family, device

    async def attach_device(self, family: str, device: Any) -> None:
        """Plug in a device, and before it the controllers that it needs."""
        for controller in place_new(self.domain, family, device, CONTEXT):
            await self.carry_out(attach("controllers", controller, self.setup))
            self.domain = with_device(self.domain, "controllers", controller)
        await self.carry_out(attach(family, device, self.setup))
        self.domain = with_device(self.domain, family, device)

    async def detach(self, family: str, device: Any) -> None:
        """Take a device out."""
        assert await self.carry_out(detach(family, device, self.setup)) == ()
        self.domain = without_device(self.domain, family, device)

    async def update(self, family: str, old: Any, new: Any, *, force: bool = False) -> None:
        """Make a device another one."""
        await self.carry_out(update(family, old, new, self.setup, force=force))
        devices = self.devices
        held = getattr(devices, family)
        setattr(devices, family, [new if other is old else other for other in held] if isinstance(held, list) else new)

    async def state(self) -> dict[str, Any]:
        """What QEMU has: devices, objects, the block graph, the ends on the host."""
        drives = await self.ask("query-block")
        nodes = await self.ask("query-named-block-nodes", {"flat": True})
        return {
            "devices": await self._names("/machine/peripheral"), "objects": await self._names("/objects"),
            "nodes": sorted((node["node-name"], node["drv"], node["file"], node["ro"]) for node in nodes),
            "drives": sorted((drive["qdev"], drive.get("inserted", {}).get("node-name", ""),
                              str(drive.get("tray_open"))) for drive in drives if "qdev" in drive),
            "chardevs": sorted(chardev["label"] for chardev in await self.ask("query-chardev")),
            "network": await self.ask("human-monitor-command", {"command-line": "info network"})}

    async def _names(self, path: str) -> list[str]:
        return sorted(item["name"] for item in await self.ask("qom-list", {"path": path}) if item["name"] != "type")

    async def top_node(self, disk: Disk) -> str:
        """The node that a drive uses."""
        return str(await self.ask("qom-get", {"path": drive_path(disk), "property": "drive"}))


@asynccontextmanager
async def live_guest(domain: Domain, capabilities: QemuCapabilities, run_dir: Path, *,
                     paused: bool = True) -> AsyncIterator[LiveGuest]:
    """A guest that runs a domain; it is killed at the end, and QEMU must have had nothing to complain about."""
    reports = Reports()
    said: list[tuple[str, Mapping[str, Any]]] = []

    def hear(_guest: Guest, name: str, data: Mapping[str, Any]) -> None:
        said.append((name, data))
        reports.hear(name, data)

    guest = Guest(GuestPaths(run_dir, 1, UUID), hear)
    await start_guest(guest, domain, capabilities, run_dir, kvm_problem=None, paused=paused)
    try:
        live = LiveGuest(guest, domain, capabilities, reports)
        live.said = said
        yield live
    finally:
        await guest.process.kill()
        await guest.ended()
        guest.paths.remove()
