"""A command line taken apart: shell words, options with their values, values with their members.

Only what this service writes is read. A word that it would not write is refused by name, since a document that left
something out would be worth nothing.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError, invalid_arg

_ALONE = frozenset(("-S", "-no-user-config", "-nodefaults"))  # options without a value
_LAST = "-msg"  # the last option of ours; what follows is the user's own
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=", re.ASCII)
_MAX_LENGTH = 4 * 1024 * 1024  # characters: libvirt's own limit of a string in a call

Members = list[tuple[str, str]]


def refusal(what: str) -> LibvirtError:
    """What stands in a command line and has no place in a document of ours."""
    return LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, f"cannot be expressed as a domain: {what}",
                        domain=c.VIR_FROM_QEMU)


class CommandWords:
    """The parts of a command: ``environment``, ``program``, ``options`` in order, and the user's ``extra`` words."""

    def __init__(self, text: str) -> None:
        if len(text) > _MAX_LENGTH:
            raise invalid_arg(f"command of {len(text)} characters is longer than the {_MAX_LENGTH} permitted")
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise invalid_arg(f"the command is no list of shell words: {error}") from None
        self.environment: dict[str, str] = {}
        while words and _VARIABLE.match(words[0]):
            name, _, value = words.pop(0).partition("=")
            self.environment[name] = value
        if not words:
            raise invalid_arg("the command names no program")
        self.program = words.pop(0)
        self.options: list[tuple[str, str]] = []
        self.extra: list[str] = []
        position = 0
        while position < len(words):
            option = words[position]
            if not option.startswith("-"):
                raise refusal(f"'{option}'")
            if option in _ALONE:
                self.options.append((option, ""))
                position += 1
                continue
            if position + 1 == len(words):
                raise invalid_arg(f"option '{option}' lacks its value")
            self.options.append((option, words[position + 1]))
            position += 2
            if option == _LAST:
                self.extra = words[position:]
                break

    def all(self, option: str) -> list[str]:
        """The values of an option, in order."""
        return [value for name, value in self.options if name == option]

    def first(self, option: str) -> str | None:
        """The value of an option that comes once at most."""
        return next(iter(self.all(option)), None)

    def objects(self, option: str) -> Iterator[dict[str, Any]]:
        """The values of an option with JSON syntax."""
        for text in self.all(option):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                raise refusal(f"{option} {text[:200]}") from None
            if not isinstance(value, dict):
                raise refusal(f"{option} {text[:200]}")
            yield value


def members(text: str | None, implied: str = "") -> Members:
    """The members of a value "first,key=value": commas are doubled inside; ``implied`` is the first one's key."""
    parts: Members = []
    for place, part in enumerate(_split(text or "")):
        key, equals, value = part.partition("=")
        if equals:
            parts.append((key, value))
        elif place == 0 and implied:
            parts.append((implied, part))
        else:
            parts.append((part, "on"))
    return parts


def _split(text: str) -> list[str]:
    """Split at single commas and make one of two."""
    if not text:
        return []
    parts, current, position = [], "", 0
    while position < len(text):
        if text[position] == ",":
            if text[position + 1:position + 2] == ",":
                current += ","
                position += 2
                continue
            parts.append(current)
            current = ""
        else:
            current += text[position]
        position += 1
    return [*parts, current]


def mapping(text: str | None, implied: str = "") -> dict[str, str]:
    """As ``members``, for values in which no key comes twice."""
    return dict(members(text, implied))


def switched(value: str | None) -> bool | None:
    """QEMU's on and off."""
    return None if value is None else value == "on"


def number(text: str | None) -> int | None:
    """A decimal number. Raises ``LibvirtError`` for anything else."""
    if text is None:
        return None
    if not re.fullmatch("-?[0-9]{1,19}", text, re.ASCII):
        raise refusal(f"number '{text}'")
    return int(text)
