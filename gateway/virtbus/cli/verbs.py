"""Verbs that are alike: find one thing, do one thing to it, say so. Each is an entry of data beside its kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import typer

from virtbus.cli.session import Session, failing, session


class Named(Protocol):
    """What the library's objects have in common here."""

    def name(self) -> str:
        """Its name."""


T = TypeVar("T", bound=Named)


@dataclass(frozen=True)
class Verb(Generic[T]):
    """A verb; ``done`` and ``failed`` are virsh's sentences with ``{}`` for the name."""

    name: str
    act: Callable[[T], object]
    done: str
    failed: str
    help: str


def add_verbs(app: typer.Typer, verbs: Sequence[Verb[T]], argument: Any, find: Callable[[Session, str], T],
              example: str) -> None:
    """Add verbs whose one argument names what ``find`` finds. ``argument`` is that argument's annotation."""
    for verb in verbs:
        command = _command(verb, find)
        command.__annotations__["key"] = argument
        add = app.command(verb.name, help=f"{verb.help}\n\nJSON: {{name}}.",
                          epilog=f"Example: virtbus {verb.name} {example}")
        add(command)


def _command(verb: Verb[T], find: Callable[[Session, str], T]) -> Callable[[typer.Context, str], None]:
    def run(ctx: typer.Context, key: str) -> None:
        s = session(ctx)
        thing = find(s, key)
        with failing(verb.failed.format(thing.name())):
            verb.act(thing)
        s.out.text(verb.done.format(thing.name()), {"name": thing.name()})

    return run
