"""The same scripts give the same answers with libvirt and with virtbus, except where ``differences.toml`` says why not.

Run one script with ``pytest tests/conformance -k NAME``. A difference that no longer shows is a failure too, so that
the table stays true.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.oracle_scripts import needs_oracle, run_script, script_names

DIFFERENCES = tomllib.loads((Path(__file__).parent / "differences.toml").read_text(encoding="utf-8"))["difference"]
ABSENT = "(no such step)"


def differing(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Step -> (virtbus, libvirt), for the steps that are not alike; JSON text tells 1 from true."""
    pairs = {step: (ours.get(step, ABSENT), theirs.get(step, ABSENT)) for step in {**theirs, **ours}}
    return {step: pair for step, pair in pairs.items() if json.dumps(pair[0]) != json.dumps(pair[1])}


@needs_oracle
@pytest.mark.parametrize("script", script_names())
def test_same_answers(script: str) -> None:
    """Every step of the script answers alike, and every difference on record is still one."""
    found = differing(run_script(script, "virtbus"), run_script(script, "libvirt"))
    recorded = {entry["step"] for entry in DIFFERENCES if entry["script"] == script}
    report = "\n".join(f"{step}\n  virtbus: {ours!r}\n  libvirt: {theirs!r}"
                       for step, (ours, theirs) in found.items() if step not in recorded)
    assert not report, f"\n{report}"
    assert not recorded - set(found), "on record in differences.toml, but alike by now"


@needs_oracle
@pytest.mark.parametrize("script", script_names())
def test_scripts_are_repeatable(script: str) -> None:
    """The script gives the same answers each time, so that a difference is never chance."""
    first = run_script(script, "libvirt")
    assert first
    assert differing(first, run_script(script, "libvirt")) == {}


def test_differences_are_noticed() -> None:
    """Another value, another kind of value, and a step too many or too few are all differences."""
    alike = {"same": [1, {"error": [42, 12, "Domain not found"]}]}
    assert differing({**alike, "a": 1, "b": 1, "ours": 0}, {**alike, "a": 2, "b": True, "theirs": 0}) == {
        "a": (1, 2), "b": (1, True), "ours": (0, ABSENT), "theirs": (ABSENT, 0)}


def test_differences_are_explained() -> None:
    """Each difference on record names an existing script and a step once, and gives a reason."""
    keys = [(entry["script"], entry["step"]) for entry in DIFFERENCES]
    assert len(keys) == len(set(keys))
    assert {script for script, _ in keys} <= set(script_names())
    assert all(len(entry["reason"]) > 20 for entry in DIFFERENCES)
