"""Starting a guest: everything from its document to a QEMU that runs, in the order in which a crash is harmless.

The run directory and ``live.xml`` are there before QEMU is, so a guest that runs can always be found and understood
again; when a step fails, QEMU, taps and directory are gone and the error says why.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from virtbus_domain.drivers.qemu.capabilities import QemuCapabilities
from virtbus_domain.drivers.qemu.command import before_run, build, taps_needed
from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.guest import Guest
from virtbus_domain.drivers.qemu.monitor import listen
from virtbus_domain.drivers.qemu.names import assign_names, fill_ptys
from virtbus_domain.drivers.qemu.process import launch
from virtbus_domain.drivers.qemu.supported import check_supported
from virtbus_domain.drivers.qemu.tap import create_tap
from virtbus_domain.xml import format_domain
from virtbus_domain.xml.domain import Domain


async def start_guest(guest: Guest, model: Domain, capabilities: QemuCapabilities, kvm_problem: str | None, *,
                      paused: bool) -> str:
    """Start QEMU as ``model`` says; the live document. ``model`` is completed with what really runs.

    Raises ``LibvirtError``.
    """
    check_supported(model)
    guest.paths.create()
    try:
        with ExitStack() as close:
            taps: dict[int, int] = {}
            assert model.devices is not None
            for request in taps_needed(model):
                tap = await create_tap(request.mac, request.bridge, request.name)
                # Our copy: QEMU inherits its own, with which the device lives and ends.
                close.callback(os.close, tap.fd)
                taps[request.position] = tap.fd
                model.devices.interfaces[request.position].target_dev = tap.name
            listener = listen(guest.paths.monitor)
            close.callback(listener.close)
            assign_names(model.devices)
            argv = build(model, capabilities, guest.paths, monitor_fd=listener.fileno(), taps=taps,
                         kvm_problem=kvm_problem)
            _write(guest.paths, format_domain(model, live=True, secure=True))
            process, monitor = await launch(argv, guest.paths, listener, list(taps.values()), guest.event)
        guest.attach(process, monitor)
        try:
            return await _complete(guest, model, paused=paused)
        except BaseException:
            await process.kill()
            raise
    except BaseException:
        guest.paths.remove()
        raise


async def _complete(guest: Guest, model: Domain, *, paused: bool) -> str:
    """What the command line cannot say, and what only QEMU knows; then let it run."""
    for command, arguments in before_run(model):
        await guest.execute(command, arguments)
    assert model.devices is not None
    if any(device.type == "pty" for device in (*model.devices.serials, *model.devices.consoles)):
        fill_ptys(model.devices, await guest.execute("query-chardev"))
    live = format_domain(model, live=True, secure=True)
    _write(guest.paths, live)
    if not paused:
        await guest.execute("cont")
    return live


def _write(paths: GuestPaths, live: str) -> None:
    """Write ``live.xml`` aside and rename it: a crash leaves the old one or the new one."""
    aside = paths.live_xml.with_suffix(".new")
    aside.write_text(live)
    aside.replace(paths.live_xml)

