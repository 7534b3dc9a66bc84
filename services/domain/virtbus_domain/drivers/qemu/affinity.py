"""Which of the host's CPUs the threads of a guest may run on.

There is no option for it: QEMU is asked which thread is which virtual CPU or I/O thread, and the kernel is told before
the guest runs. All other threads are the emulator's own, and those that it makes later take after them. Memory is
bound to nodes by its back ends and needs nothing here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from virtbus_domain.xml.bitmap import numbers
from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


class Pins(NamedTuple):
    """Sets of the host's CPUs: for single virtual CPUs and I/O threads by number, and for everything else.

    ``emulator`` is for the emulator's own threads, ``others`` for CPUs and I/O threads that have no set of their own;
    None for no restriction.
    """

    vcpus: Mapping[int, str]
    iothreads: Mapping[int, str]
    emulator: str | None
    others: str | None


def pins_of(domain: Domain) -> Pins | None:
    """What a document says; None when it restricts nothing."""
    tune, others = domain.cputune, domain.vcpu_cpuset
    vcpus = {int(pin.vcpu or 0): pin.cpuset or "" for pin in tune.vcpupins} if tune else {}
    iothreads = {int(pin.iothread or 0): pin.cpuset or "" for pin in tune.iothreadpins} if tune else {}
    emulator = (tune.emulatorpin if tune else None) or others
    return Pins(vcpus, iothreads, emulator, others) if vcpus or iothreads or emulator else None


def pin_threads(pid: int, pins: Pins, cpus: Iterable[Mapping[str, Any]], iothreads: Iterable[Mapping[str, Any]]
                ) -> None:
    """Restrict the threads of a process. ``cpus`` and ``iothreads`` are QEMU's answers to ``query-cpus-fast`` and
    ``query-iothreads``. Raises ``LibvirtError`` (``VIR_ERR_SYSTEM_ERROR``) when the host has none of these CPUs."""
    wanted: dict[int, set[int]] = {}
    known: set[int] = set()

    def want(thread: int, cpuset: str | None) -> None:
        known.add(thread)
        if cpuset is not None:  # emulated CPUs can share a thread, which then needs all that they may use
            wanted.setdefault(thread, set()).update(numbers(cpuset))

    for cpu in cpus:
        want(int(cpu["thread-id"]), pins.vcpus.get(int(cpu["cpu-index"]), pins.others))
    for iothread in iothreads:
        number = str(iothread["id"]).removeprefix("iothread")
        own = pins.iothreads.get(int(number)) if number.isdecimal() else None
        want(int(iothread["thread-id"]), own if own is not None else pins.others)
    for thread in (int(entry) for entry in os.listdir(f"/proc/{pid}/task")):
        if thread not in known:
            want(thread, pins.emulator)
    for thread, cpuset in wanted.items():
        _restrict(thread, cpuset)


def _restrict(thread: int, cpuset: set[int]) -> None:
    try:
        os.sched_setaffinity(thread, cpuset)
    except ProcessLookupError:  # one of the emulator's helpers, which come and go
        return
    except OSError as error:
        raise LibvirtError(c.VIR_ERR_SYSTEM_ERROR, f"cannot set CPU affinity on process {thread}: {error.strerror}",
                           domain=c.VIR_FROM_NONE, int1=error.errno or -1) from error
