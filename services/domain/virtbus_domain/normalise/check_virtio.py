"""Options that all virtio devices have, and no others."""

from __future__ import annotations

from virtbus_domain.normalise.context import unsupported
from virtbus_shared.service.xml_lines import Element

_OPTIONS = ("iommu", "ats", "packed", "page_per_vq")


def refuse_virtio_options(options: Element, prefix: str = "driver_") -> None:
    """Refuse options of virtio on what is none; ``prefix`` stands before the names of their fields."""
    for name in _OPTIONS:
        if getattr(options, f"{prefix}{name}") is not None:
            raise unsupported(f"{name} driver option is only supported for virtio devices")
