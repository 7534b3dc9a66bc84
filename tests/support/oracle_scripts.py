"""Runs one script against two libraries: libvirt, under the distribution's Python, and virtbus, under ours.

libvirt's ``test:///default`` is the oracle for our ``test`` driver. Each run is a process of its own, because both
libraries keep the state of that URI in the process.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

Library = Literal["libvirt", "virtbus"]

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "tests" / "conformance" / "scripts"
# Debian's python3-libvirt belongs to the distribution's Python, never to a virtual environment.
ORACLE_PYTHON = os.environ.get("VIRTBUS_TEST_ORACLE_PYTHON", "/usr/bin/python3")
SECONDS = 240  # the limit that a test sets for itself is shorter

RUNNER = """
import importlib, json, os, runpy, sys
root, script, library, uri = sys.argv[1:]
sys.path.append(root)
answers = os.dup(1)
os.dup2(2, 1)  # whatever a library prints must not mix with the answers
module = importlib.import_module(library)
result = runpy.run_path(script)["run"](module, uri)
with os.fdopen(answers, "w") as out:
    json.dump(result, out)
"""


@functools.cache
def oracle_available() -> bool:
    """Whether the distribution's Python has libvirt; where everything real must be there (CI), its lack is an error."""
    try:
        run_python(ORACLE_PYTHON, "import libvirt")
    except (OSError, subprocess.CalledProcessError):
        if os.environ.get("CI") == "true":
            raise
        return False
    return True


def script_names() -> list[str]:
    """The conformance scripts, by name."""
    return sorted(path.stem for path in SCRIPTS.glob("*.py"))


def run_script(name: str, library: Library, uri: str = "test:///default", folder: Path = SCRIPTS) -> dict[str, Any]:
    """Run a conformance script against a library at a URI: its steps and what each answered."""
    python = ORACLE_PYTHON if library == "libvirt" else sys.executable
    arguments = (str(ROOT), str(folder / f"{name}.py"), library, uri)
    steps = json.loads(run_python(python, RUNNER, *arguments))
    assert isinstance(steps, dict), f"{name} gave {steps!r}"
    return steps


@functools.cache
def oracle_answers(name: str) -> dict[str, Any]:
    """libvirt's own answers to a script, on ``test:///default``; asked once a run, so nobody may change them."""
    return run_script(name, "libvirt")


def ask_oracle(code: str, *arguments: str) -> Any:
    """What ``code``, run where ``libvirt`` can be imported, prints as JSON."""
    return json.loads(run_python(ORACLE_PYTHON, code, *arguments))


def run_python(python: str, code: str, *arguments: str) -> str:
    """The standard output of a child; a failing child raises with what it said on stderr in the notes."""
    dropped = {"PYTHONPATH", "LIBVIRT_DEFAULT_URI"}
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    child = subprocess.run([python, "-c", code, *arguments], capture_output=True, text=True, timeout=SECONDS,
                           check=False, env=environment | {"LC_ALL": "C.UTF-8", "TZ": "UTC"})
    if child.returncode:
        error = subprocess.CalledProcessError(child.returncode, python, child.stdout, child.stderr)
        error.add_note(child.stderr)
        raise error
    return child.stdout


needs_oracle = pytest.mark.skipif(
    not oracle_available(), reason="python3-libvirt is not installed (apt-get install python3-libvirt)")
