"""The values of a command's options, member by member: each is asked for by name and kind, and none is passed over.

What is missing, of another kind, or not asked for by anybody is refused with the option and the member. So no reader
has to look twice at what it got, and none can lose anything without a word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import TypeVar

from virtbus_domain.drivers.qemu.native.options import CommandWords, check_characters, members, refusal
from virtbus_shared.errors import LibvirtError

T = TypeVar("T")

_SWITCHES = {"on": True, "off": False}
_DECIMAL = re.compile("-?[0-9]{1,20}", re.ASCII)
_SMALLEST, _LARGEST = -2**63, 2**64 - 1
_SHOWN = 200  # characters of a value in a message

# Options with JSON syntax, and those of the form "first,key=value": the name of the member that tells the kind.
_JSON = {"-device": "driver", "-object": "qom-type", "-netdev": "type", "-blockdev": "driver", "-audiodev": "driver",
         "-compat": ""}
_KEYED = {
    "-name": "", "-machine": "type", "-accel": "accel", "-m": "size", "-smp": "cpus", "-overcommit": "",
    "-numa": "kind", "-chardev": "backend", "-fsdev": "driver", "-tpmdev": "type", "-rtc": "", "-action": "",
    "-boot": "", "-acpitable": "", "-smbios": "", "-fw_cfg": "", "-vnc": "vnc", "-spice": "", "-display": "display"}
_PLAIN = frozenset((
    "-pidfile", "-S", "-bios", "-cpu", "-uuid", "-no-user-config", "-nodefaults", "-sandbox", "-mon", "-global",
    "-kernel", "-initrd", "-append", "-dtb", "-msg"))
_SCREENS = ("-vnc", "-spice", "-display")  # each may be followed by its keyboard's layout, -k


class Values:
    """The members of one value. ``kind`` tells what it is the value of, such as a driver; ``id`` is its own name."""

    def __init__(self, what: str, values: Mapping[str, object], kind: str = "") -> None:
        self._members = values
        self._unread = dict.fromkeys(values)
        self._parts: list[Values] = []
        self.used = False
        self.what = what
        self.kind = (self.text(kind) if kind else None) or ""
        name = "node-name" if "node-name" in values else "id"
        self.id = self.text(name) or ""
        self.what = " ".join(filter(None, (what, self.kind, self.id)))

    def wrong(self, name: str) -> LibvirtError:
        """The refusal of a member's value."""
        value = self._members.get(name)
        shown = str(value)[:_SHOWN] if isinstance(value, (str, int)) else "..."
        return refusal(f"{self.what}: {name}={shown}")

    def lacks(self, name: str) -> LibvirtError:
        """The refusal of a value without a member that it needs."""
        return refusal(f"{self.what}, without '{name}'")

    @property
    def names(self) -> list[str]:
        """The names of all members, in order."""
        return list(self._members)

    def has(self, name: str) -> bool:
        """Whether there is such a member."""
        return name in self._members

    def _value(self, name: str) -> object:
        self._unread.pop(name, None)
        return self._members.get(name)

    def text(self, name: str) -> str | None:
        """A text, None when there is none."""
        value = self._value(name)
        if name not in self._members:
            return None
        if not isinstance(value, str):
            raise self.wrong(name)
        return check_characters(value)

    def texts(self, name: str) -> list[str]:
        """All texts of a name that may come more than once."""
        value = self._value(name)
        return [value] if isinstance(value, str) else list(value) if isinstance(value, Repeated) else []

    def number(self, name: str, base: int = 10) -> int | None:
        """A whole number, None when there is none."""
        value = self._value(name)
        if name not in self._members:
            return None
        if isinstance(value, str) and _DECIMAL.fullmatch(value):
            try:
                value = int(value, base)
            except ValueError:
                raise self.wrong(name) from None
        if type(value) is not int or not _SMALLEST <= value <= _LARGEST:
            raise self.wrong(name)
        return value

    def flag(self, name: str) -> bool | None:
        """A switch, None when there is none."""
        value = self._value(name)
        if name not in self._members:
            return None
        if isinstance(value, str):
            value = _SWITCHES.get(value)
        if not isinstance(value, bool):
            raise self.wrong(name)
        return value

    def word(self, name: str, table: Mapping[str, T]) -> T | None:
        """What one of some words means, None when there is none."""
        word = self.text(name)
        if word is not None and word not in table:
            raise self.wrong(name)
        return None if word is None else table[word]

    def kilobytes(self, name: str) -> int | None:
        """A size in bytes as one in KiB."""
        size = self.number(name)
        if size is not None and size % 1024:
            raise self.wrong(name)
        return None if size is None else size // 1024

    def affixed(self, name: str, prefix: str = "", suffix: str = "") -> int | None:
        """The number in "prefix<number>suffix", such as a name or a size with its unit; None when there is none."""
        text = self.text(name)
        found = re.fullmatch(rf"{prefix}([0-9]{{1,15}}){suffix}", text or "", re.ASCII)
        if text is not None and found is None:
            raise self.wrong(name)
        return int(found[1]) if found else None

    def numbers(self, name: str) -> list[int]:
        """A list of whole numbers, empty when there is none."""
        value = self._value(name)
        if name not in self._members:
            return []
        if not isinstance(value, list) or not all(type(item) is int and 0 <= item <= _LARGEST for item in value):
            raise self.wrong(name)
        return value

    def part(self, name: str) -> Values | None:
        """A member with members, None when there is none."""
        value = self._value(name)
        if name not in self._members:
            return None
        return self._inner(name, value)

    def parts(self, name: str) -> list[Values]:
        """A list of such members, empty when there is none; a lone one is a list of one."""
        value = self._value(name)
        if name not in self._members:
            return []
        return [self._inner(name, item) for item in (value if isinstance(value, list) else [value])]

    def _inner(self, name: str, value: object) -> Values:
        if not isinstance(value, dict):
            raise self.wrong(name)
        part = Values(f"{self.what} {name}", value)
        self._parts.append(part)
        return part

    def is_null(self, name: str) -> bool:
        """Whether a member is there and says that there is nothing."""
        null = name in self._members and self._members[name] is None
        if null:
            self._unread.pop(name, None)
        return null

    def required_text(self, name: str) -> str:
        """A text that has to be there."""
        value = self.text(name)
        if value is None:
            raise self.lacks(name)
        return value

    def required_number(self, name: str) -> int:
        """A number that has to be there."""
        value = self.number(name)
        if value is None:
            raise self.lacks(name)
        return value

    def expect(self, name: str, value: str | int | bool) -> None:  # a value like others
        """A member that every command of ours has, with this value and no other."""
        found = self.flag(name) if isinstance(value, bool) else (
            self.number(name) if isinstance(value, int) else self.text(name))
        if found is None:
            raise self.lacks(name)
        if found != value:
            raise self.wrong(name)

    def skip(self, *names: str) -> None:
        """Members that only repeat what others say."""
        for name in names:
            self._unread.pop(name, None)

    def rest(self) -> dict[str, str | int | bool]:
        """What nobody has asked for yet, which has to be texts, numbers and switches."""
        names, rest = list(self._unread), {}
        for name in names:
            value = self._value(name)
            if not isinstance(value, (str, int)):
                raise self.wrong(name)
            rest[name] = value
        return rest

    def finish(self) -> None:
        """Refuse what nobody asked for."""
        for name in self._unread:
            raise self.wrong(name)
        for part in self._parts:
            part.finish()


class Repeated(list[str]):
    """The values of a key that came more than once."""


class Command:
    """A command's options: ``options`` are those with members, in order; ``plain`` has the others' values by option.

    ``keymaps`` are the keyboard layouts of the screens, in their order.
    """

    def __init__(self, text: str) -> None:
        self.words = CommandWords(text)
        self._named: dict[tuple[str, str], Values] = {}
        self.options: list[tuple[str, Values]] = []
        self.plain: dict[str, list[str]] = {}
        self.keymaps: list[str | None] = []
        for option, value in self.words.options:
            if option == "-k":
                if not self.keymaps or self.keymaps[-1] is not None:
                    raise refusal(f"-k {value} without a screen before it")
                self.keymaps[-1] = value
            elif option in _PLAIN:
                self.plain.setdefault(option, []).append(value)
            else:
                self._add(option, _values(option, value))

    def _add(self, option: str, values: Values) -> None:
        self.options.append((option, values))
        self._named.setdefault((option, values.id), values)
        if option in _SCREENS and (option, values.kind) != ("-display", "none"):
            self.keymaps.append(None)

    @property
    def run_directory(self) -> str | None:
        """Where the files of the guest's run are, if the command tells."""
        pidfile = self.word("-pidfile")
        return str(PurePosixPath(pidfile).parent) if pidfile else None

    def all(self, option: str, kind: str | None = None) -> Iterator[Values]:
        """The values of an option, of one kind if a kind is given."""
        for name, values in self.options:
            if name == option and kind in (None, values.kind):
                values.used = True
                yield values

    def one(self, option: str) -> Values | None:
        """The value of an option that comes once at most."""
        found = list(self.all(option))
        if len(found) > 1:
            raise refusal(f"{option}, which comes {len(found)} times")
        return found[0] if found else None

    def word(self, option: str) -> str | None:
        """The value of an option without members that comes once at most."""
        found = self.plain.get(option, [])
        if len(found) > 1:
            raise refusal(f"{option}, which comes {len(found)} times")
        return found[0] if found else None

    def named(self, option: str, name: str) -> Values:
        """The value of an option that another one refers to by its name."""
        values = self._named.get((option, name))
        if values is None:
            raise refusal(f"{option} with the name '{name}', which is not there")
        values.used = True
        return values

    def finish(self) -> None:
        """Refuse what nobody asked for."""
        for _, values in self.options:
            if not values.used:
                raise refusal(f"{values.what}, which nothing uses")
            values.finish()


def _values(option: str, text: str) -> Values:
    if option in _JSON:
        return Values(option, _object(option, text), _JSON[option])
    if option in _KEYED:
        return Values(option, _joined(members(text, _KEYED[option])), _KEYED[option])
    raise refusal(f"option {option} {text[:_SHOWN]}")


def _object(option: str, text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, or thousands of brackets
        value = None
    if not isinstance(value, dict):
        raise refusal(f"{option} {text[:_SHOWN]}")
    return value


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, object]:
    found: dict[str, list[str]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return {key: values[0] if len(values) == 1 else Repeated(values) for key, values in found.items()}
