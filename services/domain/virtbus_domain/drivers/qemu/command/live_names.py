"""What a guest was started with and nobody has any more: stand-ins for it, where only the names of parts count.

Parts are made anew for a device that is to go, because their names are all that its removal needs. Its open files
are QEMU's by then, and its secrets are forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from virtbus_domain.drivers.qemu.command.setup import Setup

T = TypeVar("T")


class _Whatever(Mapping[str, T]):
    """Has one and the same value under every name."""

    def __init__(self, value: T) -> None:
        self._value = value

    def __getitem__(self, name: str) -> T:
        return self._value

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def for_names(setup: Setup) -> Setup:
    """A setup for parts of which only the names are used."""
    return replace(setup, descriptors=_Whatever(("-1",)), secrets=_Whatever(Path("/nonexistent")))
