"""The verb ``event``: wait for events of domains and print them as they come."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from virtbus import eventloop
from virtbus.cli.session import CommandError, session
from virtbus.cli.words import EVENTS, detail, event_names, word
from virtbus.connect import virConnect
from virtbus.domain import virDomain


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("event", epilog="Example: virtbus event --all --loop --timestamp")(event)


class Printer:
    """Prints events, and knows when enough have come."""

    def __init__(self, ctx: typer.Context, loop: bool, timestamp: bool) -> None:
        self._out = session(ctx).out
        self._loop = loop
        self._timestamp = timestamp
        self.count = 0
        self.done = False

    def came(self, conn: virConnect, dom: virDomain, *rest: object) -> None:
        """An event; its name is the opaque, the last argument."""
        if self.done:
            return
        *numbers, name = rest
        value: dict[str, object] = {"event": name, "domain": dom.name(), "uuid": dom.UUIDString(), "time": time.time()}
        text = f"event '{name}' for domain '{dom.name()}'"
        match numbers:
            case [int(kind), int(why)]:
                value |= {"type": word(EVENTS, kind), "detail": detail(kind, why)}
                text += f": {value['type']} {value['detail']}"
        self._print(value, text)
        self.done = self.done or not self._loop

    def gap(self, conn: virConnect, service: str, epoch: str, last: int, first: int, opaque: object) -> None:
        """Events are lost."""
        self._print({"event": "gap", "service": service, "epoch": epoch, "last_seen": last, "first_known": first,
                     "time": time.time()}, f"events of the {service} service after number {last} are lost")

    def _print(self, value: dict[str, object], text: str) -> None:
        self.count += 1
        stamp = f"{datetime.now(UTC).isoformat(sep=' ', timespec='milliseconds')}: " if self._timestamp else ""
        try:
            self._out.text(f"{stamp}{text}", value)
            typer.get_text_stream("stdout").flush()
        except BrokenPipeError:  # raised here it would end nothing: this is a callback
            self.done = True


def event(
    ctx: typer.Context,
    domain: Annotated[str | None, typer.Option(metavar="DOMAIN", help="Only of this one.")] = None,
    event_: Annotated[str | None, typer.Option("--event", metavar="NAME", help="The kind to wait for.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Wait for every kind.")] = False,
    loop: Annotated[bool, typer.Option("--loop", help="Until interrupted or --timeout, not only for one.")] = False,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", min=0, help="Give up after this time.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Print the kinds of events.")] = False,
    timestamp: Annotated[bool, typer.Option("--timestamp", help="With the time of each.")] = False,
) -> None:
    """Wait for events of domains and print them: one, or all with --loop.

    JSON: one line {event, domain, uuid, time} for each, with {type, detail} for lifecycle; if events were lost,
    {event: gap, service, epoch, last_seen, first_known}.
    """
    s = session(ctx)
    names = event_names()
    if list_:
        s.out.lines(list(names), [{"event": name} for name in names])
        return
    if not all_ and event_ is None:
        raise CommandError("one of --list, --all, or --event TYPE is required")
    if event_ is not None and event_ not in names:
        raise CommandError(f"unknown event type {event_}")
    eventloop.virEventRegisterDefaultImpl()
    printer = Printer(ctx, loop, timestamp)
    conn = s.conn
    dom = None if domain is None else s.domain(domain)
    wanted = names if all_ else {event_: names[event_]} if event_ else {}
    ids = [conn.domainEventRegisterAny(dom, number, printer.came, name) for name, number in wanted.items()]
    gaps = conn.registerGapCallback(printer.gap, None)
    try:
        _wait(printer, timeout)
    finally:
        for number in ids:
            conn.domainEventDeregisterAny(number)
        conn.deregisterGapCallback(gaps)
    if not s.out.json:
        print(f"events received: {printer.count}")
    if not printer.count:
        raise typer.Exit(1)


def _wait(printer: Printer, timeout: float | None) -> None:
    """Run the loop until the printer is done, time is up, or somebody interrupts."""
    expired: list[int] = []
    # Without a timeout the timer only lets the wait end now and then, so that an interrupt is noticed.
    timer = eventloop.virEventAddTimeout(int(1000 * timeout) if timeout is not None else 1000,
                                         lambda number, _opaque: expired.append(number), None)
    try:
        while not printer.done and not (expired and timeout is not None):
            eventloop.virEventRunDefaultImpl()
    except KeyboardInterrupt:
        return
    finally:
        eventloop.virEventRemoveTimeout(timer)
