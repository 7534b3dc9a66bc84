"""Runs the parts of the benchmark and prints one table; with ``--write`` also into docs/benchmarks.md."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import documents, hung, life, listing, opening, rpc
from tests.bench.figures import HEADER, Figure
from tests.support.broker import PrivateBroker

PARTS: dict[str, Callable[[str, Path, int], list[Figure]]] = {
    "rpc": rpc.run, "listing": listing.run, "life": life.run, "hung": hung.run, "opening": opening.run,
    "documents": documents.run}
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- begin: written by make bench -->", "<!-- end -->"


def main() -> int:
    """Measure; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, of {','.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each comparison (default 9)")
    parser.add_argument("--write", action="store_true", help="write the table into docs/benchmarks.md")
    arguments = parser.parse_args()
    broker = PrivateBroker()
    broker.start(lambda line: print(line, flush=True))
    figures: list[Figure] = []
    try:
        for name in arguments.only.split(","):
            print(f"\n== {name}: {(sys.modules[PARTS[name].__module__].__doc__ or '').splitlines()[0]}", flush=True)
            folder = Path(tempfile.mkdtemp(prefix=f"virtbus-bench-{name}-"))
            try:
                with broker.fresh_url() as url:
                    figures += PARTS[name](url, folder, arguments.rounds)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        broker.stop()
    show(figures)
    if arguments.write:
        write(figures)
    return 0 if all(figure.met for figure in figures) else 1


def show(figures: list[Figure]) -> None:
    """The table, for people."""
    table = Table(*HEADER, title=f"virtbus against its floors, {where()}")
    for figure in figures:
        table.add_row(*figure.cells, style="" if figure.met else "bold red")
    Console(width=max(120, shutil.get_terminal_size().columns)).print(table)


def where() -> str:
    """Date and machine."""
    with open("/proc/cpuinfo") as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown CPU")
    qemu = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=False).stdout
    version = qemu.split("version ")[1].split()[0] if "version " in qemu else "none"
    return (f"{datetime.date.today()}, {os.cpu_count()} x {model}, Linux {platform.release()}, "
            f"Python {platform.python_version()}, QEMU {version}")


def write(figures: list[Figure]) -> None:
    """Put the table into the page, between its marks."""
    lines = [f"{where()}:", "", "| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    lines += ["| " + " | ".join(figure.cells) + " |" for figure in figures]
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}")
    print(f"written to {DOCUMENT.name}")


if __name__ == "__main__":
    sys.exit(main())
