"""Coverage by declaration: a row of the table that no test calls fails the suite."""

from __future__ import annotations

import pytest

from tests.contract import coverage


def test_every_row_is_called() -> None:
    """Runs after all others. What was called is known from the dispatchers of this process and of its daemons."""
    if not coverage.whole:
        pytest.skip("only a part of the suite runs: what it does not call says nothing")
    assert coverage.never_called() == []
