"""Small definitions, each made for one rule of libvirt's, and what must come of them: tests/domain/definitions/*.toml.

An entry is under the name of the pass of ours that has the rule. It is a guest (``devices``, or other parts of the
document; the rest is the least that a guest needs) or a whole ``document``, for the QEMU driver or the one that
``driver`` names. ``stored`` has XPaths and their values in the document that is stored; or ``error`` has the code and
the domain of libvirt's refusal and ``message`` its text. ``unasked`` is why libvirt itself is not asked.
"""

from __future__ import annotations

import functools
import itertools
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lxml import etree

from tests.support.embed import Refusal

FILES = sorted((Path(__file__).parents[1] / "domain" / "definitions").glob("*.toml"))
UUID = "7795eb01-f6a4-8304-79aa-97f2502e193f"

Answer = str | Refusal
Value = str | int | None


@dataclass(frozen=True)
class Case:
    """A definition, the pass that matters to it, and what is expected: a refusal, or values by XPath."""

    name: str
    rule: str
    driver: Literal["qemu", "test"]
    document: str
    refusal: Refusal | None = None
    stored: dict[str, Value] = field(default_factory=dict)
    unasked: str = ""

    def expected(self) -> Refusal | dict[str, Value]:
        """What ``seen`` must make of an answer."""
        return self.refusal or self.stored

    def seen(self, answer: Answer) -> Refusal | dict[str, Value]:
        """Of a driver's answer, the stored document or its refusal, what this case is about."""
        if isinstance(answer, Refusal):
            return answer
        root = etree.fromstring(answer.encode())
        return {path: _value(root.xpath(path)) for path in self.stored}


def guest(devices: str = "", body: str = "", *, os: str = "", os_attributes: str = "", root_attributes: str = "",
          machine: str = "q35", memory: str = "<memory>1048576</memory>") -> str:
    """A guest for QEMU without hardware acceleration, with these parts put in."""
    return (f"<domain type='qemu' {root_attributes}><name>x</name><uuid>{UUID}</uuid>{memory}<os {os_attributes}>"
            f"<type arch='x86_64' machine='{machine}'>hvm</type>{os}</os>{body}<devices>{devices}</devices></domain>")


@functools.cache
def cases() -> dict[str, Case]:
    """All of them, each by its rule and a number, which is its place among those of the rule."""
    rules = itertools.chain.from_iterable(tomllib.loads(path.read_text()).items() for path in FILES)
    made = [_case(f"{rule} {number}", rule, entry)
            for rule, entries in rules for number, entry in enumerate(entries, 1)]
    return {case.name: case for case in made}


def _case(name: str, rule: str, entry: dict[str, Any]) -> Case:
    driver = entry.pop("driver", "qemu")
    unasked = entry.pop("unasked", "")
    stored = entry.pop("stored", {})
    code, domain = entry.pop("error", (0, 0))
    refusal = Refusal(code, domain, entry.pop("message")) if code else None
    document = entry["document"] if "document" in entry else guest(**entry)
    return Case(name, rule, driver, document, refusal, stored, unasked)


def _value(found: Any) -> Value:
    """What an XPath gives: a count, or the first node's text."""
    if isinstance(found, float):
        return int(found)
    if not found:
        return None
    return (found[0].text or "").strip() if isinstance(found[0], etree._Element) else str(found[0])
