"""Verbs about the node and the connection themselves."""

from __future__ import annotations

import typer

from virtbus.cli.session import session
from virtbus_shared import __version__


def add_to(app: typer.Typer) -> None:
    """Add these verbs."""
    for function in (nodeinfo, capabilities, hostname, version, uri):
        app.command(function.__name__, epilog=f"Example: virtbus -c qemu+amqp://node-a/system {function.__name__}")(
            function)


def nodeinfo(ctx: typer.Context) -> None:
    """Print what the node is made of.

    JSON: {model, cpus, mhz, sockets, cores, threads, numa_cells, memory_kib}.
    """
    s = session(ctx)
    model, memory, cpus, mhz, cells, sockets, cores, threads = s.conn.getInfo()
    kib = int(memory) * 1024  # MiB from the library
    s.out.record({
        "CPU model": model, "CPU(s)": cpus, "CPU frequency": f"{mhz} MHz", "CPU socket(s)": sockets,
        "Core(s) per socket": cores, "Thread(s) per core": threads, "NUMA cell(s)": cells, "Memory size": f"{kib} KiB",
    }, {"model": model, "cpus": cpus, "mhz": mhz, "sockets": sockets, "cores": cores, "threads": threads,
        "numa_cells": cells, "memory_kib": kib}, width=21)


def capabilities(ctx: typer.Context) -> None:
    """Print what the node and its hypervisor can do.

    JSON: {xml}.
    """
    xml = session(ctx).conn.getCapabilities()
    session(ctx).out.text(xml, {"xml": xml})


def hostname(ctx: typer.Context) -> None:
    """Print the name of the node's host.

    JSON: {hostname}.
    """
    name = session(ctx).conn.getHostname()
    session(ctx).out.text(name, {"hostname": name})


def version(ctx: typer.Context) -> None:
    """Print the versions of virtbus, of the API it offers, and of the hypervisor.

    JSON: {virtbus, api, hypervisor, hypervisor_version}; the last is null if it is not known.
    """
    s = session(ctx)
    kind, api, hypervisor = s.conn.getType(), _dotted(s.conn.getLibVersion()), s.conn.getVersion()
    lines = [f"Using library: virtbus {__version__}", f"Using API: {kind} {api}",
             f"Running hypervisor: {kind} {_dotted(hypervisor)}" if hypervisor
             else f"Cannot extract running {kind} hypervisor version"]
    s.out.lines(lines, {"virtbus": __version__, "api": api, "hypervisor": kind,
                        "hypervisor_version": _dotted(hypervisor) if hypervisor else None})


def _dotted(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def uri(ctx: typer.Context) -> None:
    """Print the URI of the connection.

    JSON: {uri}.
    """
    text = session(ctx).conn.getURI()
    session(ctx).out.text(text, {"uri": text})
