"""What tests of the gateway share: each begins with a node of its own."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(autouse=True)
def _nothing_left() -> None:
    """An error that an earlier test caught keeps that test's connection, until the cycle is collected; and a
    connection keeps the state of test:///default.
    """
    gc.collect()
