"""A change of a running guest, as data: QMP commands in order, each with what takes it back.

A change is made before anything is sent, from the same parts as a start, and carried out by ``live_run.carry_out``.
What QEMU answers decides how far it gets, never what it consists of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from virtbus_domain.drivers.qemu.command.parts import Command, Kind, Part, plug, unplug


class Event(NamedTuple):
    """A QMP event to wait for: its name, and the members of its data that tell it from others of the name."""

    name: str
    data: Mapping[str, Any]

    def is_told_by(self, name: str, data: Mapping[str, Any]) -> bool:
        """Whether an event that has arrived is this one."""
        return name == self.name and all(data.get(key) == value for key, value in self.data.items())


class Step(NamedTuple):
    """One command, and what its outcome means.

    ``undo`` takes it back when a later step fails. A step with ``until`` is done when QEMU reports that event, and has
    failed when it reports ``unless``: the guest takes part, in its own time. ``asks``: should QEMU refuse the command,
    it has asked the guest for what this event reports. One that is not ``needed`` tidies up: should it fail, the
    change has still been made. ``undo_if_sure``: taking back what was not done does harm, so it is left when nobody
    knows.
    """

    command: Command
    undo: Step | None = None
    until: Event | None = None
    unless: Event | None = None
    asks: Event | None = None
    needed: bool = True
    undo_if_sure: bool = False


Change = tuple[Step, ...]
"""The steps of a change, in order. An empty one is a change of the document only."""


def removal(part: Part, *, needed: bool = True, undo: Step | None = None) -> Step:
    """The step that takes out a part that nothing uses any more. A guest has to let go of a device first."""
    [command] = unplug([part])
    if part.kind is not Kind.DEVICE:
        return Step(command, undo, needed=needed)
    device = {"device": part.name}
    return Step(command, undo, Event("DEVICE_DELETED", device), Event("DEVICE_UNPLUG_GUEST_ERROR", device),
                needed=needed)


def addition(part: Part) -> Step:
    """The step that adds a part to what is there."""
    [command] = plug([part])
    return Step(command, removal(part))


def additions(parts: Iterable[Part]) -> list[Step]:
    """The steps that add parts, in their order."""
    return [addition(part) for part in parts]


def setting(path: str, name: str, value: object, old: object) -> Step:
    """The step that gives a property of a QEMU object another value."""
    def set_to(value: object) -> Command:
        return Command("qom-set", {"path": path, "property": name, "value": value})

    return Step(set_to(value), Step(set_to(old)))
