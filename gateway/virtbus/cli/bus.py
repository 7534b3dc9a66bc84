"""Verbs that virsh does not have: who is there on the broker, and what became of a request."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from virtbus import presence
from virtbus.cli.session import session


def add_to(app: typer.Typer) -> None:
    """Add these verbs."""
    app.command("nodes", epilog="Example: virtbus --broker amqp://broker.example nodes")(nodes)
    app.command("outcome", epilog="Example: virtbus -c qemu+amqp://node-a/system outcome 0123456789abcdef")(outcome)


def nodes(ctx: typer.Context,
          wait: Annotated[float, typer.Option(metavar="SECONDS", min=0.05,
                                              help="How long answers count.")] = presence.WAIT) -> None:
    """List the nodes on the broker, with the services of each that answer and the connections they offer.

    JSON: a list of {node, service, version, since, connections}; since in Unix seconds.
    """
    s = session(ctx)
    rows: list[dict[str, object]] = [
        {"node": node.name, "service": name, "version": info.version, "since": info.started,
         "connections": info.drivers}
        for node in presence.nodes(wait=wait) for name, info in sorted(node.services.items())]
    if not s.out.json:
        rows = [{**row, "since": _when(float(str(row["since"]))), "connections": " ".join(map(str, drivers))}
                for row in rows if isinstance(drivers := row["connections"], list)]
    s.out.table({"node": "Node", "service": "Service", "version": "Version", "since": "Up since",
                 "connections": "Connections"}, rows)


def outcome(ctx: typer.Context,
            request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="As the error of a call names it.")],
            ) -> None:
    """Say what became of a request that changes something, such as one whose reply did not come in time.

    JSON: {id, state, service, procedure, caller, received, finished, error}; state is unknown (it had no effect),
    running or done; error is null or {code, message}; times in Unix seconds.
    """
    s = session(ctx)
    found = s.conn.requestOutcome(request_id)
    error = found.error and {"code": found.error[0], "message": found.error[2]}
    lines: dict[str, object] = {"Request": found.id, "State": found.state}
    if found.state != "unknown":
        lines |= {"Procedure": found.procedure, "Caller": found.caller, "Received": _when(found.received)}
    if found.finished:
        lines |= {"Finished": _when(found.finished), "Result": error["message"] if error else "ok"}
    s.out.record(lines, {
        "id": found.id, "state": found.state, "service": found.service, "procedure": found.procedure,
        "caller": found.caller, "received": found.received, "finished": found.finished, "error": error})


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
