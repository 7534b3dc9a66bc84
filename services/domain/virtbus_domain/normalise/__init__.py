"""What libvirt fills in and refuses when it defines a domain: named passes over the model, one rule each.

A client writes little; what comes back from define is complete, and that completed form is what is stored, so that a
later release with other defaults does not change a guest. The passes follow libvirt 9.0.0, which the tests compare
with where it is installed; the order is that of ``PASSES``, which is libvirt's: first what the machine brings along,
then each device, then what devices need of each other, then addresses, then what must not be. Parsing adds nothing, so
that status files, device fragments and live updates can share the parser.
"""

from __future__ import annotations

from collections.abc import Callable

from virtbus_domain.normalise import (
    addresses,
    chardevs,
    checks,
    controllers,
    disks,
    display,
    drive,
    foreign,
    identity,
    implicit,
    interfaces,
    pci,
    platform,
    resources,
    slots,
    usb,
    virtio_serial,
)
from virtbus_domain.normalise.context import Context
from virtbus_domain.normalise.runtime import drop_runtime, forget_runtime
from virtbus_domain.xml.domain import Domain

__all__ = ["PASSES", "Context", "drop_runtime", "normalise"]

Pass = Callable[[Domain, Context], None]

PASSES: tuple[Pass, ...] = (
    identity.check_identity, implicit.give_devices, forget_runtime, platform.require_os_type,
    foreign.refuse_incomplete, foreign.drop_foreign, addresses.complete_addresses,
    # the machine
    identity.complete_sysinfo, identity.give_uuid, platform.complete_os, platform.complete_firmware,
    platform.complete_features, platform.complete_cpu, platform.complete_clock, platform.complete_lifecycle,
    platform.complete_seclabels, platform.drop_qemu_namespace,
    resources.complete_vcpus, resources.complete_numa_cells, resources.complete_memory,
    resources.complete_iothreads, resources.complete_numatune, resources.complete_cputune,
    resources.complete_blkiotune,
    # devices that come with it
    controllers.number_controllers, usb.complete_usb_controllers, drive.add_host_controllers,
    controllers.add_machine_controllers, display.add_audio, implicit.add_memballoon,
    # each device
    disks.sort_disks, disks.complete_disks, interfaces.complete_interfaces, interfaces.name_test_interfaces,
    chardevs.complete_chardevs, display.complete_graphics, display.complete_inputs, implicit.complete_filesystems,
    implicit.complete_hostdevs, implicit.complete_rngs, implicit.complete_tpms, implicit.complete_watchdogs,
    implicit.complete_panics, display.add_video,
    # what devices need of each other
    platform.complete_boot_order, drive.assign_drives, slots.assign_ccid, controllers.add_device_controllers,
    # addresses
    virtio_serial.assign_virtio_serial, usb.assign_usb, pci.assign_pci, slots.assign_memory_slots,
    # what must not be
    disks.check_targets, drive.check_drive_places, checks.check_emulator, platform.check_firmware,
    disks.check_disks, drive.check_drive_conflicts, platform.check_topology, resources.check_memory_slots,
    checks.check_devices,
)


def normalise(domain: Domain, context: Context) -> None:
    """Complete a parsed definition in place, as define does. Raises ``LibvirtError``; then the model is of no use."""
    for complete in PASSES:
        complete(domain, context)
