"""What QEMU is made of, said once: objects, block nodes, character devices, network back ends, devices.

Every device of a domain comes down to a list of parts, in the order in which each finds what it refers to. The same
part is an option on the command line when a guest starts and a QMP command when the device is plugged in later, so
that cold plug and hot plug cannot drift apart; unplugging is the same list backwards. QEMU's documents: qemu(1) for
the options, the QMP reference (``object-add``, ``blockdev-add``, ``chardev-add``, ``netdev_add``, ``device_add``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from virtbus_domain.drivers.qemu.command.arguments import Arguments, Json, Scalar, present


class Kind(Enum):
    """The option of a kind of part, the QMP commands that add and remove one, and what holds its name there."""

    OBJECT = ("-object", "object-add", "object-del", "id")
    BLOCKDEV = ("-blockdev", "blockdev-add", "blockdev-del", "node-name")
    CHARDEV = ("-chardev", "chardev-add", "chardev-remove", "id")
    NETDEV = ("-netdev", "netdev_add", "netdev_del", "id")
    DEVICE = ("-device", "device_add", "device_del", "id")
    # These exist on the command line only: QEMU has no QMP command for them.
    DRIVE = ("-drive", "", "", "id")
    FSDEV = ("-fsdev", "", "", "id")
    TPMDEV = ("-tpmdev", "", "", "id")
    AUDIODEV = ("-audiodev", "", "", "id")

    def __init__(self, option: str, add: str, remove: str, key: str) -> None:
        self.option = option
        self.add = add
        self.remove = remove
        self.key = key


class Part(NamedTuple):
    """One part. ``properties`` are QEMU's own, with ``_`` for ``-`` in names; absent values (None) are left out.

    Those of a chardev are the ``backend`` of ``chardev-add``: ``{"type": ..., "data": {...}}``.
    """

    kind: Kind
    name: str
    properties: Mapping[str, Json]


class Command(NamedTuple):
    """A QMP command that is to be run on a guest."""

    name: str
    arguments: Mapping[str, object]


def part_object(qom_type: str, name: str, /, **properties: Json) -> Part:
    """A QOM object: memory, secrets, I/O threads, random numbers."""
    return Part(Kind.OBJECT, name, {"qom_type": qom_type, "id": name, **properties})


def part_blockdev(driver: str, name: str, /, **properties: Json) -> Part:
    """A node of the block graph."""
    return Part(Kind.BLOCKDEV, name, {"driver": driver, "node_name": name, **properties})


def part_chardev(kind: str, name: str, /, **data: Json) -> Part:
    """The host end of a character device; ``kind`` and ``data`` as in QMP's ChardevBackend."""
    return Part(Kind.CHARDEV, name, {"type": kind, "data": data})


def part_netdev(kind: str, name: str, /, **properties: Json) -> Part:
    """The host end of a network card."""
    return Part(Kind.NETDEV, name, {"type": kind, "id": name, **properties})


def part_device(driver: str, name: str, /, **properties: Json) -> Part:
    """What the guest sees."""
    return Part(Kind.DEVICE, name, {"driver": driver, "id": name, **properties})


def append(arguments: Arguments, parts: Iterable[Part]) -> None:
    """Write parts as options."""
    for part in parts:
        if part.kind is Kind.CHARDEV:
            arguments.keyed("-chardev", str(part.properties["type"]), id=part.name,
                            **_flat(part.properties["data"]))
        elif part.kind is Kind.DRIVE:
            arguments.keyed("-drive", **{name: _scalar(value) for name, value in part.properties.items()})
        elif part.kind in (Kind.FSDEV, Kind.TPMDEV):  # no more than -drive do these have JSON syntax
            first, *rest = part.properties.items()
            arguments.keyed(part.kind.option, str(first[1]), **{name: _scalar(value) for name, value in rest})
        else:
            arguments.json(part.kind.option, **part.properties)


def plug(parts: Sequence[Part]) -> list[Command]:
    """The commands that add parts to a running guest."""
    return [_add(part) for part in parts]


def unplug(parts: Sequence[Part]) -> list[Command]:
    """The commands that take parts out again, last first.

    The guest has to let go of a device before what it used can be removed: the commands after a ``device_del`` are
    for after its ``DEVICE_DELETED`` event.
    """
    return [Command(part.kind.remove, {part.kind.key: part.name}) for part in reversed(parts)]


def _add(part: Part) -> Command:
    properties = present(part.properties)
    assert isinstance(properties, dict)
    if part.kind is Kind.CHARDEV:
        # Without a word about who listens, an option connects, and the command listens.
        if properties["type"] == "socket":
            properties["data"] = {"server": False, **properties["data"]}
        return Command(part.kind.add, {"id": part.name, "backend": properties})
    return Command(part.kind.add, properties)


# Where QMP's words for the members of a back end and the option's differ. The members of a socket's address stand
# beside the others in an option; of the two addresses of UDP, our own one under names of its own.
_WORDS = {"out": "path", "in": "input_path", "device": "path", "fqdn": "name", "type": "name"}
_ADDRESSES: Mapping[str, Mapping[str, str]] = {
    "addr": {"str": "fd"}, "remote": {}, "local": {"host": "localaddr", "port": "localport"}}


def _flat(data: Json) -> dict[str, Scalar | None]:
    """A back end's ``data`` as an option holds it."""
    assert isinstance(data, Mapping)
    flat: dict[str, Scalar | None] = {}
    for name, value in data.items():
        words = _ADDRESSES.get(name)
        if words is None or value is None:
            flat[_WORDS.get(name, name)] = _scalar(value)
            continue
        assert isinstance(value, Mapping)
        address = value["data"]
        assert isinstance(address, Mapping)
        flat |= {words.get(member, member): _scalar(item) for member, item in address.items()}
    return flat


def _scalar(value: Json) -> Scalar | None:
    assert value is None or isinstance(value, (str, int, bool))
    return value
