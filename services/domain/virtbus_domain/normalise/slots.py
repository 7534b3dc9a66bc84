"""Slots: of memory, which is plugged in like a device, and of smart card readers."""

from __future__ import annotations

import contextlib

from virtbus_domain.normalise.address_sets import MemorySlots
from virtbus_domain.normalise.context import Context, qemu_unsupported
from virtbus_domain.xml.address import CcidAddress, DimmAddress
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.memory_device import MemoryDevice
from virtbus_shared.errors import LibvirtError


def assign_ccid(domain: Domain, context: Context) -> None:
    """Smart cards go into the first reader, each behind those that are there."""
    del context
    assert domain.devices
    cards = domain.devices.smartcards
    for card in cards:
        if card.address is None:
            taken = [other.address.slot or 0 for other in cards
                     if isinstance(other.address, CcidAddress) and not other.address.controller]
            card.address = CcidAddress(controller=0, slot=max(taken, default=-1) + 1)


def assign_memory_slots(domain: Domain, context: Context) -> None:
    """Memory modules get the lowest slots that are free. Raises ``LibvirtError`` when there are not enough."""
    modules = _modules(domain, context)
    if not modules or not domain.max_memory_slots:
        return
    slots = MemorySlots(domain.max_memory_slots)
    for address in (memory.address for memory in modules):
        if isinstance(address, DimmAddress):
            with contextlib.suppress(LibvirtError):
                slots.reserve(address)
    for memory in modules:
        if not isinstance(memory.address, DimmAddress):
            memory.address = slots.next_free()
            slots.reserve(memory.address)


def check_memory_places(domain: Domain, context: Context) -> None:
    """Refuse more memory devices than slots, a slot that does not exist, two in one slot or at one guest address."""
    assert domain.devices
    count, limit = len(domain.devices.memories), domain.max_memory_slots
    if not context.qemu or limit is None:
        return
    if count > limit:
        raise qemu_unsupported(f"memory device count '{count}' exceeds slots count '{limit}'")
    places = [memory.address for memory in _modules(domain, context) if isinstance(memory.address, DimmAddress)]
    for place in places:
        if (place.slot or 0) >= limit:
            raise qemu_unsupported(f"memory device slot '{place.slot}' exceeds slots count '{limit}'")
        for other in places:
            if other is not place:
                _check_apart(place, other)


def _check_apart(place: DimmAddress, other: DimmAddress) -> None:
    used = "is already being used by another memory device"
    if place.slot == other.slot:
        raise qemu_unsupported(f"memory device slot '{place.slot}' {used}")
    if place.base and place.base == other.base:
        raise qemu_unsupported(f"memory device base '0x{place.base:x}' {used}")


def _modules(domain: Domain, context: Context) -> list[MemoryDevice]:
    assert domain.devices
    return [memory for memory in domain.devices.memories if context.qemu and memory.model in ("dimm", "nvdimm")]
