"""A document as QEMU's command line without anything being made for it, and what is written in one, read back.

QEMU takes values apart in two ways: JSON, and "first,key=value" with doubled commas. Both are read here from QEMU's
own rules (qemu(1), ``util/keyval.c``'s grammar), not by the code that writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from tests.support.real_qemu import AnySecret, capabilities, read
from virtbus_domain.drivers.qemu.command import Setup, boot_order, build
from virtbus_domain.drivers.qemu.command.arguments import Arguments
from virtbus_domain.drivers.qemu.command.devices import FAMILIES, of_family
from virtbus_domain.drivers.qemu.command.interface import TAP_TYPES
from virtbus_domain.drivers.qemu.command.parts import Part, append
from virtbus_domain.drivers.qemu.names import assign_names
from virtbus_domain.drivers.qemu.reading import find_emulator
from virtbus_domain.xml.domain import Domain

UUID = "6f1b3a52-9f0e-4a55-8f2c-0d3f5e4a7b10"
RUN = Path("/run/x")


def domain_xml(devices: str = "", *, machine: str = "q35", top: str = "", os: str = "", name: str = "guest",
               kind: str = "qemu", attributes: str = "") -> str:
    """A domain with these parts; ``top`` are elements beside <os> and <devices>."""
    return (f"<domain type='{kind}'{attributes}><name>{escape(name)}</name><uuid>{UUID}</uuid>"
            f"<memory unit='MiB'>64</memory><os><type arch='x86_64' machine='{machine}'>hvm</type>{os}</os>{top}"
            f"<devices>{devices}</devices></domain>")


def setup_of(document: str, **more: Any) -> Setup:
    """The document completed and named, with made-up descriptors for its taps and a file for every secret."""
    model = read(document, RUN)
    return setup_for(model, **more)


def setup_for(model: Domain, **more: Any) -> Setup:
    """The same for a completed model."""
    assert model.os is not None
    assert model.devices is not None
    known = capabilities(find_emulator(model))
    machine = known.canonical_machine(model.os.machine)
    assign_names(model.devices, q35=machine.name.startswith("pc-q35"))
    taps = [str(card.alias) for card in model.devices.interfaces if card.type in TAP_TYPES]
    given: dict[str, Any] = {
        "descriptors": {name: [str(number)] for number, name in enumerate(taps, 20)},
        "secrets": AnySecret(RUN), "boot": boot_order(model.os, model.devices)}
    return Setup(domain=model, capabilities=known, machine=machine, run_dir=RUN, **given | more)


def command(document: str, **more: Any) -> list[str]:
    """The argument list of a document."""
    return build(setup_of(document, **more), monitor="fd=3").argv


def options(argv: list[str], option: str) -> list[str]:
    """What follows each occurrence of an option."""
    return [value for name, value in pairwise(argv) if name == option]


def only(argv: list[str], option: str) -> str:
    """What follows the one occurrence of an option."""
    [value] = options(argv, option)
    return value


def objects(argv: list[str], option: str) -> dict[str, dict[str, Any]]:
    """The JSON values of an option by name, without it."""
    found = {}
    for value in options(argv, option):
        item = json.loads(value)
        found[item.pop("node-name" if option == "-blockdev" else "id", "")] = item
    return found


def parts(document: str, family: str, **more: Any) -> list[Part]:
    """The parts of the devices of one family."""
    setup = setup_of(document, **more)
    return [part for device in of_family(setup.devices, family) for part in FAMILIES[family](device, setup)]


def written(document: str, family: str, **more: Any) -> list[Any]:
    """The values of the options that the devices of one family become: JSON as what it means, others as they are."""
    made = Arguments("qemu")
    append(made, parts(document, family, **more))
    return [json.loads(value) if value.startswith("{") else value for value in made.list[2::2]]


def keyed(value: str) -> list[tuple[str, str]]:
    """A comma-separated value as QEMU reads it: left to right, a doubled comma is one of a value's own."""
    found = []
    for part in _split(value):
        key, _, content = part.partition("=")
        found.append((key, content))
    return found


def _split(value: str) -> Iterator[str]:
    current, position = "", 0
    while position < len(value):
        if value.startswith(",,", position):
            current, position = current + ",", position + 2
        elif value[position] == ",":
            yield current
            current, position = "", position + 1
        else:
            current, position = current + value[position], position + 1
    yield current


def texts(argv: list[str]) -> list[str]:
    """All strings that QEMU has of an argument list when it has taken it apart."""
    found: list[str] = []
    for option, value in _pairs(argv):
        if value is None or option in _WHOLE:
            found += [] if value is None else [value]
        elif value.startswith("{"):
            found += _strings(json.loads(value))
        else:
            found += [content or key for key, content in keyed(value)]
    return found


def _strings(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return [value] if isinstance(value, str) else []


def shape(argv: list[str]) -> list[Any]:
    """An argument list without its values: the options, and the names inside of what they take."""
    return [part for option, value in _pairs(argv)
            for part in (option, *(() if value is None else (_shape_of(option, value),)))]


def _pairs(argv: list[str]) -> Iterator[tuple[str, str | None]]:
    """Options and their values."""
    rest = iter(argv[1:])
    for word in rest:
        yield word, None if word in _ALONE else next(rest)


_ALONE = ("-S", "-no-user-config", "-nodefaults")
# Options whose value QEMU does not take apart.
_WHOLE = ("-pidfile", "-uuid", "-kernel", "-initrd", "-append", "-dtb", "-bios", "-k", "-m")


def _shape_of(option: str, value: str) -> Any:
    if option in _WHOLE:
        return None
    if value.startswith("{"):
        return _names(json.loads(value))
    return [key if index or "=" in part else "" for index, part in enumerate(_split(value))
            for key in [part.partition("=")[0]]]


def _names(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _names(item) for key, item in value.items()}
    return [_names(item) for item in value] if isinstance(value, list) else type(value).__name__
