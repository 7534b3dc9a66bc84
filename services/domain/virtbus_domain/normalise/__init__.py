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
    check_machine,
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
    namespace,
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

__all__ = ["PASSES", "Context", "complete_definition", "drop_runtime", "normalise", "read_definition"]

Pass = Callable[[Domain, Context], None]

# What libvirt does while it reads a document, before it looks for an emulator.
READING: tuple[Pass, ...] = (
    identity.check_identity, implicit.give_devices, forget_runtime, platform.require_os_type,
    labels.read_seclabels, identity.read_sysinfo, identity.give_uuid, platform.read_os, firmware.read_firmware,
    tuning.read_blkiotune, tuning.read_memtune, resources.read_vcpus, tuning.read_iothreads, tuning.read_cputune,
    numa.read_numa_cells, processor.read_cpu, numa.read_numatune, features.read_features, platform.read_platform,
    clock.read_clock, foreign.refuse_incomplete, display.refuse_inputs, foreign.drop_foreign,
    addresses.complete_addresses, controllers.read_controllers, usb.complete_usb_controllers,
    drive.add_host_controllers, interfaces.read_interfaces, chardevs.read_chardevs, chardevs.forget_own_sockets,
    display.read_graphics, display.read_videos, implicit.read_others, implicit.read_roms,
    implicit.refuse_without_usb, namespace.drop_qemu_namespace, namespace.read_overrides,
)
# What it fills in, and refuses on the way.
COMPLETING: tuple[Pass, ...] = (
    # the machine
    platform.complete_os, platform.require_init, firmware.complete_firmware, processor.complete_cpu,
    clock.complete_timers, platform.complete_lifecycle, resources.complete_vcpus,
    numa.complete_numa_cells, resources.complete_memory, resources.complete_memory_backing,
    # devices that come with it
    controllers.number_controllers, controllers.add_machine_controllers,
    display.add_audio, implicit.add_memballoon,
    # each device
    disks.sort_disks, disks.complete_disks, interfaces.complete_interfaces, interfaces.name_test_interfaces,
    chardevs.complete_chardevs, display.complete_inputs, implicit.complete_filesystems, implicit.complete_hostdevs,
    implicit.complete_rngs, implicit.complete_tpms, implicit.complete_watchdogs, implicit.complete_panics,
    implicit.complete_windows, display.add_video,
    # what devices need of each other
    controllers.refuse_duplicates, implicit.refuse_panic_twins, platform.complete_boot_order,
    drive.assign_drives, slots.assign_ccid, controllers.add_device_controllers,
    # addresses
    virtio_serial.assign_virtio_serial, pci.assign_pci, usb.assign_usb, slots.assign_memory_slots,
    chardevs.mirror_address,
)
# What it refuses when all is known: first what an emulator lacks, then each device, then what they are together.
CHECKING: tuple[Pass, ...] = (
    checks.check_emulator, tuning.check_tuning, firmware.check_flash, platform.check_lifecycle,
    check_machine.check_many_vcpus, features.check_features, clock.check_timers, processor.check_cpu,
    resources.check_memory_backing, numa.check_numa, slots.check_memory_places, platform.check_platform,
    check_machine.check_single_devices, checks.check_each_device, check_machine.check_machine, drive.check_drive_places,
    disks.check_targets, drive.check_drive_conflicts, checks.check_devices, resources.check_hugepages,
    firmware.check_firmware, platform.check_idmap, tuning.check_limits, platform.name_guest,
)
PASSES = READING + COMPLETING + CHECKING


def read_definition(domain: Domain, context: Context) -> None:
    """The first part of ``normalise``, for a driver that finds its emulator by the document. Raises as that."""
    for read in READING:
        read(domain, context)


def complete_definition(domain: Domain, context: Context) -> None:
    """The rest of ``normalise``. Raises as that."""
    for complete in COMPLETING:
        complete(domain, context)
    for check in CHECKING:
        check(domain, context)


def normalise(domain: Domain, context: Context) -> None:
    """Complete a parsed definition in place, as define does. Raises ``LibvirtError``; then the model is of no use."""
    for complete in PASSES:
        complete(domain, context)
