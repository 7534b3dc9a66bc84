"""CPU models and features by name: QEMU's spelling and libvirt's, and the named model nearest to what a host offers.

Both projects name the same things; where they differ is written down here once. What a model contains is asked of
QEMU, because it is QEMU that will build the guest's CPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# libvirt's name of a feature -> QEMU's, where they differ.
_TO_QEMU = {
    "cmp_legacy": "cmp-legacy", "ds_cpl": "ds-cpl", "fxsr_opt": "fxsr-opt", "lahf_lm": "lahf-lm",
    "nodeid_msr": "nodeid-msr", "pclmuldq": "pclmulqdq", "perfctr_core": "perfctr-core", "perfctr_nb": "perfctr-nb",
    "tsc_adjust": "tsc-adjust",
}
_TO_LIBVIRT = {qemu: libvirt for libvirt, qemu in _TO_QEMU.items()}

# Features that QEMU has no switch for: the first two follow the guest's own doing, the others are of the host alone.
WITHOUT_SWITCH = frozenset({"osxsave", "ospke", "cmt", "mbm_total", "mbm_local"})
# Features that no CPU of QEMU's ever had: turning them off is done already, turning them on fails.
NEVER_THERE = frozenset({"cvt16", "pconfig"})

VENDORS: Mapping[str, str] = {"AMD": "AuthenticAMD", "Hygon": "HygonGenuine", "Intel": "GenuineIntel"}

# What QEMU calls models, and are none of any processor.
NO_MODELS = frozenset({"base", "host", "max"})

# Features of QEMU's models that a guest gets only if it is told to: they were never virtualised, or are no longer.
TURNED_OFF: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("Dhyana", "EPYC", "EPYC-IBPB", "Opteron_G3"), ("monitor",)),
    **dict.fromkeys(("Icelake-Client", "Icelake-Client-noTSX", "Icelake-Server", "Icelake-Server-noTSX"),
                    ("intel-pt",)),
}

# Models that QEMU no longer has, or never had, as others that it has.
STANDING_IN: Mapping[str, tuple[str, Mapping[str, bool]]] = {
    "cpu64-rhel5": ("Opteron_G1", {}), "cpu64-rhel6": ("kvm64", {"lahf_lm": True}),
    "pentiumpro": ("qemu32", {"pni": False}),
}
# Models that QEMU had, for which there is no such simple word.
RETIRED = frozenset({"Icelake-Client", "Icelake-Client-noTSX"})

# Features of QEMU's models without which libvirt still calls a host fit for the model: of any, and of some.
_DISPENSABLE = frozenset({"nrip-save", "topoext", "xsaves"})
_DISPENSABLE_OF: Mapping[str, frozenset[str]] = {
    "Cascadelake-Server-noTSX": frozenset({"arch-capabilities", "ibrs-all", "mds-no", "rdctl-no",
                                           "skip-l1dfl-vmentry"}),
}


def to_qemu(feature: str) -> str:
    """QEMU's name of a feature."""
    return _TO_QEMU.get(feature, feature)


def to_libvirt(feature: str) -> str:
    """libvirt's name of a feature."""
    return _TO_LIBVIRT.get(feature, feature)


@dataclass(frozen=True)
class CpuModel:
    """One of QEMU's CPU models. ``unavailable`` are its features that the accelerator lacks; None: QEMU can't tell."""

    name: str
    typename: str
    unavailable: tuple[str, ...] | None
    deprecated: bool

    def lacking(self) -> list[str]:
        """The features, by libvirt's names, for want of which a host cannot run this model as it is."""
        dispensable = _DISPENSABLE | _DISPENSABLE_OF.get(self.name, frozenset())
        return [to_libvirt(item) for item in self.unavailable or ()
                if item not in dispensable and not item.startswith("vmx-")]


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
