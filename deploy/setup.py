"""Makes .venv: every distribution of the workspace, editable, with its tools, at the versions of constraints.txt.

Run as `python3 -m deploy.setup`, under whatever `python3` a machine has, before anything is installed; so it uses the
standard library alone, and its syntax stays readable to old interpreters, which are told what is missing rather than
shown a SyntaxError.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

if sys.version_info < (3, 11) and __name__ == "__main__":
    newer = [found for found in (shutil.which(f"python3.{minor}") for minor in range(20, 10, -1)) if found]
    if not newer:
        sys.exit(
            f"virtbus needs Python 3.11 or later; {sys.executable} is {sys.version.split()[0]}.\n"
            "Install a newer one, or name one: make setup PYTHON=/path/to/python3.12"
        )
    os.execv(newer[0], [newer[0], "-m", "deploy.setup"])

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "virtbus-set-up"
CONSTRAINTS = ROOT / "constraints.txt"

# An extra in brackets where a distribution is also used without it.
DISTRIBUTIONS = (
    "shared[service]", "gateway", "services/domain", "services/network", "services/storage", "services/nodedev",
)
# --no-build-isolation uses the environment's own build back end, pinned like the rest and fetched once.
BUILD_TOOLS = ("hatchling", "editables")


def main() -> None:
    """Bring .venv up to date; a fraction of a second when it is."""
    wanted = fingerprint()
    if PYTHON.exists() and STAMP.exists() and STAMP.read_text() == wanted:
        return
    began = time.monotonic()
    STAMP.unlink(missing_ok=True)
    make_venv()
    say("installing the build tools")
    pip("install", *BUILD_TOOLS)
    say("installing virtbus, its dependencies and its development tools (a minute or two the first time)")
    editables = [argument for part in DISTRIBUTIONS for argument in ("--editable", f"./{part}")]
    pip("install", "--no-build-isolation", *editables, *development_tools())
    STAMP.write_text(wanted)
    say(f".venv is ready after {time.monotonic() - began:.0f} s")


def fingerprint() -> str:
    """Changes with everything that decides what .venv holds."""
    files = [CONSTRAINTS, Path(__file__), *sorted(ROOT.glob("**/pyproject.toml"))]
    digest = hashlib.sha256(f"{sys.version} {ROOT}".encode())
    for file in files:
        if VENV not in file.parents:
            digest.update(file.read_bytes())
    return digest.hexdigest()


def make_venv() -> None:
    """Make .venv, anew when it belongs to another interpreter or is broken."""
    same = f"import pip, sys; sys.exit(sys.version != {sys.version!r})"
    if PYTHON.exists() and subprocess.run([str(PYTHON), "-c", same], capture_output=True, check=False).returncode == 0:
        return
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        # Debian and Ubuntu leave it out of python3.
        from deploy.packages import install

        install([f"python3.{sys.version_info.minor}-venv"], "Python's venv module, to make .venv")
    say(f"making .venv with Python {sys.version.split()[0]}")
    run([sys.executable, "-m", "venv", "--clear", str(VENV)])


def development_tools() -> list[str]:
    """The names in the root pyproject.toml's dependency group `dev`."""
    import tomllib

    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    return [str(name) for name in groups["dev"]]


def pip(command: str, *arguments: str) -> None:
    """Run .venv's pip, held to the pinned versions."""
    run([str(PYTHON), "-m", "pip", "--disable-pip-version-check", command, "--quiet",
         "--constraint", str(CONSTRAINTS), *arguments])


def run(command: list[str]) -> None:
    """Run a command in the root of the checkout; what it says when it fails is the message."""
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status != 0:
        sys.exit(f"setup: this failed with status {status}: {' '.join(command)}")


def say(text: str) -> None:
    """A line of progress."""
    print(f"setup: {text}", flush=True)


if __name__ == "__main__":
    main()
