"""How answers are printed: for people as virsh prints them, for programs as JSON.

On a terminal tables are drawn by rich; elsewhere they are virsh's, so that scripts which parse virsh's keep working.
With ``--output json`` each verb prints one document whose keys are those that its help names; they do not change.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum

Json = Mapping[str, object] | Sequence[Mapping[str, object]]


class Format(StrEnum):
    """What ``--output`` takes."""

    TABLE = "table"
    JSON = "json"


class Output:
    """Prints to standard output in one format."""

    def __init__(self, form: Format) -> None:
        self.json = form is Format.JSON

    def document(self, value: Json) -> None:
        """A JSON document."""
        json.dump(value, sys.stdout, ensure_ascii=False, indent=None if isinstance(value, Mapping) else 1)
        sys.stdout.write("\n")

    def table(self, heads: Mapping[str, str], rows: Sequence[Mapping[str, object]]) -> None:
        """Rows of named values. ``heads`` says which keys a person sees, under which heading; JSON has all keys."""
        if self.json:
            self.document(rows)
            return
        cells = [[_cell(row[key]) for key in heads] for row in rows]
        if sys.stdout.isatty():
            _draw(list(heads.values()), cells)
        else:
            _print(list(heads.values()), cells)

    def record(self, lines: Mapping[str, object], value: Mapping[str, object], width: int = 16) -> None:
        """One thing: ``lines`` (label to text) for people, ``value`` for programs."""
        if self.json:
            self.document(value)
            return
        for label, text in lines.items():
            print(f"{label + ':':<{width}}{text}")

    def lines(self, lines: Sequence[object], value: Json) -> None:
        """Bare lines, such as names."""
        if self.json:
            self.document(value)
        else:
            for line in lines:
                print(line)

    def text(self, text: str, value: Mapping[str, object]) -> None:
        """A sentence, or a document such as XML."""
        if self.json:
            self.document(value)
        else:
            print(text.rstrip("\n"))


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def _print(heads: list[str], rows: list[list[str]]) -> None:
    """virsh's table: three blanks between columns, a ruler below the heads."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = ["   ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in (heads, *rows)]
    lines.insert(1, "-" * (sum(widths) + 3 * len(widths)))
    for number, line in enumerate(lines):
        print(line if number == 1 else f" {line}".rstrip())


def _draw(heads: list[str], rows: list[list[str]]) -> None:
    from rich import box  # noqa: PLC0415 - only a terminal pays for rich
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))  # Text, because names may look like rich's markup
    Console().print(table)


def size(value: int) -> str:
    """Bytes as virsh says them: ``1.00 MiB``."""
    amount, unit = float(value), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):  # noqa: B007
        if amount < 1024:
            break
        amount /= 1024
    return f"{amount:.2f} {unit}"
