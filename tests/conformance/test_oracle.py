"""The same scripts give the same answers with libvirt and with virtbus, except where ``differences.toml`` says why not.

Run one script with ``pytest tests/conformance -k NAME``. A difference that no longer shows is a failure too, so that
the table stays true.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.differences import ABSENT, Table, compare, differing, load
from tests.support.oracle_scripts import needs_oracle, oracle_answers, run_script, script_names

FOLDER = Path(__file__).parent
TABLES = (FOLDER / "differences.toml", FOLDER / "over_the_bus.toml", FOLDER / "qemu" / "differences.toml")


@needs_oracle
@pytest.mark.parametrize("script", script_names())
def test_same_answers(script: str) -> None:
    """Every step of the script answers alike, and every difference on record is still one."""
    compare(script, run_script(script, "virtbus"), oracle_answers(script), load(TABLES[0]))


@needs_oracle
@pytest.mark.parametrize("script", script_names())
def test_scripts_are_repeatable(script: str) -> None:
    """The script gives the same answers each time, so that a difference is never chance."""
    assert oracle_answers(script)
    assert differing(oracle_answers(script), run_script(script, "libvirt")) == {}


def test_differences_are_noticed() -> None:
    """Another value, another kind of value, and a step too many or too few are all differences."""
    alike = {"same": [1, {"error": [42, 12, "Domain not found"]}]}
    assert differing({**alike, "a": 1, "b": 1, "ours": 0}, {**alike, "a": 2, "b": True, "theirs": 0}) == {
        "a": (1, 2), "b": (1, True), "ours": (0, ABSENT), "theirs": (ABSENT, 0)}


def test_unexplained_differences_fail() -> None:
    """Only what an entry is about is explained by it: another code, function, script or step is not."""
    ours = {"a": {"error": [27, 20, "XML error: x (at /domain)"]}, "b": {"error": [3, 20, "not supported: virX"]}}
    theirs = {"a": {"error": [27, 20, "XML error: x"]}, "b": 0}
    wording = ("wording", {"script": "s", "ours": r" \(at [^)]*\)$", "reason": ""})
    absent = ("absent", {"script": "s", "functions": ["virX"], "reason": ""})
    compare("s", ours, theirs, [wording, absent])
    tables: list[Table] = [
        [wording], [absent], [wording, ("absent", {"script": "t", "functions": ["virX"], "reason": ""})]]
    for table in tables:
        with pytest.raises(AssertionError, match="libvirt:"):
            compare("s", ours, theirs, table)
    with pytest.raises(AssertionError, match="libvirt:"):
        compare("s", {"a": {"error": [27, 5, "XML error: x (at /domain)"]}}, {"a": theirs["a"]}, [wording])


def test_entries_that_explain_nothing_fail() -> None:
    """A step, a function or a wording on record that is alike by now is reported."""
    table: Table = [("difference", {"script": "s", "steps": ["a*"], "reason": ""}),
                    ("absent", {"script": "s", "functions": ["virX"], "reason": ""}),
                    ("wording", {"script": "s", "ours": "x", "reason": ""})]
    for entry in table:
        with pytest.raises(AssertionError, match="alike by now"):
            compare("s", {"a": 1}, {"a": 1}, [entry])
        compare("another", {"a": 1}, {"a": 1}, [entry])


def test_differences_are_explained() -> None:
    """Each entry of each table names an existing script and gives a reason."""
    for path in TABLES:
        for _, entry in load(path):
            assert entry["script"] in ({"lifecycle"} if path.parent.name == "qemu" else script_names()), entry
            assert len(entry["reason"]) > 20
