"""`make check`: lint, types, import contracts, and each distribution by itself.

The last is what the shared .venv hides: there, a service that imports a library it never declared, or a gateway that
reaches into a service, works. So each distribution is built as a wheel and imported, module by module, beside
nothing but the libraries its own metadata asks for, directly and through them.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("shared", "gateway", "services/domain", "services/network", "services/storage", "services/nodedev")

# Imported in a bare interpreter: no site-packages (-S), no environment, no current folder (-I).
IMPORT_ALL = """\
import importlib, pkgutil, sys
folder, package, skipped = sys.argv[1:]
sys.path.insert(0, folder)
names = [package]
names += [found.name for found in pkgutil.walk_packages(importlib.import_module(package).__path__, package + ".")]
names = [name for name in names if not name.endswith("__main__") and not (skipped and (name + ".").startswith(skipped))]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


@dataclass(frozen=True)
class Alone:
    """One distribution to import by itself."""

    requirement: str
    package: str
    skipped: str = ""
    without: tuple[str, ...] = ()


SERVICE_HALF = ("lxml", "prometheus-client", "pydantic-settings", "structlog")
SERVICES = ("virtbus-domain", "virtbus-network", "virtbus-storage", "virtbus-nodedev")
ALONE = (
    Alone("virtbus-shared", "virtbus_shared", skipped="virtbus_shared.service.", without=SERVICE_HALF),
    Alone("virtbus-shared[service]", "virtbus_shared", without=("virtbus", *SERVICES)),
    Alone("virtbus", "virtbus", without=(*SERVICE_HALF, *SERVICES)),
    *(Alone(name, name.replace("-", "_"), without=("virtbus", *set(SERVICES) - {name})) for name in SERVICES),
)


class CheckError(Exception):
    """One check failed; the text says how, unless the tool said so itself."""


def main() -> None:
    """Run every check, and end with status 1 if any failed."""
    bin_folder = Path(sys.executable).parent
    failed: list[str] = []
    checks: tuple[tuple[str, Callable[[], None]], ...] = (
        ("ruff", lambda: tool([str(bin_folder / "ruff"), "check"])),
        ("mypy --strict", lambda: tool([sys.executable, "-m", "mypy"])),
        ("import contracts", lambda: tool([str(bin_folder / "lint-imports"), "--no-logo"])),
        ("each distribution alone", import_each_alone),
    )
    for name, check in checks:
        print(f"check: {name}", flush=True)
        began = time.monotonic()
        try:
            check()
        except CheckError as error:
            failed.append(name)
            print(f"check: {name}: {error}", flush=True)
        else:
            print(f"check: {name}: passed after {time.monotonic() - began:.0f} s", flush=True)
    if failed:
        sys.exit(f"check: failed: {', '.join(failed)}")
    print("check: all passed")


def tool(command: list[str]) -> None:
    """Run a tool that prints what it finds."""
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status != 0:
        raise CheckError(f"status {status}")


def import_each_alone() -> None:
    """Build the wheels, then import each beside its declared dependencies only."""
    with tempfile.TemporaryDirectory(prefix="virtbus-check-") as scratch:
        wheels = build_wheels(Path(scratch))
        problems = []
        for number, alone in enumerate(ALONE):
            try:
                count = import_alone(alone, wheels, Path(scratch) / str(number))
            except CheckError as error:
                problems.append(f"{alone.requirement}: {error}")
            else:
                print(f"  {alone.requirement}: {count} modules", flush=True)
    if problems:
        raise CheckError("\n".join(problems))


def build_wheels(scratch: Path) -> dict[str, Path]:
    """Our distributions by name, each an unpacked wheel: what a user would get, not what the checkout holds."""
    command = [
        sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps",
        "--no-build-isolation", "--wheel-dir", str(scratch), *(f"./{source}" for source in SOURCES),
    ]
    tool(command)
    unpacked: dict[str, Path] = {}
    for wheel in scratch.glob("*.whl"):
        name = canonicalize_name(wheel.name.partition("-")[0])
        unpacked[name] = scratch / name
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked[name])
    return unpacked


def import_alone(alone: Alone, wheels: dict[str, Path], folder: Path) -> int:
    """How many modules of a distribution could be imported in a folder of links to it and what it asks for."""
    names = closure(Requirement(alone.requirement))
    unwanted = sorted(names & set(alone.without))
    if unwanted:
        raise CheckError(f"brings in {', '.join(unwanted)}")
    folder.mkdir()
    for name in names:
        for entry in top_level(name, wheels):
            link = folder / entry.name
            if not link.exists():
                link.symlink_to(entry)
    if not (folder / alone.package / "py.typed").exists():
        raise CheckError("its wheel lacks py.typed, so its users' type checkers would ignore its types")
    command = [sys.executable, "-I", "-S", "-c", IMPORT_ALL, str(folder), alone.package, alone.skipped]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode != 0:
        raise CheckError(f"cannot be imported by itself\n{done.stderr}")
    return int(done.stdout)


def closure(wanted: Requirement) -> set[str]:
    """Names of a requirement and of everything it asks for, extras and markers applied."""
    found: set[tuple[str, frozenset[str]]] = set()
    open_ones = [wanted]
    while open_ones:
        requirement = open_ones.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in found:
            continue
        found.add(key)
        for text in metadata.requires(requirement.name) or []:
            needed = Requirement(text)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                open_ones.append(needed)
    return {name for name, _extras in found}


def top_level(name: str, wheels: dict[str, Path]) -> list[Path]:
    """The files and folders a distribution puts on the import path."""
    if name in wheels:
        return list(wheels[name].iterdir())
    distribution = metadata.distribution(name)
    names = {file.parts[0] for file in distribution.files or [] if not re.match(r"\.\.|__pycache__", file.parts[0])}
    return [Path(str(distribution.locate_file(entry))) for entry in sorted(names)]


if __name__ == "__main__":
    main()
