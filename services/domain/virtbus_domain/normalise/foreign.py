"""What a device of one type has no use for is not kept: one element serves many types, and libvirt reads of it only
what its type gives a meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from virtbus_domain.normalise.context import Context
from virtbus_domain.xml import kinds, storage_kinds
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.storage_checks import check

_DROP: dict[str, Callable[[Any], None]] = {
    "disks": storage_kinds.drop_from_disk, "controllers": storage_kinds.drop_from_controller,
    "filesystems": storage_kinds.drop_from_filesystem, "interfaces": kinds.drop_from_interface,
    "smartcards": storage_kinds.drop_from_smartcard,
    "serials": lambda chardev: kinds.drop_from_chardev(chardev, "serial"),
    "parallels": lambda chardev: kinds.drop_from_chardev(chardev, "parallel"),
    "consoles": lambda chardev: kinds.drop_from_chardev(chardev, "console"),
    "channels": lambda chardev: kinds.drop_from_chardev(chardev, "channel"),
    "inputs": kinds.drop_from_input, "tpms": storage_kinds.drop_from_tpm, "graphics": kinds.drop_from_graphics,
    "sounds": kinds.drop_from_sound, "audios": kinds.drop_from_audio, "videos": kinds.drop_from_video,
    "hostdevs": storage_kinds.drop_from_hostdev, "redirdevs": storage_kinds.drop_from_redirdev,
    "rngs": storage_kinds.drop_from_rng, "shmems": storage_kinds.settle_shmem,
    "memories": storage_kinds.drop_from_memory,
}
_groups = attrgetter(*_DROP)


def refuse_incomplete(domain: Domain, context: Context) -> None:
    """Refuse a device that lacks what its type needs, as libvirt does while it reads."""
    del context
    assert domain.devices
    for device in domain.devices.all():
        check(device)


def drop_foreign(domain: Domain, context: Context) -> None:
    """Drop what the type of each device leaves without a meaning."""
    del context
    for group, drop in zip(_groups(domain.devices), _DROP.values(), strict=True):
        for device in group:
            drop(device)
