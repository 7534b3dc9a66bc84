"""What is measured of a running network: the traffic of its bridge, as the host sees it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Traffic:
    """One direction of a device."""

    bytes: int
    packets: int
    errors: int
    drops: int


@dataclass(frozen=True, slots=True)
class NetworkStatistics:
    """A bridge receives what guests send."""

    receive: Traffic
    transmit: Traffic


def bridge_statistics(bridge: str, net: Path = Path("/sys/class/net")) -> NetworkStatistics | None:
    """The kernel's counters of a bridge, since it was made; None when there is no such device."""
    with suppress(OSError):
        return NetworkStatistics(*(_traffic(net / bridge / "statistics", way) for way in ("rx", "tx")))
    return None


def _traffic(folder: Path, way: str) -> Traffic:
    values = (int((folder / f"{way}_{what}").read_bytes()) for what in ("bytes", "packets", "errors", "dropped"))
    return Traffic(*values)
