"""What libvirt refuses when a definition is complete although each value alone is well."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from virtbus_domain.normalise import chardevs, check_display, check_hosts, check_machine
from virtbus_domain.normalise.check_disks import check_disk, check_qemu_disk
from virtbus_domain.normalise.context import Context, unsupported
from virtbus_domain.normalise.interfaces import check_interface, check_qemu_interface
from virtbus_domain.xml.domain import Domain

Check = Callable[[Any, Domain], None]

# What is asked of the devices of a family, by field of ``Devices``: for QEMU, and for every driver before that. The
# order is libvirt's, since only the first refusal is seen.
_OF_DEVICES: dict[str, tuple[Check | None, Check | None]] = {
    "disks": (check_qemu_disk, check_disk),
    "interfaces": (check_qemu_interface, check_interface),
    "hostdevs": (check_hosts.check_qemu_hostdev, check_hosts.check_hostdev),
    "filesystems": (check_hosts.check_qemu_filesystem, None),
    "controllers": (check_machine.check_qemu_controller, check_machine.check_controller),
    "smartcards": (chardevs.check_qemu_host_end, chardevs.check_host_end),
    "serials": (chardevs.check_qemu_serial, chardevs.check_host_end),
    "parallels": (chardevs.check_qemu_host_end, chardevs.check_host_end),
    "channels": (chardevs.check_qemu_host_end, chardevs.check_host_end),
    "consoles": (chardevs.check_qemu_console, chardevs.check_host_end),
    "inputs": (check_display.check_qemu_input, check_display.check_input),
    "watchdogs": (check_machine.check_qemu_watchdog, None),
    "rngs": (None, check_hosts.check_rng),
    "shmems": (check_hosts.check_qemu_shmem, check_hosts.check_shmem),
    "memories": (check_hosts.check_qemu_memory, check_hosts.check_memory),
    "panics": (check_machine.check_qemu_panic, None),
    "tpms": (check_machine.check_qemu_tpm, check_machine.check_tpm),
    "redirdevs": (chardevs.check_qemu_host_end, check_hosts.check_redirdev),
    "videos": (check_display.check_qemu_video, check_display.check_video),
    "graphics": (check_display.check_qemu_graphics, None),
    "audios": (check_display.check_qemu_audio, check_display.check_audio),
}
_groups = attrgetter(*_OF_DEVICES)


def check_emulator(domain: Domain, context: Context) -> None:
    """What the emulator cannot run at all."""
    context.check(domain)


def check_each_device(domain: Domain, context: Context) -> None:
    """What a device cannot be, one after the other: first for all drivers, then for QEMU's."""
    for group, (for_qemu, for_all) in zip(_groups(domain.devices), _OF_DEVICES.values(), strict=True):
        for device in group:
            if for_all:
                for_all(device, domain)
            if for_qemu and context.qemu:
                for_qemu(device, domain)


def check_devices(domain: Domain, context: Context) -> None:
    """Two devices that claim the same name, the same device of the host, or what there is one of."""
    del context
    assert domain.devices
    if len(domain.devices.hostdevs) > 1:
        check_hosts.check_hostdev_twins(domain)
    aliases: set[str] = set()
    for alias in [device.alias for device in domain.devices.named() if device.alias is not None]:
        if alias in aliases:
            raise unsupported(f"non unique alias detected: {alias}")
        aliases.add(alias)
    check_display.check_audio_ids(domain)
