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
    clock,
    controllers,
    disks,
    display,
    drive,
    features,
    firmware,
    foreign,
    identity,
    implicit,
    interfaces,
    labels,
    numa,
    pci,
    platform,
    processor,
    resources,
    slots,
    tuning,
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
    # what is read in one way only
    identity.read_sysinfo, identity.give_uuid, platform.read_os, platform.read_platform, firmware.read_firmware,
    features.read_features, clock.read_clock, processor.read_cpu, numa.read_numa_cells, numa.read_numatune,
    resources.read_vcpus, tuning.read_iothreads, tuning.read_cputune, tuning.read_blkiotune, tuning.read_memtune,
    labels.read_seclabels, interfaces.read_interfaces,
    # the machine
    platform.complete_os, platform.require_init, firmware.complete_firmware, processor.complete_cpu,
    clock.complete_timers, platform.complete_lifecycle, platform.drop_qemu_namespace,
    resources.complete_vcpus, numa.complete_numa_cells, resources.complete_memory,
    resources.complete_memory_backing,
    # devices that come with it
    usb.complete_usb_controllers, controllers.number_controllers, drive.add_host_controllers,
    controllers.add_machine_controllers, display.add_audio, implicit.add_memballoon,
    # each device
    disks.sort_disks, disks.complete_disks, interfaces.complete_interfaces, interfaces.name_test_interfaces,
    chardevs.complete_chardevs, display.complete_graphics, display.complete_inputs, implicit.complete_filesystems,
    implicit.complete_hostdevs, implicit.complete_rngs, implicit.complete_tpms, implicit.complete_watchdogs,
    implicit.complete_panics, display.add_video,
    # what devices need of each other
    platform.complete_boot_order, drive.assign_drives, slots.assign_ccid, controllers.add_device_controllers,
    # addresses
    virtio_serial.assign_virtio_serial, pci.assign_pci, usb.assign_usb, slots.assign_memory_slots,
    # what must not be
    slots.check_memory_places, disks.check_targets, drive.check_drive_places, checks.check_emulator,
    firmware.check_firmware, firmware.check_flash, features.check_features, clock.check_timers,
    drive.check_drive_conflicts, processor.check_cpu, numa.check_numa, platform.check_lifecycle,
    platform.check_platform, platform.check_idmap, resources.check_memory_backing, resources.check_hugepages,
    tuning.check_pools, tuning.check_tuning, checks.check_devices,
)


def normalise(domain: Domain, context: Context) -> None:
    """Complete a parsed definition in place, as define does. Raises ``LibvirtError``; then the model is of no use."""
    for complete in PASSES:
        complete(domain, context)
