"""Verbs about virtual networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from virtbus import constants as c
from virtbus.cli.session import failing, read_document, session
from virtbus.cli.verbs import Verb, add_verbs
from virtbus.errors import libvirtError
from virtbus.network import virNetwork

Name = Annotated[str, typer.Argument(metavar="NETWORK", help="Name or UUID.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A <network> document.")]

SIMPLE: tuple[Verb[virNetwork], ...] = (
    Verb("net-start", virNetwork.create, "Network {} started", "Failed to start network {}",
         "Start a defined network."),
    Verb("net-destroy", virNetwork.destroy, "Network {} destroyed", "Failed to destroy network {}", "Stop a network."),
    Verb("net-undefine", virNetwork.undefine, "Network {} has been undefined", "Failed to undefine network {}",
         "Forget a definition; a running network becomes transient."),
)


def add_to(app: typer.Typer) -> None:
    """Add these verbs."""
    for name, function, example in (
            ("net-list", net_list, "net-list --all"), ("net-define", net_define, "net-define lan.xml"),
            ("net-create", net_create, "net-create lan.xml"), ("net-dumpxml", net_dumpxml, "net-dumpxml default"),
            ("net-info", net_info, "net-info default"),
            ("net-autostart", net_autostart, "net-autostart default --disable")):
        app.command(name, epilog=f"Example: virtbus {example}")(function)
    add_verbs(app, SIMPLE, Name, lambda s, key: s.network(key), "default")


def net_list(
    ctx: typer.Context,
    all_: Annotated[bool, typer.Option("--all", help="Inactive ones too.")] = False,
    inactive: Annotated[bool, typer.Option("--inactive", help="Inactive ones only.")] = False,
    name: Annotated[bool, typer.Option("--name", help="Print names only.")] = False,
    uuid: Annotated[bool, typer.Option("--uuid", help="Print UUIDs only.")] = False,
) -> None:
    """List networks, the active ones unless an option says otherwise.

    JSON: a list of {name, uuid, state, autostart, persistent}.
    """
    s = session(ctx)
    flags = (0 if all_ else c.VIR_CONNECT_LIST_NETWORKS_INACTIVE if inactive else c.VIR_CONNECT_LIST_NETWORKS_ACTIVE)
    with failing("Failed to list networks"):
        found = sorted(s.conn.listAllNetworks(flags), key=virNetwork.name)
        rows = [{**_reference(net), "state": "active" if net.isActive() else "inactive",
                 "autostart": bool(net.autostart()), "persistent": bool(net.isPersistent())} for net in found]
    only = "uuid" if uuid else "name" if name else None
    if only and not s.out.json:
        s.out.lines([row[only] for row in rows], rows)
    else:
        s.out.table({"name": "Name", "state": "State", "autostart": "Autostart", "persistent": "Persistent"}, rows)


def net_define(ctx: typer.Context, file: File) -> None:
    """Define a network by an XML document, or change its definition.

    JSON: {name, uuid}.
    """
    s = session(ctx)
    xml = read_document(file)
    with failing(f"Failed to define network from {file}"):
        net = s.conn.networkDefineXML(xml)
    s.out.text(f"Network {net.name()} defined from {file}", _reference(net))


def net_create(ctx: typer.Context, file: File) -> None:
    """Start a transient network from an XML document.

    JSON: {name, uuid}.
    """
    s = session(ctx)
    xml = read_document(file)
    with failing(f"Failed to create network from {file}"):
        net = s.conn.networkCreateXML(xml)
    s.out.text(f"Network {net.name()} created from {file}", _reference(net))


def net_dumpxml(ctx: typer.Context, network: Name,
                inactive: Annotated[bool, typer.Option("--inactive", help="As it will be at its next start.")] = False,
                ) -> None:
    """Print a network's description.

    JSON: {xml}.
    """
    s = session(ctx)
    xml = s.network(network).XMLDesc(c.VIR_NETWORK_XML_INACTIVE if inactive else 0)
    s.out.text(xml, {"xml": xml})


def net_info(ctx: typer.Context, network: Name) -> None:
    """Print the most important facts of a network.

    JSON: {name, uuid, active, persistent, autostart, bridge}; bridge is null if it has none.
    """
    s = session(ctx)
    net = s.network(network)
    value = {**_reference(net), "active": bool(net.isActive()), "persistent": bool(net.isPersistent()),
             "autostart": bool(net.autostart()), "bridge": _bridge(net)}
    s.out.record({"Name": value["name"], "UUID": value["uuid"], **{
        key.capitalize(): "yes" if value[key] else "no" for key in ("active", "persistent", "autostart")},
        **({"Bridge": value["bridge"]} if value["bridge"] else {})}, value)


def _bridge(net: virNetwork) -> str | None:
    try:
        return net.bridgeName()
    except libvirtError as error:
        if error.get_error_code() == c.VIR_ERR_INTERNAL_ERROR:  # libvirt's way of saying that there is none
            return None
        raise


def net_autostart(ctx: typer.Context, network: Name,
                  disable: Annotated[bool, typer.Option("--disable", help="Not any more.")] = False) -> None:
    """Have a network started with its node.

    JSON: {name, uuid, autostart}.
    """
    s = session(ctx)
    net = s.network(network)
    with failing(f"failed to {'un' * disable}mark network {net.name()} as autostarted"):
        net.setAutostart(0 if disable else 1)
    s.out.text(f"Network {net.name()} {'un' * disable}marked as autostarted",
               {**_reference(net), "autostart": not disable})


def _reference(net: virNetwork) -> dict[str, object]:
    return {"name": net.name(), "uuid": net.UUIDString()}
