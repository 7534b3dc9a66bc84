"""What a device has beside its parts: settings that QEMU takes by commands of their own, at any time.

A start gives them before the guest runs, plugging a device in along with it, and an update when they change.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any, NamedTuple

from virtbus_domain.drivers.qemu.command.live_steps import Step
from virtbus_domain.drivers.qemu.command.misc import WATCHDOG_ACTIONS
from virtbus_domain.drivers.qemu.command.parts import Command
from virtbus_domain.xml.graphics import Graphics
from virtbus_domain.xml.interface import Interface
from virtbus_domain.xml.memballoon import Memballoon
from virtbus_domain.xml.watchdog import Watchdog


class Setting(NamedTuple):
    """Fields of a device and the commands that set what they say, whatever was set before.

    ``matters`` tells whether they say anything but what a new device does by itself. ``comes_first``: it has to be
    set before the device is there, which would otherwise act on what was set before.
    """

    fields: tuple[str, ...]
    commands: Callable[[Any], list[Command]]
    matters: Callable[[Any], bool]
    comes_first: bool = False


def _link(interface: Interface) -> list[Command]:
    return [Command("set_link", {"name": interface.alias, "up": interface.link_state != "down"})]


def _password(graphics: Graphics) -> list[Command]:
    if not graphics.passwd or graphics.type not in ("vnc", "spice"):
        return []
    until = graphics.passwd_valid_to
    time = str(int(datetime.fromisoformat(until).replace(tzinfo=UTC).timestamp())) if until else "never"
    return [Command("set_password", {"protocol": graphics.type, "password": graphics.passwd,
                                     "connected": graphics.connected or "keep"}),
            Command("expire_password", {"protocol": graphics.type, "time": time})]


def _statistics_period(balloon: Memballoon) -> list[Command]:
    return [Command("qom-set", {"path": f"/machine/peripheral/{balloon.alias}",
                                "property": "guest-stats-polling-interval", "value": balloon.stats_period or 0})]


def _watchdog_action(watchdog: Watchdog) -> list[Command]:
    return [Command("set-action", {"watchdog": WATCHDOG_ACTIONS[watchdog.action or "reset"]})]


SETTINGS: dict[str, Setting] = {  # by field of ``Devices``
    "interfaces": Setting(("link_state",), _link, lambda interface: interface.link_state == "down"),
    "graphics": Setting(("passwd", "passwd_valid_to", "connected"), _password, lambda graphics: bool(graphics.passwd)),
    "memballoon": Setting(("stats_period",), _statistics_period,
                          lambda balloon: balloon.model != "none" and bool(balloon.stats_period)),
    "watchdogs": Setting(("action",), _watchdog_action, lambda watchdog: True, comes_first=True),
}


def settings_of_new(family: str, device: Any) -> tuple[list[Step], list[Step]]:
    """The steps before a device is plugged in, and those after."""
    setting = SETTINGS.get(family)
    if setting is None or not setting.matters(device):
        return [], []
    steps = [Step(command) for command in setting.commands(device)]
    return (steps, []) if setting.comes_first else ([], steps)


def changed_settings(family: str, old: Any, new: Any) -> list[Step]:
    """The steps from what was set to what is to be set."""
    setting = SETTINGS.get(family)
    if setting is None or all(getattr(old, name) == getattr(new, name) for name in setting.fields):
        return []
    before, after = setting.commands(old), setting.commands(new)
    return [Step(command, None if former is None else Step(former))
            for former, command in zip_longest(before, after) if command is not None]
