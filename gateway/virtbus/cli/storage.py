"""Verbs about storage pools. Those about volumes are in ``volume``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

import typer

from virtbus import constants as c
from virtbus.cli import volume
from virtbus.cli.output import size
from virtbus.cli.session import failing, read_document, session
from virtbus.cli.verbs import Verb, add_verbs
from virtbus.cli.words import POOL_STATES, word
from virtbus.storage import virStoragePool

Name = Annotated[str, typer.Argument(metavar="POOL", help="Name or UUID.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A <pool> document.")]

SIMPLE: tuple[Verb[virStoragePool], ...] = (
    Verb("pool-build", virStoragePool.build, "Pool {} built", "Failed to build pool {}",
         "Make what a pool stands on, such as its directory."),
    Verb("pool-start", virStoragePool.create, "Pool {} started", "Failed to start pool {}", "Start a defined pool."),
    Verb("pool-refresh", virStoragePool.refresh, "Pool {} refreshed", "Failed to refresh pool {}",
         "Look again at what a pool holds."),
    Verb("pool-destroy", virStoragePool.destroy, "Pool {} destroyed", "Failed to destroy pool {}",
         "Stop a pool; its volumes stay where they are."),
    Verb("pool-delete", virStoragePool.delete, "Pool {} deleted", "Failed to delete pool {}",
         "Delete what an inactive pool stands on."),
    Verb("pool-undefine", virStoragePool.undefine, "Pool {} has been undefined", "Failed to undefine pool {}",
         "Forget the definition of an inactive pool."),
)


def add_to(app: typer.Typer) -> None:
    """Add these verbs, and those about volumes."""
    for name, function, example in (
            ("pool-list", pool_list, "pool-list --all --details"),
            ("pool-define", pool_define, "pool-define images.xml"),
            ("pool-define-as", pool_define_as, "pool-define-as images dir --target /srv/images"),
            ("pool-create", pool_create, "pool-create images.xml"), ("pool-info", pool_info, "pool-info default"),
            ("pool-dumpxml", pool_dumpxml, "pool-dumpxml default"),
            ("pool-autostart", pool_autostart, "pool-autostart default --disable")):
        app.command(name, epilog=f"Example: virtbus {example}")(function)
    add_verbs(app, SIMPLE, Name, lambda s, key: s.pool(key), "default")
    volume.add_to(app)


def pool_list(
    ctx: typer.Context,
    all_: Annotated[bool, typer.Option("--all", help="Inactive ones too.")] = False,
    inactive: Annotated[bool, typer.Option("--inactive", help="Inactive ones only.")] = False,
    details: Annotated[bool, typer.Option("--details", help="With sizes.")] = False,
    name: Annotated[bool, typer.Option("--name", help="Print names only.")] = False,
    uuid: Annotated[bool, typer.Option("--uuid", help="Print UUIDs only.")] = False,
) -> None:
    """List storage pools, the active ones unless an option says otherwise.

    JSON: a list of {name, uuid, state, autostart, persistent, capacity, allocation, available}; sizes in bytes.
    """
    s = session(ctx)
    flags = (0 if all_ else c.VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE if inactive
             else c.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)
    with failing("Failed to list pools"):
        facts = [_facts(pool) for pool in sorted(s.conn.listAllStoragePools(flags), key=virStoragePool.name)]
    only = "uuid" if uuid else "name" if name else None
    if s.out.json:
        s.out.document(facts)
    elif only:
        s.out.lines([fact[only] for fact in facts], facts)
    elif details:
        s.out.table({"name": "Name", "state": "State", "autostart": "Autostart", "persistent": "Persistent",
                     "capacity": "Capacity", "allocation": "Allocation", "available": "Available"},
                    [_with_sizes(fact) for fact in facts])
    else:
        s.out.table({"name": "Name", "state": "State", "autostart": "Autostart"},
                    [{**fact, "state": "inactive" if fact["state"] == "inactive" else "active"} for fact in facts])


def _facts(pool: virStoragePool) -> dict[str, object]:
    state, capacity, allocation, available = pool.info()
    return {**_reference(pool), "state": word(POOL_STATES, state), "autostart": bool(pool.autostart()),
            "persistent": bool(pool.isPersistent()), "capacity": capacity, "allocation": allocation,
            "available": available}


def _with_sizes(facts: dict[str, object]) -> dict[str, object]:
    """Sizes in words; an inactive pool has none."""
    active = facts["state"] != "inactive"
    return {**facts, **{key: size(int(str(facts[key]))) if active else "-"
                        for key in ("capacity", "allocation", "available")}}


def pool_define(ctx: typer.Context, file: File) -> None:
    """Define a pool by an XML document, or change its definition.

    JSON: {name, uuid}.
    """
    s = session(ctx)
    xml = read_document(file)
    with failing(f"Failed to define pool from {file}"):
        pool = s.conn.storagePoolDefineXML(xml)
    s.out.text(f"Pool {pool.name()} defined from {file}", _reference(pool))


def pool_define_as(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new pool.")],
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="Such as dir.")],
    target: Annotated[str | None, typer.Option(help="Path of the pool on the node.")] = None,
) -> None:
    """Define a pool without writing XML.

    JSON: {name, uuid}.
    """
    s = session(ctx)
    root = ElementTree.Element("pool", type=type_)
    ElementTree.SubElement(root, "name").text = name
    if target is not None:
        ElementTree.SubElement(ElementTree.SubElement(root, "target"), "path").text = target
    with failing(f"Failed to define pool {name}"):
        pool = s.conn.storagePoolDefineXML(ElementTree.tostring(root, encoding="unicode"))
    s.out.text(f"Pool {pool.name()} defined", _reference(pool))


def pool_create(ctx: typer.Context, file: File) -> None:
    """Start a transient pool from an XML document.

    JSON: {name, uuid}.
    """
    s = session(ctx)
    xml = read_document(file)
    with failing(f"Failed to create pool from {file}"):
        pool = s.conn.storagePoolCreateXML(xml)
    s.out.text(f"Pool {pool.name()} created from {file}", _reference(pool))


def pool_info(ctx: typer.Context, pool: Name) -> None:
    """Print the most important facts of a pool.

    JSON: {name, uuid, state, autostart, persistent, capacity, allocation, available}; sizes in bytes.
    """
    s = session(ctx)
    facts = _facts(s.pool(pool))
    shown = _with_sizes(facts)
    sizes = {key.capitalize(): shown[key] for key in ("capacity", "allocation", "available") if shown[key] != "-"}
    s.out.record({
        "Name": facts["name"], "UUID": facts["uuid"], "State": facts["state"],
        "Persistent": "yes" if facts["persistent"] else "no", "Autostart": "yes" if facts["autostart"] else "no",
        **sizes}, facts)


def pool_dumpxml(ctx: typer.Context, pool: Name,
                 inactive: Annotated[bool, typer.Option("--inactive", help="As it will be at its next start.")] = False,
                 ) -> None:
    """Print a pool's description.

    JSON: {xml}.
    """
    s = session(ctx)
    xml = s.pool(pool).XMLDesc(c.VIR_STORAGE_XML_INACTIVE if inactive else 0)
    s.out.text(xml, {"xml": xml})


def pool_autostart(ctx: typer.Context, pool: Name,
                   disable: Annotated[bool, typer.Option("--disable", help="Not any more.")] = False) -> None:
    """Have a pool started with its node.

    JSON: {name, uuid, autostart}.
    """
    s = session(ctx)
    found = s.pool(pool)
    with failing(f"failed to {'un' * disable}mark pool {found.name()} as autostarted"):
        found.setAutostart(0 if disable else 1)
    s.out.text(f"Pool {found.name()} {'un' * disable}marked as autostarted",
               {**_reference(found), "autostart": not disable})


def _reference(pool: virStoragePool) -> dict[str, object]:
    return {"name": pool.name(), "uuid": pool.UUIDString()}
