"""A command line as shell words, and the words as options: the outer grammar, without what any option means.

Only what this service writes is read. A word that it would not write is refused by name, since a document that left
something out would be worth nothing.
"""

from __future__ import annotations

import re
import shlex

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError, invalid_arg

_ALONE = frozenset(("-S", "-no-user-config", "-nodefaults"))  # options without a value
_LAST = "-msg"  # the last option of ours; what follows is the user's own
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=", re.ASCII)
# Characters, which hundreds of devices take. Longer ones only cost the time of all who wait for the service.
_MAX_LENGTH = 512 * 1024
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_COMMA = "\0"  # stands for a doubled comma while a value is split; no argument has it


def refusal(what: str) -> LibvirtError:
    """What stands in a command line and has no place in a document of ours."""
    return LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, f"cannot be expressed as a domain: {what}",
                        domain=c.VIR_FROM_QEMU)


def check_characters(text: str) -> str:
    """The text, if a document can hold it; ``LibvirtError`` (``VIR_ERR_INVALID_ARG``) otherwise."""
    found = _NOT_IN_XML.search(text)
    if found:
        raise invalid_arg(f"character {ord(found[0]):#x} cannot be part of a document")
    return text


class CommandWords:
    """The parts of a command: ``environment``, ``program``, ``options`` in order, and the user's ``extra`` words."""

    def __init__(self, text: str) -> None:
        if len(text) > _MAX_LENGTH:
            raise invalid_arg(f"command of {len(text)} characters is longer than the {_MAX_LENGTH} permitted")
        try:
            words = shlex.split(check_characters(text))
        except ValueError as error:
            raise invalid_arg(f"the command is no list of shell words: {error}") from None
        variables = 0
        while variables < len(words) and _VARIABLE.match(words[variables]):
            variables += 1
        self.environment = dict(word.split("=", 1) for word in words[:variables])
        if variables == len(words):
            raise invalid_arg("the command names no program")
        self.program = words[variables]
        self.options, self.extra = _options(words[variables + 1:])


def _options(words: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    options: list[tuple[str, str]] = []
    position = 0
    while position < len(words) and (not options or options[-1][0] != _LAST):
        option = words[position]
        if not option.startswith("-"):
            raise refusal(f"'{option}'")
        alone = option in _ALONE
        if not alone and position + 1 == len(words):
            raise invalid_arg(f"option '{option}' lacks its value")
        options.append((option, "" if alone else words[position + 1]))
        position += 1 if alone else 2
    return options, words[position:]


def members(text: str, implied: str = "") -> list[tuple[str, str]]:
    """The members of a value "first,key=value": commas are doubled inside; ``implied`` is the first one's key."""
    pairs: list[tuple[str, str]] = []
    for place, part in enumerate(text.replace(",,", _COMMA).split(",")):
        key, equals, value = part.replace(_COMMA, ",").partition("=")
        if place == 0 and implied and not equals:
            pairs.append((implied, key))
        else:
            pairs.append((key, value if equals else "on"))
    return pairs
