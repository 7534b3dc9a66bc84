"""A disk that changes while the guest uses it: another medium, other limits.

Both come down to the difference between two lists of parts. Filters are put into the block graph and taken out of it
under a running device by its ``drive`` property, which may name another node at any time (QEMU 6.2 and later). A
removable drive is opened for its new medium, as a person would do it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from virtbus_domain.drivers.qemu.command.arguments import present
from virtbus_domain.drivers.qemu.command.disk import disk_parts
from virtbus_domain.drivers.qemu.command.live_fields import Difference, complete
from virtbus_domain.drivers.qemu.command.live_names import for_names
from virtbus_domain.drivers.qemu.command.live_refusals import MEDIUM, REMOVABLE
from virtbus_domain.drivers.qemu.command.live_steps import Event, Step, addition, additions, removal, setting
from virtbus_domain.drivers.qemu.command.parts import Command, Kind, Part
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.drivers.qemu.layers import highest_number, layers, set_number
from virtbus_domain.xml.disk import Disk
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


def own_parts(parts: Iterable[Part], disk: Disk, setup: Setup) -> list[Part]:
    """The parts that come and go with a disk: not the limits that it shares with others that are there."""
    is_shared = _fellow(disk, setup) is not None
    return [part for part in parts if not (is_shared and _is_group(part))]


def check_group(disk: Disk, setup: Setup) -> None:
    """Refuse a disk that is to share its limits but says others."""
    fellow = _fellow(disk, setup)
    if fellow is not None and fellow.iotune != disk.iotune:
        raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED,
                           f"different iotunes for disks {disk.target_dev} and {fellow.target_dev}",
                           domain=c.VIR_FROM_QEMU)


def _fellow(disk: Disk, setup: Setup) -> Disk | None:
    """A disk of the domain that has its limits in common with this one."""
    group = disk.iotune.group_name if disk.iotune else None
    return next((other for other in setup.devices.disks if group and other.target_dev != disk.target_dev
                 and other.iotune is not None and other.iotune.group_name == group), None)


def complete_disk(old: Disk, new: Disk, setup: Setup) -> None:
    """Fill in what the new document is silent about. A new medium has nothing of the old one, not even its numbers."""
    is_new = new.device in REMOVABLE and _medium(old) != _medium(new)
    complete(old, new, without=("source", "backing_store") if is_new else ())
    if is_new and new.source is not None and new.source.index is None:
        number_layers(new, setup.devices.disks)


def number_layers(disk: Disk, disks: Iterable[Disk]) -> None:
    """Number the layers of a disk, from the top, behind all those that a domain's disks have."""
    for following, layer in enumerate(layers(disk), highest_number(disks) + 1):
        set_number(layer, following)


def changes(old: Disk, new: Disk, setup: Setup, found: Iterable[Difference], *, force: bool) -> list[Step]:
    """The steps from one document of a disk to another one, whose differences were found to be possible."""
    is_medium = any(difference.is_below(MEDIUM) and difference.name != "source.startup_policy" for difference in found)
    names = for_names(setup)
    was, will = _parts_alone(old, names), _parts_alone(new, setup if is_medium else names)
    steps, was = _limits(was, will)
    if is_medium:
        gone, come = [part for part in was[:-1] if part not in will], [part for part in will[:-1] if part not in was]
        tidy = [removal(part, needed=False) for part in reversed(own_parts(gone, old, setup))]
        return [*steps, *additions(own_parts(come, new, setup)),
                *_change_medium(new, was[-1], will[-1], force=force), *tidy]
    same = next(number for number, parts in enumerate(zip_longest(was, will)) if not _is_same(*parts))
    gone, come = own_parts(was[same:-1], old, setup), own_parts(will[same:-1], new, setup)
    base = next((part.name for part in reversed(was[:same]) if part.kind is Kind.BLOCKDEV), None)
    return [*steps, *_change_filters(new, was[-1], will[-1], base, gone, come)]


def _parts_alone(disk: Disk, setup: Setup) -> list[Part]:
    """All parts of a disk, with limits of which a start would make the first disk that has them bring them along."""
    domain = copy.copy(setup.domain)
    domain.devices = copy.copy(setup.devices)
    domain.devices.disks = [disk]
    return disk_parts(disk, replace(setup, domain=domain))


# --- the block graph ------------------------------------------------------------------------------------------------


def _is_same(old: Part | None, new: Part | None) -> bool:
    return old == new and old is not None and old.kind is not Kind.DEVICE


def _change_filters(disk: Disk, was: Part, will: Part, base: str | None, gone: Sequence[Part], come: Sequence[Part]
                    ) -> list[Step]:
    """Put filters in and take filters out, under a device that works.

    What is above the first difference makes way, while the device uses the node below it (``base``) for a moment.
    """
    steps, top, new_top = [], was.properties.get("drive"), will.properties.get("drive")
    if gone:
        steps = [_use(disk, base, top), *(removal(part, undo=addition(part)) for part in reversed(gone))]
        top = base
    steps += additions(come)
    return steps if new_top == top else [*steps, _use(disk, new_top, top)]


def _use(disk: Disk, node: object, old: object) -> Step:
    """The step that lets a device use another node. QEMU dies if that is the node that it uses already."""
    return setting(drive_path(disk), "drive", node, old)._replace(undo_if_sure=True)


def _change_medium(disk: Disk, was: Part, will: Part, *, force: bool) -> list[Step]:
    """Open the drive, take out what is in it, put in the new medium, close it.

    The new one has been opened before, so that one that cannot be changes nothing.
    """
    old, new = was.properties.get("drive"), will.properties.get("drive")
    drive = {"id": drive_path(disk) if disk.target_bus == "usb" else was.name}
    insert = {node: Command("blockdev-insert-medium", drive | {"node-name": node}) for node in (old, new)}
    remove = Command("blockdev-remove-medium", drive)
    steps = []
    if old is not None:
        steps.append(Step(remove, Step(insert[old])))
    if new is not None:
        steps.append(Step(insert[new], Step(remove)))
    if disk.target_bus == "fdc":
        return steps  # no tray
    opened = Event("DEVICE_TRAY_MOVED", drive | {"tray-open": True})
    close = Step(Command("blockdev-close-tray", drive))
    return [Step(Command("blockdev-open-tray", drive | {"force": force}), close, asks=None if force else opened),
            *steps, close]


def drive_path(disk: Disk) -> str:
    """Where in QEMU's tree the object is that uses a disk's nodes."""
    path = f"/machine/peripheral/{disk.alias}"
    # USB storage is a bus of its own with a SCSI disk on it.
    return f"{path}/{disk.alias}.0/legacy[0]" if disk.target_bus == "usb" else path


def _is_group(part: Part) -> bool:
    return part.properties.get("qom_type") == "throttle-group"


def _limits(was: Sequence[Part], will: Sequence[Part]) -> tuple[list[Step], list[Part]]:
    """Set the limits of groups that stay and change; and the parts that there are then."""
    new = {part.name: part for part in will if _is_group(part)}
    steps, then = [], []
    for part in was:
        other = new.get(part.name, part) if _is_group(part) else part
        if other != part:
            limits, former = other.properties["limits"], part.properties["limits"]
            steps.append(setting(f"/objects/{part.name}", "limits", _whole(limits, former), _whole(former, limits)))
        then.append(other)
    return steps, then


def _whole(limits: Any, others: Any) -> Mapping[str, object]:
    """Limits as QEMU takes them: it keeps those that it is not told, so those that end are set to what means none."""
    ended = {name: 1 if name.endswith("length") else 0 for name in others if name not in limits}
    whole = present({**limits, **ended})
    assert isinstance(whole, dict)
    return whole


# --- media ----------------------------------------------------------------------------------------------------------


def _medium(disk: Disk) -> tuple[object, ...]:
    """What is in a drive, apart from the number that it has there and the secrets that it takes."""
    source = copy.copy(disk.source)
    if source is not None:
        source.index = source.startup_policy = None
        source.cookies = []
    return disk.type, disk.driver.type if disk.driver else None, source
