"""Properties of devices that the user says in QEMU's own words (``qemu:override``), at the user's own risk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from virtbus_domain.drivers.qemu.command.arguments import Json, unsupported
from virtbus_domain.drivers.qemu.command.parts import Kind, Part
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.qemu_namespace import QemuProperty

_NAME = re.compile(r"[A-Za-z0-9_.\[\]-]+", re.ASCII)  # of a property of QEMU's


def overridden(parts: Iterable[Part], domain: Domain) -> Iterator[Part]:
    """The parts, of which devices that are named there have the properties that are said there.

    Raises ``LibvirtError`` for a name that no property has.
    """
    changes = {device.alias: device.frontend for device in domain.qemu_override.devices} if domain.qemu_override else {}
    for part in parts:
        if part.kind is Kind.DEVICE and part.name in changes:
            yield _changed(part, changes[part.name])
        else:
            yield part


def _changed(part: Part, changes: Iterable[QemuProperty]) -> Part:
    properties = dict(part.properties)
    for change in changes:
        said = change.name or ""
        if not _NAME.fullmatch(said):
            raise unsupported(f"property '{said}' of '{part.name}'")
        for name in (said, said.replace("-", "_")):  # ours have "_" where QEMU's have "-"
            properties.pop(name, None)
        if change.type != "remove":
            properties[said] = _value(change)
    return part._replace(properties=properties)


def _value(change: QemuProperty) -> Json:
    match change.type:
        case "bool":
            return change.value == "true"
        case "signed" | "unsigned":
            return int(change.value or 0)
    return change.value or ""
