"""QEMU's argument list, written so that no string of a user can become an option.

An argument list is no shell text, so the only danger is inside one argument: QEMU splits many of them at commas. All
that has JSON syntax (``-blockdev``, ``-device``, ``-netdev``, ``-object``) is written as JSON. The rest goes through
``keyed``, the one place that doubles commas, which is QEMU's own escape.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import Enum

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


class Null(Enum):
    """JSON's null as a value, since None stands for a value that is absent."""

    NULL = None


# QEMU's names are hyphenated, and Python's cannot be, so ours have "_" in place of "-"; these really have it.
_UNDERSCORED = frozenset((
    "bus_nr", "chassis_nr", "cmd_per_lun", "device_id", "event_idx", "failover_pair_id", "grab_all", "guest_csum",
    "guest_ecn", "guest_tso4", "guest_tso6", "guest_ufo", "host_ecn", "host_mtu", "host_tso4", "host_tso6", "host_ufo",
    "iommu_platform", "kernel_irqchip", "logical_block_size", "max_outputs", "max_ports", "max_sectors", "mount_tag",
    "mrg_rxbuf", "num_queues", "numa_node", "physical_block_size", "ram_size", "rotation_rate", "rx_queue_size",
    "security_model", "tx_queue_size", "vgamem_mb", "vram64_size_mb", "vram_size"))

Scalar = str | int | bool
Json = Scalar | None | Null | Mapping[str, "Json"] | list["Json"]


def unsupported(path: str) -> LibvirtError:
    """The refusal of what we would have to pretend: ``path`` is where it stands in the document."""
    return LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, f"{path} is not supported by the QEMU driver",
                        domain=c.VIR_FROM_QEMU)


def escape(value: Scalar) -> str:
    """A value inside a comma-separated argument: commas doubled, yes and no as QEMU's on and off."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value).replace(",", ",,")


class Arguments:
    """An argument list in the making. ``NUL`` cannot stand in an argument and is refused."""

    def __init__(self, program: str) -> None:
        self.list = [_argument(program)]

    def plain(self, option: str, value: str | None = None) -> None:
        """An option whose value QEMU takes as it is, such as a kernel's path."""
        self.list.append(option)
        if value is not None:
            self.list.append(_argument(value))

    def keyed(self, option: str, first: str | None = None, /, **values: Scalar | None) -> None:
        """An option of the form "first,key=value": absent values are left out; ``_`` in a key stands for ``-``."""
        self.pairs(option, [(_spelt(key), value) for key, value in values.items()], first)

    def pairs(self, option: str, values: Iterable[tuple[str, Scalar | None]], first: str | None = None) -> None:
        """As ``keyed``, for options in which a key may come more than once; keys are written as they are.

        ``first`` and keys are words of ours: in a user's, "=" would make a key of what stands in front of it.
        """
        parts = [] if first is None else [escape(_word(first))]
        parts += [f"{_word(key)}={escape(value)}" for key, value in values if value is not None]
        self.plain(option, ",".join(parts))

    def json(self, option: str, **values: Json) -> None:
        """An option with JSON syntax: as for ``keyed``, absent values are left out, at every depth."""
        self.plain(option, json.dumps(present(values), separators=(",", ":"), ensure_ascii=False))


def present(value: Json) -> object:
    """A value without what is absent at any depth, names in QEMU's spelling."""
    if isinstance(value, Mapping):
        return {_spelt(key): present(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [present(item) for item in value]
    return None if value is Null.NULL else value


def _spelt(name: str) -> str:
    return name if name in _UNDERSCORED else name.replace("_", "-")


def _word(text: str) -> str:
    if "=" in text or "," in text:
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, f"'{text}' cannot be a word of an option", domain=c.VIR_FROM_QEMU)
    return text


def _argument(value: str) -> str:
    if "\0" in value:
        raise LibvirtError(c.VIR_ERR_XML_ERROR, f"NUL character in {value!r}", domain=c.VIR_FROM_QEMU)
    return value
