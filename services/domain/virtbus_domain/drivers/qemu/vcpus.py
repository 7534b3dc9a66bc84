"""Virtual CPUs that can be unplugged: QEMU starts without them, and they are plugged in before the guest runs.

A CPU that QEMU itself starts with can never be taken out. So ``-smp`` counts those that stay, which have to be the
first ones, and each other one is a device of its own, in the order that the document gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from virtbus_domain.drivers.qemu.command.arguments import unsupported
from virtbus_domain.drivers.qemu.command.parts import Command
from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

# Where a CPU sits, from the outside in: QEMU numbers them in this order.
_PLACES = ("node-id", "socket-id", "die-id", "cluster-id", "core-id", "thread-id")


def first_vcpus(domain: Domain) -> int:
    """With how many CPUs QEMU starts. Raises ``LibvirtError`` when others than the first ones are to stay."""
    if not domain.vcpus:
        return domain.vcpu_current or domain.vcpu or 1
    staying = [vcpu.id for vcpu in domain.vcpus if vcpu.enabled and not vcpu.hotpluggable]
    if staying != list(range(len(staying))):
        raise unsupported(f"/domain/vcpus/vcpu: CPUs {staying} that cannot be unplugged and are not the first ones")
    return len(staying)


def plugged_vcpus(domain: Domain) -> list[int]:
    """The numbers of the CPUs that are plugged in afterwards, in their order."""
    plugged = [vcpu for vcpu in domain.vcpus if vcpu.enabled and vcpu.hotpluggable]
    return [int(vcpu.id or 0) for vcpu in sorted(plugged, key=lambda vcpu: (vcpu.order or 0, vcpu.id or 0))]


def plug_vcpus(domain: Domain, slots: Iterable[Mapping[str, Any]]) -> list[Command]:
    """The commands that plug in what is missing; ``slots`` is QEMU's answer to ``query-hotpluggable-cpus``."""
    by_number = sorted(slots, key=lambda slot: [slot["props"].get(place, -1) for place in _PLACES])
    commands = []
    for number in plugged_vcpus(domain):
        slot = by_number[number] if number < len(by_number) else None
        if slot is None or slot["vcpus-count"] != 1 or "qom-path" in slot:
            raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, f"the emulator has no free place for vcpu '{number}'",
                               domain=c.VIR_FROM_QEMU)
        commands.append(Command("device_add", {"driver": slot["type"], "id": f"vcpu{number}", **slot["props"]}))
    return commands
