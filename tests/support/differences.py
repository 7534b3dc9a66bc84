"""Compares what two libraries answered, against a table of the differences that are meant.

A table is a TOML file of three kinds of entries, each with a ``reason``; an entry that explains nothing any more makes
the suite fail, so that the tables stay true:

* ``difference``: ``steps`` of a ``script`` (``*`` stands for any text) that may answer otherwise.
* ``absent``: ``functions`` of libvirt that virtbus answers with code 3 in a ``script``, whatever libvirt answers.
* ``wording``: ``ours``, a regular expression; what it matches in our error messages libvirt does not say. ``script``
  names one script that shows it; it holds for all.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from virtbus_shared import constants as c

Steps = dict[str, Any]
Entry = dict[str, Any]
Table = list[tuple[str, Entry]]  # (kind, entry)

KINDS = ("difference", "absent", "wording")
ABSENT = "(no such step)"


def load(*paths: Path) -> Table:
    """The entries of several tables."""
    files = [tomllib.loads(path.read_text(encoding="utf-8")) for path in paths]
    return [(kind, entry) for file in files for kind in KINDS for entry in file.get(kind, [])]


def differing(ours: Steps, theirs: Steps) -> dict[str, tuple[Any, Any]]:
    """Step -> (virtbus, libvirt), for the steps that are not alike; JSON text tells 1 from true."""
    pairs = {step: (ours.get(step, ABSENT), theirs.get(step, ABSENT)) for step in {**theirs, **ours}}
    return {step: pair for step, pair in pairs.items() if json.dumps(pair[0]) != json.dumps(pair[1])}


def compare(script: str, ours: Steps, theirs: Steps, table: Table) -> None:
    """Fail on each difference that no entry explains, and on each entry of this script that explains none."""
    left = differing(ours, theirs)
    idle = []
    for kind, entry in table:
        explained = [step for step, pair in left.items() if _EXPLAINS[kind](entry, script, step, *pair)]
        unused = _unused(kind, entry, explained, left)
        if entry["script"] == script and unused:
            idle.append(f"{unused} ({entry['reason']})")
        for step in explained:
            del left[step]
    report = "\n".join(f"{step}\n  virtbus: {mine!r}\n  libvirt: {their!r}" for step, (mine, their) in left.items())
    assert not report, f"\n{report}"
    assert not idle, "on record as different, but alike by now:\n" + "\n".join(idle)


def _unused(kind: str, entry: Entry, explained: list[str], found: dict[str, tuple[Any, Any]]) -> list[str]:
    """The parts of an entry that explain nothing."""
    match kind:
        case "difference":
            return [step for step in entry["steps"] if not any(_matches(step, found) for found in explained)]
        case "absent":
            said = json.dumps([found[step][0] for step in explained])
            return [name for name in entry["functions"] if f": {name}\"" not in said]
        case _:
            return [] if explained else [entry["ours"]]


def _matches(pattern: str, step: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), step, re.DOTALL) is not None


def _is_recorded(entry: Entry, script: str, step: str, ours: Any, theirs: Any) -> bool:
    del ours, theirs
    return bool(entry["script"] == script) and any(_matches(pattern, step) for pattern in entry["steps"])


def _is_absent(entry: Entry, script: str, step: str, ours: Any, theirs: Any) -> bool:
    del step, theirs
    match ours:
        case {"error": [c.VIR_ERR_NO_SUPPORT, _, str(message)]}:
            return bool(entry["script"] == script) and message.rpartition(": ")[2] in entry["functions"]
    return False


def _is_wording(entry: Entry, script: str, step: str, ours: Any, theirs: Any) -> bool:
    del script, step
    match ours, theirs:
        case {"error": [int(code), int(domain), str(said)]}, {"error": list(other)}:
            return bool([code, domain, re.sub(entry["ours"], "", said)] == other)
    return False


_EXPLAINS = {"difference": _is_recorded, "absent": _is_absent, "wording": _is_wording}
