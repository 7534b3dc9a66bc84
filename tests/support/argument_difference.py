"""In what two QEMU commands that should mean the same differ, by option and property.

A value may be written as JSON or as ``first,key=value``; both are read into properties, nested ones with dots. Old
options that QEMU itself turns into properties of others are read as these. What identifies an option is its ``id`` or
``node-name``, else its number among those of its name; a device without one is taken for the other command's of its
kind. The order of options means nothing to QEMU except where it creates what it refers to: among ``-device``, where it
also decides the places that were left open, and among the block nodes. Numbers of inherited files, and the folders of
one run, differ for no reason and are written alike.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.document_difference import ABSENT, Differences, Values

# What a value of the form "first,key=value" calls its first part; QEMU's names, for the options that have one.
FIRST = {
    "-accel": "accel", "-audiodev": "driver", "-blockdev": "driver", "-boot": "order", "-chardev": "backend",
    "-cpu": "model", "-device": "driver", "-fsdev": "fsdriver", "-fw_cfg": "name", "-m": "size", "-machine": "type",
    "-mon": "chardev", "-name": "guest", "-netdev": "type", "-numa": "type", "-object": "qom-type",
    "-sandbox": "enable", "-smp": "cpus", "-spice": "port", "-tpmdev": "type", "-vnc": "vnc",
}
KEYED = {*FIRST, "-acpitable", "-action", "-add-fd", "-display", "-drive", "-global", "-msg", "-overcommit", "-rtc",
         "-set", "-smbios"}
ORDERED = ("-device", "-blockdev")
# All options of these names are one set of properties.
MERGED = {"-action", "-global", "-machine"}
# Options that QEMU reads as others: see "-action" and "-machine" in qemu(1).
SYNONYMS = {
    "-no-acpi": ("-machine", "acpi=off"), "-no-hpet": ("-machine", "hpet=off"),
    "-no-reboot": ("-action", "reboot=shutdown"), "-no-shutdown": ("-action", "shutdown=pause"),
    "-watchdog-action": ("-action", "watchdog={}"),
}
# The command's environment that every guest gets, whatever its document says.
STANDARD_ENVIRONMENT = {"LC_ALL", "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_DATA_HOME", "XDG_CACHE_HOME",
                        "XDG_CONFIG_HOME"}
# Properties whose values are numbers of inherited files, and those that are encrypted with a key of this run.
DESCRIPTORS = {"fd", "fds", "vhostfd", "vhostfds", "tpm-fd", "cancel-fd"}
SECRET = {"data", "iv"}
# Options and properties in which digits are no number.
FREE_TEXT = {"-append", "-fw_cfg", "-name", "-smbios"}
NAMES = {"serial", "name", "wwn", "vendor", "product"}

_NUMBER = re.compile(r"0x[0-9a-f]+|[0-9]+", re.IGNORECASE)
_PLACE = re.compile(r"(0x)?[0-9a-f]+(\.(0x)?[0-9a-f]+)?", re.IGNORECASE)

Properties = dict[str, str]


@dataclass(frozen=True)
class Command:
    """A command to start QEMU: what its environment gets, the program, its options by name and identity."""

    environment: Mapping[str, str]
    emulator: str
    options: Mapping[str, Properties]


def from_shell(text: str, folders: Mapping[str, str] | None = None) -> Command:
    """A command as shell text: variables, the program, its arguments.

    ``folders`` are regular expressions of paths, and how they are written instead.
    """
    words = shlex.split(text)
    for pattern, instead in (folders or {}).items():
        words = [re.sub(pattern, instead, word) for word in words]
    program = next(number for number, word in enumerate(words) if word.startswith("/"))
    environment = dict(word.split("=", 1) for word in words[:program])
    return read(words[program:], environment)


def read(argv: Sequence[str], environment: Mapping[str, str]) -> Command:
    """A command from its argument list."""
    options: dict[str, Properties] = {}
    seen: Counter[str] = Counter()
    for word, operand in _pairs(argv[1:]):
        option, value = word, operand
        if word in SYNONYMS:
            option, value = SYNONYMS[word][0], SYNONYMS[word][1].format(operand)
        properties = _properties(option, value)
        identity = properties.get("id") or properties.get("node-name")
        key = f"{option} {identity}" if identity else option
        if option in MERGED:
            options.setdefault(option, {}).update(properties)
            continue
        seen[key] += 1
        options[key if seen[key] == 1 else f"{key} #{seen[key]}"] = properties
    kept = {name: value for name, value in environment.items() if name not in STANDARD_ENVIRONMENT}
    return Command(kept, argv[0], options)


def differing_commands(ours: Command, theirs: Command, given: Values) -> Differences:
    """The differences of two commands; ``given`` tells random values from the definition's own."""
    found: Differences = {}

    def note(where: str, mine: str | None, their: str | None) -> None:
        pair = ABSENT if mine is None else given.masked(mine), ABSENT if their is None else given.masked(their)
        if pair[0] != pair[1]:
            found[where] = pair

    ours, theirs = _named(ours, theirs), _named(theirs, ours)
    note("emulator", ours.emulator, theirs.emulator)
    for name in {**theirs.environment, **ours.environment}:
        note(f"environment {name}", ours.environment.get(name), theirs.environment.get(name))
    for key in {**theirs.options, **ours.options}:
        without: Properties | None = {} if key in MERGED else None
        mine, their = ours.options.get(key, without), theirs.options.get(key, without)
        if mine is None or their is None:
            note(key, _written(mine), _written(their))
            continue
        for name in {**their, **mine}:
            note(f"{key}/{name}" if name else key, mine.get(name), their.get(name))
    for option in ORDERED:
        orders = [_order(option, here.options, other.options) for here, other in ((ours, theirs), (theirs, ours))]
        note(f"{option} (order)", *orders)
    return found


def _named(command: Command, other: Command) -> Command:
    """A command whose devices without an ``id`` have that of the other's device of their kind, if it has one."""
    free = {key: properties for key, properties in other.options.items()
            if key.startswith("-device ") and "id" in properties and key not in command.options}
    options = {}
    for key, properties in command.options.items():
        name = key
        if key.startswith("-device") and "id" not in properties:
            name = next((mine for mine, theirs in free.items() if theirs["driver"] == properties.get("driver")), key)
        options[name] = properties if name == key else properties | {"id": free.pop(name)["id"]}
    return Command(command.environment, command.emulator, options)


def _order(option: str, options: Mapping[str, Properties], others: Mapping[str, Properties]) -> str:
    """The identities of the options of one name that both commands have, in the order of one."""
    return " ".join(key.partition(" ")[2] for key in options if key.startswith(f"{option} ") and key in others)


def _pairs(words: Sequence[str]) -> list[tuple[str, str | None]]:
    """Options and their values; QEMU has no option whose value begins with "-", but for a kernel's command line."""
    found: list[tuple[str, str | None]] = []
    rest = list(words)
    while rest:
        option = rest.pop(0)
        takes = rest and (option == "-append" or (option.startswith("-") and not rest[0].startswith("-")))
        found.append((option, rest.pop(0) if takes else None))
    return found


def _properties(option: str, value: str | None) -> Properties:
    """The properties that an option's value holds, spelled one way; "" is the name of a value that has no parts."""
    if value is None:
        return {}
    if value.startswith("{"):
        pairs = _flat(json.loads(value))
    elif option in KEYED:
        pairs = _keyed(value, FIRST.get(option, ""))
        if option == "-global" and pairs[0][0] == "driver":  # the long form
            long = dict(pairs)
            pairs = [(f"{long['driver']}.{long['property']}", long["value"])]
    else:
        pairs = [("", value)]
    properties: Properties = {}
    if option == "-cpu":  # where QEMU takes both
        pairs = [(name.replace("_", "-"), item) for name, item in pairs]
    for name, item in pairs:
        text = _spelled(option, name, item)
        # Options with lists repeat a name: smbios values, host forwards.
        properties[name] = f"{properties[name]}, {text}" if name in properties else text
    return properties


def _flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """A JSON value's members with dotted names, as the other syntax writes them."""
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = {str(number): item for number, item in enumerate(value)}.items()
    else:
        return [(prefix.removesuffix("."), value)]
    return [pair for name, item in members for pair in _flat(item, f"{prefix}{name}.")]


def _keyed(value: str, first: str) -> list[tuple[str, str]]:
    """The parts of "first,key=value,flag"; a doubled comma is one, a flag is switched on."""
    parts = [part.replace("\0", ",") for part in value.replace(",,", "\0").split(",")]
    pairs = []
    for number, part in enumerate(parts):
        name, equals, item = part.partition("=")
        if equals:
            pairs.append((name, item))
        elif number == 0:
            pairs.append((first, part))
        else:
            pairs.append((name, "on"))
    return pairs


def _spelled(option: str, name: str, value: Any) -> str:
    """A property's value in one spelling of the several that mean the same."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "on", False: "off"}[value]
    text = str(value)
    if name in DESCRIPTORS:
        text = re.sub(r"[0-9]+", "N", text)
    elif option == "-object" and name in SECRET:
        text = "(encrypted)"
    elif name == "addr" and _PLACE.fullmatch(text):
        slot, _, function = text.partition(".")
        text = f"{int(slot, 16):x}.{int(function or '0', 16):x}"
    elif option == "-m" and name in ("size", "maxmem"):
        text = _mebibytes(text)
    elif _NUMBER.fullmatch(text) and option not in FREE_TEXT and name not in NAMES:
        text = str(int(text, 16) if text[:2].lower() == "0x" else int(text))
    return {"yes": "on", "no": "off"}.get(text, text)


def _mebibytes(text: str) -> str:
    """A size of ``-m``, whose unit is MiB where none is given."""
    match = re.fullmatch(r"([0-9]+)([kKmMgGtT]?)", text)
    if match is None:
        return text
    factor = {"k": 1 / 1024, "": 1, "m": 1, "g": 1024, "t": 1024 * 1024}[match[2].lower()]
    return f"{int(match[1]) * factor:g}M"


def _written(properties: Properties | None) -> str | None:
    """An option on one line."""
    return None if properties is None else ",".join(f"{name}={value}" if name else value
                                                    for name, value in properties.items())
