"""Starting a guest: everything from its document to a QEMU that runs, in the order in which a crash is harmless.

The run directory and ``live.xml`` are there before QEMU is, so a guest that runs can always be found and understood
again; when a step fails, QEMU, taps and directory are gone and the error says why.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from virtbus_domain.drivers.qemu.affinity import pin_threads, pins_of
from virtbus_domain.drivers.qemu.capabilities import QemuCapabilities
from virtbus_domain.drivers.qemu.clearing import clear_after
from virtbus_domain.drivers.qemu.command import build
from virtbus_domain.drivers.qemu.command.devices import of_family
from virtbus_domain.drivers.qemu.command.live_settings import SETTINGS
from virtbus_domain.drivers.qemu.command.parts import Command
from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.guest import Guest
from virtbus_domain.drivers.qemu.lookups import NO_LOOKUPS, Lookups
from virtbus_domain.drivers.qemu.monitor import listen
from virtbus_domain.drivers.qemu.names import fill_ptys
from virtbus_domain.drivers.qemu.prepare import prepare
from virtbus_domain.drivers.qemu.process import launch
from virtbus_domain.drivers.qemu.supported import check_supported
from virtbus_domain.drivers.qemu.vcpus import plug_vcpus, plugged_vcpus
from virtbus_domain.xml import format_domain
from virtbus_domain.xml.domain import Domain


async def start_guest(guest: Guest, model: Domain, capabilities: QemuCapabilities, state_dir: Path, *,
                      kvm_problem: str | None, paused: bool, lookups: Lookups = NO_LOOKUPS) -> str:
    """Start QEMU as ``model`` says; the live document. ``model`` is completed with what really runs.

    Raises ``LibvirtError``.
    """
    check_supported(model)
    guest.paths.create()
    try:
        async with AsyncExitStack() as stack:
            setup = await prepare(model, capabilities, guest.paths, state_dir, stack, kvm_problem=kvm_problem,
                                  lookups=lookups)
            listener = listen(guest.paths.monitor)
            stack.callback(listener.close)
            line = build(setup, monitor=f"fd={listener.fileno()}")
            _write(guest.paths, format_domain(model, live=True, secure=True))
            inherited = [int(number) for numbers in setup.descriptors.values() for number in numbers]
            process, monitor = await launch(line.argv, guest.paths, listener, inherited, guest.event,
                                            environment=line.environment)
        guest.attach(process, monitor)
        try:
            return await _complete(guest, model, paused=paused)
        except BaseException:
            await process.kill()
            raise
    except BaseException:
        await clear_after(guest.paths, state_dir)
        raise


async def _complete(guest: Guest, model: Domain, *, paused: bool) -> str:
    """What the command line cannot say, and what only QEMU knows; then let it run."""
    if plugged_vcpus(model):
        for command, arguments in plug_vcpus(model, await guest.execute("query-hotpluggable-cpus")):
            await guest.execute(command, arguments)
    pins = pins_of(model)
    if pins is not None:
        pin_threads(guest.process.pid, pins, await guest.execute("query-cpus-fast"),
                    await guest.execute("query-iothreads"))
    for command, arguments in before_run(model):
        await guest.execute(command, arguments)
    assert model.devices is not None
    devices = model.devices
    if any(device.type == "pty" for device in (
            *devices.serials, *devices.parallels, *devices.consoles, *devices.channels)):
        fill_ptys(devices, await guest.execute("query-chardev"))
    live = format_domain(model, live=True, secure=True)
    _write(guest.paths, live)
    if not paused:
        await guest.execute("cont")
    return live


def before_run(domain: Domain) -> list[Command]:
    """The QMP commands that complete a start, before ``cont``: what the command line cannot say."""
    assert domain.devices is not None
    commands = [command for family, setting in SETTINGS.items()
                # A watchdog's action is an option: it has to hold from the guest's first moment on.
                if family != "watchdogs" for device in of_family(domain.devices, family) if setting.matters(device)
                for command in setting.commands(device)]
    balloon = domain.devices.memballoon
    if balloon is not None and balloon.model != "none" and domain.memory and domain.current_memory and (
            domain.current_memory < domain.memory):
        commands.append(Command("balloon", {"value": domain.current_memory * 1024}))
    return commands


def _write(paths: GuestPaths, live: str) -> None:
    """Write ``live.xml`` aside and rename it: a crash leaves the old one or the new one."""
    aside = paths.live_xml.with_suffix(".new")
    aside.write_text(live)
    aside.replace(paths.live_xml)

