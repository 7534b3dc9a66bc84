"""Slots: of memory, which is plugged in like a device, and of smart card readers."""

from __future__ import annotations

from virtbus_domain.normalise.address_sets import MemorySlots
from virtbus_domain.normalise.context import Context, qemu_unsupported
from virtbus_domain.xml.address import CcidAddress, DimmAddress
from virtbus_domain.xml.domain import Domain


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
    """Memory modules get the lowest slots that are free. Raises ``LibvirtError`` when one is taken or all are."""
    assert domain.devices
    modules = [memory for memory in domain.devices.memories if memory.model in ("dimm", "nvdimm")]
    if not context.qemu or not modules or not domain.max_memory_slots:
        return
    slots = MemorySlots(domain.max_memory_slots)
    bases: set[int] = set()
    for memory in modules:
        address = memory.address
        if isinstance(address, DimmAddress):
            slots.reserve(address)
            if address.base:
                if address.base in bases:
                    raise qemu_unsupported(f"memory device base '0x{address.base:x}' is already being used by another "
                                           "memory device")
                bases.add(address.base)
    for memory in modules:
        if not isinstance(memory.address, DimmAddress):
            memory.address = slots.next_free()
            slots.reserve(memory.address)
