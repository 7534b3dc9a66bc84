"""CPU models and features by name: QEMU's spelling and libvirt's, and the named model nearest to what a host offers.

Both projects name the same things; where they differ is written down here once. What a model contains is asked of
QEMU, because it is QEMU that will build the guest's CPU.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class CpuModel:
    """One of QEMU's CPU models. ``unavailable`` are its features that the accelerator lacks; None: QEMU can't tell."""

    name: str
    typename: str
    unavailable: tuple[str, ...] | None
    deprecated: bool


@dataclass(frozen=True)
class CpuDefinition:
    """What a model is: who made it (CPUID's twelve letters), which one, and the features it has turned on."""

    name: str
    vendor: str
    family: int
    model: int
    features: frozenset[str]


@dataclass(frozen=True)
class HostModel:
    """A CPU as a named model and what has to be turned on and off to come from there to the host's."""

    name: str
    vendor: str
    enabled: tuple[str, ...]
    disabled: tuple[str, ...]


def nearest_model(host: CpuDefinition, models: Iterable[CpuDefinition]) -> HostModel | None:
    """The model of the host's vendor that differs in fewest features; one of its very family and model goes first.

    None when the vendor has no model.
    """
    own = [model for model in models if model.vendor == host.vendor]
    same = [model for model in own if (model.family, model.model) == (host.family, host.model)]
    best = min(same or own, key=lambda model: (len(model.features ^ host.features), model.name), default=None)
    if best is None:
        return None
    return HostModel(best.name, best.vendor, tuple(sorted(host.features - best.features)),
                     tuple(sorted(best.features - host.features)))
