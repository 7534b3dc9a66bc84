"""A running domain's document and the one it shall have: which devices come, go and change, in an order that works.

Two devices are the same one when they have the same alias; where only one of them has an alias, when what libvirt
knows a device of their family by is the same. What neither a change of a device nor of the document alone can bring
about is refused with its path.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

from virtbus_domain.drivers.qemu.command.devices import FAMILIES, of_family
from virtbus_domain.drivers.qemu.command.live_fields import differences
from virtbus_domain.drivers.qemu.command.live_places import add_memory
from virtbus_domain.drivers.qemu.command.live_refusals import unsupported
from virtbus_domain.xml.chardev import Chardev
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_shared.service.xml_lines import lines_of


class DeviceChange(NamedTuple):
    """One device to ``attach``, ``detach`` or ``update``: as it is (``old``), and as it shall be (``new``)."""

    what: Literal["attach", "detach", "update"]
    family: str
    old: Any
    new: Any


# What a device is known by: these of its fields. Where none stand here, by all that it is.
_IDENTITY: dict[str, tuple[str, ...]] = {
    "disks": ("target_dev",),
    "controllers": ("type", "index", "model"),
    "filesystems": ("target_dir",),
    "interfaces": ("mac",),
    "hostdevs": ("mode", "type", "source"),
    "leases": ("lockspace", "key"),
    "graphics": ("type",),
    "memballoon": (),
    "memories": ("model", "size", "node", "block", "source_path"),
}
# No device of a guest's: what they say concerns the other devices. See ``_OTHER``.
_NOT_PLUGGED = ("emulator", "redirfilter", "pstore")
# What is the document's own, and nothing to a guest.
_DOCUMENT = ("title", "description", "metadata")


def difference(old: Domain, new: Domain) -> list[DeviceChange]:
    """The changes that make a running domain ``old`` what ``new`` says; both are complete.

    First what goes, the topmost first; then what changes; then what comes, the lowest first. Raises ``LibvirtError``
    (``VIR_ERR_OPERATION_UNSUPPORTED``) for a difference that is none of devices.
    """
    was, will = old.devices or Devices(), new.devices or Devices()
    _refuse(f"/domain/{found.path}" for found in differences(_bare(old), _bare(new), without=_DOCUMENT))
    families = [*FAMILIES, *(name for name in lines_of(Devices) if name not in (*FAMILIES, *_NOT_PLUGGED))]
    _refuse(f"/domain/devices/{found.path}" for found in differences(was, will, without=families))
    gone: list[DeviceChange] = []
    changed: list[DeviceChange] = []
    come: list[DeviceChange] = []
    for family in families:
        for before, after in _pairs(family, _devices(was, family), _devices(will, family)):
            if after is None:
                gone.append(DeviceChange("detach", family, before, None))
            elif before is None:
                come.append(DeviceChange("attach", family, None, after))
            elif any(differences(before, after)):
                changed.append(DeviceChange("update", family, before, after))
    return [*reversed(gone), *changed, *come]


def _refuse(paths: Iterator[str]) -> None:
    path = next(paths, None)
    if path is not None:
        raise unsupported(f"cannot change '{path}' of a running domain")


def _bare(domain: Domain) -> Domain:
    """A domain without devices: what is left of its memory without the modules."""
    bare, modules = copy.copy(domain), domain.devices.memories if domain.devices else []
    bare.devices = None
    for module in modules:
        add_memory(bare, module, -(module.size or 0))
    return bare


def _devices(devices: Devices, family: str) -> list[Any]:
    found = list(of_family(devices, family))
    # The first console may be the first serial port under another name: one device, listed twice.
    return [device for device in found if not (
        family == "consoles" and isinstance(device, Chardev)
        and (device.target is None or device.target.type in (None, "serial")))]


def _pairs(family: str, olds: list[Any], news: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Each device with its other self, None where it has none."""
    left, found = list(olds), {}
    # What makes sure comes first, so that of two network cards with one MAC address each finds its own.
    for is_same in (_by_name, _by_identity(family, with_address=True), _by_identity(family, with_address=False)):
        for number, new in enumerate(news):
            if number not in found:
                position = next((i for i, old in enumerate(left) if is_same(old, new)), None)
                if position is not None:
                    found[number] = left.pop(position)
    yield from ((old, None) for old in left)
    yield from ((found.get(number), new) for number, new in enumerate(news))


def _by_name(old: Any, new: Any) -> bool:
    name = getattr(new, "alias", None)
    return name is not None and getattr(old, "alias", None) == name


def _by_identity(family: str, *, with_address: bool) -> Callable[[Any, Any], bool]:
    fields = _IDENTITY.get(family)

    def is_same(old: Any, new: Any) -> bool:
        if getattr(old, "alias", None) is not None and getattr(new, "alias", None) is not None:
            return False  # they would have found each other by name
        if with_address and (getattr(new, "address", None) is None or old.address != new.address):
            return False
        if fields is None:
            return not any(differences(old, new))
        return not any(found.is_below(fields) for found in differences(old, new))

    return is_same
