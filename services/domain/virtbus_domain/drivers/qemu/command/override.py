"""Properties of devices that the user says in QEMU's own words (``qemu:override``), at the user's own risk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from virtbus_domain.drivers.qemu.command.arguments import Json
from virtbus_domain.drivers.qemu.command.parts import Kind, Part
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.qemu_namespace import QemuProperty


def overridden(parts: Iterable[Part], domain: Domain) -> Iterator[Part]:
    """The parts, of which devices that are named there have the properties that are said there."""
    changes = {device.alias: device.frontend for device in domain.qemu_override.devices} if domain.qemu_override else {}
    for part in parts:
        if part.kind is Kind.DEVICE and part.name in changes:
            yield _changed(part, changes[part.name])
        else:
            yield part


def _changed(part: Part, changes: Iterable[QemuProperty]) -> Part:
    properties = dict(part.properties)
    for change in changes:
        # Ours are written with "_" where QEMU's have "-".
        for name in (change.name or "", (change.name or "").replace("-", "_")):
            properties.pop(name, None)
        if change.type != "remove":
            properties[change.name or ""] = _value(change)
    return part._replace(properties=properties)


def _value(change: QemuProperty) -> Json:
    match change.type:
        case "bool":
            return change.value == "true"
        case "signed" | "unsigned":
            return int(change.value or 0)
    return change.value or ""
