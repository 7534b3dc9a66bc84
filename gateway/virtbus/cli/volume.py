"""Verbs about storage volumes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

import typer

from virtbus.cli.output import size
from virtbus.cli.session import CommandError, failing, read_document, session
from virtbus.cli.words import VOL_TYPES, word
from virtbus.storage import virStorageVol

Volume = Annotated[str, typer.Argument(metavar="VOL", help="Name (with --pool), key or path.")]
Pool = Annotated[str, typer.Argument(metavar="POOL", help="Name or UUID.")]
InPool = Annotated[str | None, typer.Option("--pool", metavar="POOL", help="The pool that holds it.")]

# A number and what it counts: K, KiB are 1024 bytes, KB are 1000, as in virsh.
_SIZE = re.compile(r"(\d+)\s*(?:([kmgtpe])(i?b)?|b|bytes?)?", re.IGNORECASE)


def add_to(app: typer.Typer) -> None:
    """Add these verbs."""
    for name, function, example in (
            ("vol-list", vol_list, "vol-list default --details"),
            ("vol-create", vol_create, "vol-create default disk.xml"),
            ("vol-create-as", vol_create_as, "vol-create-as default web.qcow2 10G --format qcow2"),
            ("vol-delete", vol_delete, "vol-delete web.qcow2 --pool default"),
            ("vol-info", vol_info, "vol-info web.qcow2 --pool default"),
            ("vol-path", vol_path, "vol-path web.qcow2 --pool default"),
            ("vol-key", vol_key, "vol-key web.qcow2 --pool default"),
            ("vol-dumpxml", vol_dumpxml, "vol-dumpxml web.qcow2 --pool default")):
        app.command(name, epilog=f"Example: virtbus {example}")(function)


def vol_list(ctx: typer.Context, pool: Pool,
             details: Annotated[bool, typer.Option("--details", help="With sizes.")] = False) -> None:
    """List the volumes of a pool.

    JSON: a list of {name, path}, with --details {name, path, type, capacity, allocation}; sizes in bytes.
    """
    s = session(ctx)
    with failing("Failed to list volumes"):
        found = sorted(s.pool(pool).listAllVolumes(), key=virStorageVol.name)
        rows: list[dict[str, object]] = [
            _facts(vol) if details else {"name": vol.name(), "path": vol.path()} for vol in found]
    heads = {"name": "Name", "path": "Path"}
    if details:
        heads |= {"type": "Type", "capacity": "Capacity", "allocation": "Allocation"}
    s.out.table(heads, rows if s.out.json or not details else [_with_sizes(row) for row in rows])


def vol_create(ctx: typer.Context, pool: Pool,
               file: Annotated[Path, typer.Argument(metavar="FILE", help="A <volume> document.")]) -> None:
    """Create a volume by an XML document.

    JSON: {name, key}.
    """
    s = session(ctx)
    xml = read_document(file)
    into = s.pool(pool)
    with failing(f"Failed to create vol from {file}"):
        vol = into.createXML(xml)
    s.out.text(f"Vol {vol.name()} created from {file}", _reference(vol))


def vol_create_as(
    ctx: typer.Context, pool: Pool,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new volume.")],
    capacity: Annotated[str, typer.Argument(metavar="SIZE", help="Bytes, or with a unit: 10G, 512MiB.")],
    allocation: Annotated[str | None, typer.Option(metavar="SIZE", help="What it shall take up at once.")] = None,
    format_: Annotated[str | None, typer.Option("--format", metavar="FORMAT", help="raw, qcow2, ...")] = None,
) -> None:
    """Create a volume without writing XML.

    JSON: {name, key}.
    """
    s = session(ctx)
    root = ElementTree.Element("volume")
    ElementTree.SubElement(root, "name").text = name
    ElementTree.SubElement(root, "capacity").text = str(parse_size(capacity))
    if allocation is not None:
        ElementTree.SubElement(root, "allocation").text = str(parse_size(allocation))
    if format_ is not None:
        ElementTree.SubElement(ElementTree.SubElement(root, "target"), "format", type=format_)
    into = s.pool(pool)
    with failing(f"Failed to create vol {name}"):
        vol = into.createXML(ElementTree.tostring(root, encoding="unicode"))
    s.out.text(f"Vol {vol.name()} created", _reference(vol))


def parse_size(text: str) -> int:
    """Bytes of ``10G``, ``512MiB``, ``5``."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise CommandError(f"Malformed size {text}: a whole number, perhaps with a unit (K, MiB, GB), is expected")
    digits, letter, rest = found.groups()
    power = "kmgtpe".index(letter.lower()) + 1 if letter else 0
    base: int = 1000 if (rest or "").lower() == "b" else 1024
    return int(digits) * int(base**power)


def vol_delete(ctx: typer.Context, vol: Volume, pool: InPool = None) -> None:
    """Delete a volume and its data.

    JSON: {name, key}.
    """
    s = session(ctx)
    found = s.volume(vol, pool)
    with failing(f"Failed to delete vol {found.name()}"):
        found.delete()
    s.out.text(f"Vol {found.name()} deleted", _reference(found))


def vol_info(ctx: typer.Context, vol: Volume, pool: InPool = None) -> None:
    """Print the most important facts of a volume.

    JSON: {name, path, type, capacity, allocation}; sizes in bytes.
    """
    s = session(ctx)
    facts = _facts(s.volume(vol, pool))
    shown = _with_sizes(facts)
    s.out.record({key.capitalize(): shown[key] for key in ("name", "type", "capacity", "allocation")}, facts)


def vol_path(ctx: typer.Context, vol: Volume, pool: InPool = None) -> None:
    """Print a volume's path on the node.

    JSON: {path}.
    """
    path = session(ctx).volume(vol, pool).path()
    session(ctx).out.text(path, {"path": path})


def vol_key(ctx: typer.Context, vol: Volume, pool: InPool = None) -> None:
    """Print a volume's key.

    JSON: {key}.
    """
    key = session(ctx).volume(vol, pool).key()
    session(ctx).out.text(key, {"key": key})


def vol_dumpxml(ctx: typer.Context, vol: Volume, pool: InPool = None) -> None:
    """Print a volume's description.

    JSON: {xml}.
    """
    xml = session(ctx).volume(vol, pool).XMLDesc()
    session(ctx).out.text(xml, {"xml": xml})


def _facts(vol: virStorageVol) -> dict[str, object]:
    kind, capacity, allocation = vol.info()
    return {"name": vol.name(), "path": vol.path(), "type": word(VOL_TYPES, kind), "capacity": capacity,
            "allocation": allocation}


def _with_sizes(facts: dict[str, object]) -> dict[str, object]:
    return {**facts, **{key: size(int(str(facts[key]))) for key in ("capacity", "allocation")}}


def _reference(vol: virStorageVol) -> dict[str, object]:
    return {"name": vol.name(), "key": vol.key()}
