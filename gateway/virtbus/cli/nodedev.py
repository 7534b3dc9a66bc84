"""Verbs about the devices of a node."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Annotated

import typer

from virtbus.cli.session import CommandError, failing, session
from virtbus.nodedev import CAPABILITIES


def add_to(app: typer.Typer) -> None:
    """Add these verbs."""
    for name, function, example in (
            ("nodedev-list", nodedev_list, "nodedev-list --cap net,pci"),
            ("nodedev-dumpxml", nodedev_dumpxml, "nodedev-dumpxml pci_0000_00_1f_2")):
        app.command(name, epilog=f"Example: virtbus {example}")(function)


def nodedev_list(
    ctx: typer.Context,
    cap: Annotated[str | None, typer.Option(metavar="CAP[,CAP]...", help="Only devices with one of these.")] = None,
    tree: Annotated[bool, typer.Option("--tree", help="Show what hangs on what.")] = False,
) -> None:
    """List the devices of the node.

    JSON: a list of {name, parent}; the parent of the root is null.
    """
    s = session(ctx)
    if cap is not None and tree:
        raise CommandError("Options --tree and --cap are mutually exclusive")
    flags = 0
    for name in cap.split(",") if cap else ():
        if name not in CAPABILITIES:
            raise CommandError(f"Invalid capability type '{name}' (one of {', '.join(sorted(CAPABILITIES))})")
        flags |= CAPABILITIES[name]
    with failing("Failed to list node devices"):
        parents = {device.name(): device.parent() for device in s.conn.listAllDevices(flags)}
    lines = _tree(parents) if tree else sorted(parents)
    s.out.lines(list(lines), [{"name": name, "parent": parents[name]} for name in sorted(parents)])


def _tree(parents: dict[str, str | None]) -> Iterator[str]:
    """virsh's tree: children below their parent, in the order of their names."""
    children: dict[str | None, list[str]] = defaultdict(list)
    for name in sorted(parents):
        parent = parents[name]
        children[parent if parent in parents else None].append(name)
    for root in children[None]:
        yield root
        yield from _branches(root, children, "  ")


def _branches(name: str, children: dict[str | None, list[str]], indent: str) -> Iterator[str]:
    below = children[name]
    if below:
        yield f"{indent}|"
    for child in below:
        yield f"{indent}+- {child}"
        yield from _branches(child, children, f"{indent}{'    ' if child == below[-1] else '|   '}")
    if below:
        yield indent.rstrip()


def nodedev_dumpxml(ctx: typer.Context,
                    device: Annotated[str, typer.Argument(metavar="DEVICE", help="Name of the device.")]) -> None:
    """Print a device's description.

    JSON: {xml}.
    """
    s = session(ctx)
    conn = s.conn
    with failing(f"Could not find matching device '{device}'"):
        xml = conn.nodeDeviceLookupByName(device).XMLDesc()
    s.out.text(xml, {"xml": xml})
