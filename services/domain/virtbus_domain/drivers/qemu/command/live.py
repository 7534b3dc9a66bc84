"""Devices that come, go and change while their guest runs: the commands for it, from the parts of a start.

``attach``, ``detach`` and ``update`` make a ``Change`` of the very parts that the command line is made of
(``devices.FAMILIES``), so that a device that was plugged in is the one that the next start gives the guest. They are
functions of the documents and of what was prepared for the device, as ``build`` is; ``live_run`` carries a change
out. What is a change at all is found by ``live_difference``, and where a new device goes by ``live_places``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from virtbus_domain.drivers.qemu.command import live_disk
from virtbus_domain.drivers.qemu.command.devices import FAMILIES
from virtbus_domain.drivers.qemu.command.live_fields import complete, differences
from virtbus_domain.drivers.qemu.command.live_names import for_names
from virtbus_domain.drivers.qemu.command.live_refusals import check_attach, check_detach, check_update
from virtbus_domain.drivers.qemu.command.live_settings import changed_settings, settings_of_new
from virtbus_domain.drivers.qemu.command.live_steps import Change, Step, additions, removal, setting
from virtbus_domain.drivers.qemu.command.memory import memory_parts
from virtbus_domain.drivers.qemu.command.parts import Kind, Part
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.xml.disk import Disk
from virtbus_domain.xml.memory_device import MemoryDevice

__all__ = ["Change", "attach", "detach", "update"]

# What QEMU itself removes with a device: driver, and kind of what is under it.
_GO_ALONG = frozenset({("usb-redir", Kind.CHARDEV)})


def attach(family: str, device: Any, setup: Setup) -> Change:
    """Plug in a device that has its place and its name; ``family`` is the field of ``Devices`` that will hold it.

    When a step fails, all before it are taken back. Raises ``LibvirtError`` for what cannot be plugged in.
    """
    check_attach(family, device, setup)
    if isinstance(device, Disk):
        live_disk.check_group(device, setup)
    before, after = settings_of_new(family, device)
    return (*before, *additions(_parts(family, device, setup)), *after)


def detach(family: str, device: Any, setup: Setup) -> Change:
    """Take out a device: ask the guest for it, and when it has let go, remove what was behind it.

    Raises ``LibvirtError`` for what cannot be taken out.
    """
    check_detach(family, device, setup)
    first, *others = reversed(_parts(family, device, for_names(setup)))
    return (removal(first), *(removal(part, needed=False) for part in others
                              if (first.properties.get("driver"), part.kind) not in _GO_ALONG))


def update(family: str, old: Any, new: Any, setup: Setup, *, force: bool = False) -> Change:
    """Make a device what ``new`` says: another medium, other limits, a link that is down, a new password.

    ``new`` is completed with what it is silent about, and stands for the device from then on. ``force`` takes a
    medium out of a drive that the guest has locked. Raises ``LibvirtError`` for what cannot change in a running guest,
    naming the field.
    """
    if isinstance(new, Disk):
        live_disk.complete_disk(old, new, setup)
    else:
        complete(old, new)
    found = list(differences(old, new))
    check_update(family, old, new, found)
    steps: Sequence[Step] = changed_settings(family, old, new)
    if isinstance(new, Disk):
        steps = live_disk.changes(old, new, setup, found, force=force)
    elif isinstance(new, MemoryDevice):
        steps = _requested(old, new, setup)
    return tuple(steps)


def _parts(family: str, device: Any, setup: Setup) -> list[Part]:
    parts = FAMILIES[family](device, setup)
    return live_disk.own_parts(parts, device, setup) if isinstance(device, Disk) else parts


def _requested(old: MemoryDevice, new: MemoryDevice, setup: Setup) -> list[Step]:
    """How much of a resizable module the guest should use."""
    was, will = memory_parts(old, setup)[-1], memory_parts(new, setup)[-1]
    name = "requested_size"
    sizes = was.properties.get(name), will.properties.get(name)
    return [] if sizes[0] == sizes[1] else [
        setting(f"/machine/peripheral/{will.name}", name.replace("_", "-"), sizes[1], sizes[0])]
