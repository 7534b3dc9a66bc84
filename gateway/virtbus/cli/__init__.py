"""The command ``virtbus``: virsh's verbs over the bus.

Everything that only the command needs (typer, rich) is imported here and below, never by the library.
"""

from __future__ import annotations


def main() -> None:
    """The entry point: run the command line and end the process with its status."""
    from virtbus.cli.app import run  # noqa: PLC0415 - importing virtbus.cli alone must stay cheap

    raise SystemExit(run())
