"""A committed table of the differences between libvirt's answers and ours that are meant, for comparisons by path.

A TOML file of ``[[difference]]`` entries. ``documents`` and ``paths`` are lists of patterns, in which ``*`` stands for
any text; an entry may also say what the two answers are, ``virtbus`` and ``libvirt``, in the same way. ``reason`` is
for people. A pattern that explains nothing any more makes the suite fail, so that the tables stay true.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.document_difference import Differences

KEYS = {"documents", "paths", "virtbus", "libvirt", "reason"}


@dataclass(frozen=True)
class Entry:
    """Some differences of some documents, and why they are."""

    documents: tuple[str, ...]
    paths: tuple[str, ...]
    virtbus: str
    libvirt: str
    reason: str

    def explains(self, document: str, path: str, virtbus: str, libvirt: str) -> bool:
        """Whether this difference is on record here."""
        return (any(_matches(pattern, document) for pattern in self.documents)
                and any(_matches(pattern, path) for pattern in self.paths)
                and _matches(self.virtbus, virtbus) and _matches(self.libvirt, libvirt))

    def idle(self, found: Mapping[str, Differences]) -> list[str]:
        """The patterns that explain none of the differences by document."""
        mine = [(document, path) for document, differences in found.items()
                for path, pair in differences.items() if self.explains(document, path, *pair)]
        return [*_unused(self.documents, {document for document, _ in mine}),
                *_unused(self.paths, {path for _, path in mine})]


def load(path: Path) -> list[Entry]:
    """The entries of a table."""
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("difference", [])
    for entry in entries:
        assert {"documents", "paths", "reason"} <= entry.keys() <= KEYS, entry
        assert len(entry["reason"]) > 20, entry
    return [Entry(tuple(entry["documents"]), tuple(entry["paths"]), entry.get("virtbus", "*"),
                  entry.get("libvirt", "*"), entry["reason"]) for entry in entries]


def unexplained(document: str, differences: Differences, table: Iterable[Entry]) -> Differences:
    """The differences of a document that are not on record."""
    return {path: pair for path, pair in differences.items()
            if not any(entry.explains(document, path, *pair) for entry in table)}


def report(differences: Differences) -> str:
    """Differences for people to read."""
    return "\n".join(f"{path}\n  virtbus: {mine}\n  libvirt: {their}" for path, (mine, their) in differences.items())


def _unused(patterns: Iterable[str], values: Iterable[str]) -> list[str]:
    return [pattern for pattern in patterns if not any(_matches(pattern, value) for value in values)]


def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), text, re.DOTALL) is not None
