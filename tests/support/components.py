"""What a test may skip for: a real component that is missing, and only on a machine that never promised it.

On a developer's machine a test whose component is missing is skipped and says which. With `CI=true` the same is a
failure: a run in which nothing real was tested must not look like success.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def ci() -> bool:
    """Is this a run in which nothing real may be skipped?"""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def missing(component: str, reason: str) -> NoReturn:
    """Skip the running test for a missing component; with CI=true, fail it."""
    text = f"{component}: {reason}"
    if ci():
        pytest.fail(f"CI=true and a real component is missing: {text}", pytrace=False)
    pytest.skip(text)


def require(component: str, present: bool, reason: str) -> None:
    """Go on only when the component is there; see :func:`missing`."""
    if not present:
        missing(component, reason)


def require_program(program: str) -> Path:
    """Path of a program the test needs, `qemu-img` for instance; see :func:`missing`."""
    # Debian keeps ip, tc and dnsmasq in sbin, which an ordinary user's PATH lacks.
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/sbin")
    if found is None:
        missing(program, "not installed (`python3 -m deploy.packages test` installs it)")
    return Path(found)


def require_root() -> None:
    """Go on only as root: the test makes network interfaces."""
    require("root", os.geteuid() == 0, "the test makes network interfaces and namespaces")
