"""One line of the table that `make bench` prints: a figure, the floor beside it, and the goal it is held to."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

_RELATIONS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Figure:
    """``value`` is held to ``goal`` ("<= 1.2"): a ratio to the floor, or seconds where the goal is in seconds."""

    part: str
    what: str
    ours: str
    floor: str
    value: float
    goal: str
    libvirt: str = ""  # what libvirt 9.0.0 was measured at, on a machine of this kind

    @property
    def met(self) -> bool:
        """Whether the goal is reached in this run."""
        relation, limit = self.goal.split()[:2]
        return _RELATIONS[relation](self.value, float(limit))

    @property
    def cells(self) -> tuple[str, ...]:
        """The figure as a line of a table."""
        return (self.what, self.ours, self.floor, f"{self.value:.2f}", self.goal, self.libvirt,
                "yes" if self.met else "NO")


HEADER = ("what", "ours", "floor", "figure", "goal", "libvirt", "met")


def milliseconds(seconds: float) -> str:
    """A duration for people."""
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} us"
