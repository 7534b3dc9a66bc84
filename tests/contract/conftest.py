"""Listens to the dispatcher from the collection on, so that the last test can name the rows that were never called."""

from __future__ import annotations

import pytest

from tests.contract import coverage

coverage.listen()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The judging test goes last."""
    coverage.arrange(config, items)
