"""Options that all virtio devices have, and no others."""

from __future__ import annotations

from virtbus_domain.normalise.context import unsupported
from virtbus_shared.service.xml_lines import Element

_OPTIONS = ("iommu", "ats", "packed", "page_per_vq")


def refuse_virtio_options(device: Element) -> None:
    """Refuse options of virtio on a device that is none."""
    for name in _OPTIONS:
        if getattr(device, f"driver_{name}") is not None:
            raise unsupported(f"{name} driver option is only supported for virtio devices")
