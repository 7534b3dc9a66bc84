"""Rows that all four services have (is it there, what became of a request, which events were missed), and the
models that several services share.

They are declared by a loop, since they differ in nothing but the first word of their name. Their answers come from
memory or from the service's own store; no driver is asked.
"""

from __future__ import annotations

from pydantic import Field

from virtbus_shared import constants as c
from virtbus_shared.procedure import TABLE, Flags, NoParams, Params, Priority, Procedure, Result


class ServiceInfo(Result):
    """Who answers."""

    node: str = Field(description="Name of the node.")
    service: str = Field(description="Name of the service: domain, network, storage or nodedev.")
    version: str = Field(description="Version of virtbus that the service runs.")
    boot: str = Field(description="Identifies this run of the service; a restart gives a new one.")
    epoch: str = Field(description="Identifies the store that numbers the service's events.")
    started: float = Field(description="When this run became ready, Unix seconds.")
    drivers: list[str] = Field(description="Connections that can be opened, as driver:///path.")


class OutcomeRequest(Params):
    """Which request is asked for."""

    id: str = Field(description="The id of the request.", max_length=128)


class Outcome(Result):
    """What became of a state-changing request."""

    state: str = Field(description="unknown: it had no effect, and may be sent again; running; done.")
    procedure: str = Field(default="", description="The procedure that was called.")
    caller: str = Field(default="", description="Who called it, as the broker or the door vouches.")
    received: float = Field(default=0.0, description="When it was journalled, Unix seconds.")
    finished: float = Field(default=0.0, description="When it ended, Unix seconds; 0 while running.")
    reply: bytes = Field(default=b"", description="The reply envelope, once done.")


class EventsSince(Params):
    """From where a subscriber resumes."""

    epoch: str = Field(default="", description="The epoch that the subscriber knows; empty at first.")
    sequence: int = Field(ge=0, description="The last sequence number that the subscriber has seen.")
    limit: int = Field(default=1000, ge=1, le=10000, description="At most this many events are answered.")


class Events(Result):
    """Events that a subscriber missed, in order."""

    epoch: str = Field(description="The epoch of the numbers below.")
    first: int = Field(description="The oldest number still kept; 0 when nothing was ever numbered.")
    last: int = Field(description="The newest number given out; 0 when none was.")
    gap: bool = Field(description="Events between the asked number and the first answered one are no longer known.")
    events: list[bytes] = Field(description="Event envelopes, oldest first.")


class ListFlags(Params):
    """Which objects to list."""

    flags: Flags = 0


class Document(Result):
    """An XML document."""

    xml: str = Field(description="The document.")


class Flag(Result):
    """A yes or a no."""

    value: bool = Field(description="The answer.")


class Number(Result):
    """A whole number."""

    value: int = Field(description="The answer, in the unit that the call documents.")


class String(Result):
    """A text."""

    value: str = Field(description="The answer.")


PING: dict[str, Procedure[NoParams, ServiceInfo]] = {}
GET_OUTCOME: dict[str, Procedure[OutcomeRequest, Outcome]] = {}
LIST_EVENTS: dict[str, Procedure[EventsSince, Events]] = {}

for _service in ("domain", "network", "storage", "nodedev"):
    PING[_service] = TABLE.procedure(Procedure(
        name=f"{_service}.ping", summary="Say who answers; also the broker round trip of the service's own probe.",
        params=NoParams, result=ServiceInfo, acl="connect:getattr", read_only=True, connectionless=True,
        priority=Priority.HIGH, serves=("virConnectIsAlive",), since="0.1"))
    GET_OUTCOME[_service] = TABLE.procedure(Procedure(
        name=f"{_service}.get_outcome", summary="What became of a state-changing request, by its id.",
        params=OutcomeRequest, result=Outcome, acl="connect:read", read_only=True, connectionless=True, since="0.1"))
    LIST_EVENTS[_service] = TABLE.procedure(Procedure(
        name=f"{_service}.list_events", summary="Events after a sequence number, or a statement that some are lost.",
        params=EventsSince, result=Events, acl="connect:search", read_only=True, connectionless=True,
        errors=(c.VIR_ERR_INVALID_ARG,), since="0.1"))
