"""The public types hold for a user: a program that uses the library type-checks in mypy's strict mode."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_users_program_type_checks() -> None:
    """mypy --strict accepts what is right in typing_api.py, and refuses what is marked as wrong there."""
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", "tests/gateway/typing_api.py"], cwd=ROOT,
                          check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
