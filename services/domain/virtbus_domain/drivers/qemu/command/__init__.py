"""A domain as QEMU's command line, and the same parts as QMP commands.

``build`` is a pure function of the document and of what was prepared for it (``Setup``). The part that is the same for
every guest follows libvirt's, with two differences. There is no ``-no-shutdown``: a guest that powers off while no
service is there must really end. And ``-pidfile`` is the first option, because its path is how a running guest is
found again (see ``discovery.py``).
"""

from __future__ import annotations

from typing import NamedTuple

from virtbus_domain.drivers.qemu.command.arguments import Arguments
from virtbus_domain.drivers.qemu.command.boot import (
    append_boot,
    append_firmware,
    append_floppy_order,
    append_platform_devices,
    boot_order,
)
from virtbus_domain.drivers.qemu.command.cpu import cpu_argument
from virtbus_domain.drivers.qemu.command.devices import device_parts
from virtbus_domain.drivers.qemu.command.display import append_graphics
from virtbus_domain.drivers.qemu.command.machine import (
    append_accelerator,
    append_clock,
    append_machine,
    append_power,
    append_vcpus,
)
from virtbus_domain.drivers.qemu.command.memory import append_memory, append_numa
from virtbus_domain.drivers.qemu.command.misc import append_watchdog_action
from virtbus_domain.drivers.qemu.command.parts import append, part_object
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.drivers.qemu.command.sound import append_audio
from virtbus_domain.drivers.qemu.command.sysinfo import append_sysinfo

__all__ = ["CommandLine", "Setup", "boot_order", "build"]

_SANDBOX = {"obsolete": "deny", "elevateprivileges": "deny", "spawn": "deny", "resourcecontrol": "deny"}


class CommandLine(NamedTuple):
    """What is executed: the program and its arguments, and what it finds in its environment beside the usual."""

    argv: list[str]
    environment: dict[str, str]


def build(setup: Setup, *, monitor: str) -> CommandLine:
    """QEMU's command line for a normalised domain whose devices have names; the guest starts paused.

    ``monitor`` is the monitor's socket: "fd=5" for one that QEMU inherits, "path=/..." for one that it makes. Raises
    ``LibvirtError`` (``VIR_ERR_CONFIG_UNSUPPORTED``) for what we would have to leave out.
    """
    domain = setup.domain
    arguments = Arguments(str(setup.capabilities.binary))
    arguments.plain("-pidfile", str(setup.run_dir / "qemu.pid"))
    arguments.keyed("-name", guest=domain.name, debug_threads=True)
    arguments.plain("-S")
    append_firmware(arguments, setup)
    append_machine(arguments, setup)
    append_accelerator(arguments, setup)
    cpu = cpu_argument(domain, setup.capabilities)
    if cpu is not None:
        arguments.plain("-cpu", cpu)
    append_memory(arguments, setup)
    append_vcpus(arguments, setup)
    _iothreads(arguments, setup)
    append_numa(arguments, setup)
    arguments.plain("-uuid", domain.uuid)
    append_sysinfo(arguments, setup)
    for option in ("-no-user-config", "-nodefaults"):
        arguments.plain(option)
    _compatibility(arguments, setup)
    arguments.keyed("-sandbox", "on", **_SANDBOX)
    key, _, value = monitor.partition("=")
    arguments.keyed("-chardev", "socket", id="charmonitor", **{key: value}, server=True, wait=False)
    arguments.keyed("-mon", chardev="charmonitor", id="monitor", mode="control")
    append_clock(arguments, setup)
    append_power(arguments, setup)
    append_boot(arguments, setup)
    append_floppy_order(arguments, setup)
    append_platform_devices(arguments, setup)
    append_audio(arguments, setup)
    append_graphics(arguments, setup)
    append(arguments, device_parts(setup))
    append_watchdog_action(arguments, setup)
    arguments.keyed("-msg", timestamp=True)
    return CommandLine(arguments.list + _own_arguments(setup), _environment(setup))


def _iothreads(arguments: Arguments, setup: Setup) -> None:
    """Threads for disks: those that were described, and as many more as were counted, with the free numbers.

    The main loop, which serves the disks without a thread of their own, has helpers to be counted, too.
    """
    domain = setup.domain
    if domain.defaultiothread_thread_pool_min is not None or domain.defaultiothread_thread_pool_max is not None:
        append(arguments, [part_object("main-loop", "main-loop", thread_pool_min=domain.defaultiothread_thread_pool_min,
                                       thread_pool_max=domain.defaultiothread_thread_pool_max)])
    listed = {thread.id: thread for thread in setup.domain.iothreadids}
    free = (number for number in range(1, 2**16) if number not in listed)
    wanted = [*listed, *(next(free) for _ in range((setup.domain.iothreads or 0) - len(listed)))]
    for number in wanted:
        thread = listed.get(number)
        append(arguments, [part_object(
            "iothread", f"iothread{number}",
            thread_pool_min=thread.thread_pool_min if thread else None,
            thread_pool_max=thread.thread_pool_max if thread else None,
            poll_max_ns=thread.poll_max if thread else None, poll_grow=thread.poll_grow if thread else None,
            poll_shrink=thread.poll_shrink if thread else None)])


def _compatibility(arguments: Arguments, setup: Setup) -> None:
    """What QEMU does when it is used in ways that are to end: for those who want to learn of it early."""
    behavior = setup.domain.qemu_deprecation
    if behavior in ("omit", "reject", "crash"):
        arguments.json("-compat", deprecated_output="hide", deprecated_input=None if behavior == "omit" else behavior)


def _own_arguments(setup: Setup) -> list[str]:
    """The user's own, last, at the user's own risk."""
    commandline = setup.domain.qemu_commandline
    return list(commandline.args) if commandline else []


def _environment(setup: Setup) -> dict[str, str]:
    domain = setup.domain
    environment: dict[str, str] = {}
    if domain.clock and domain.clock.offset == "timezone" and domain.clock.timezone:
        environment["TZ"] = domain.clock.timezone
    for audio in setup.devices.audios:
        if audio.driver is not None:  # the one choice of a back end that is no property
            environment["SDL_AUDIODRIVER"] = audio.driver
    if domain.qemu_commandline:
        environment |= {str(env.name): env.value or "" for env in domain.qemu_commandline.envs}
    return environment
