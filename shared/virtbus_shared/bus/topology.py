"""The names on the broker: exchanges, queues, bindings, routing keys.

Client and service find each other by these names alone, and a program in another language that wants to talk to a
service needs no more than this page, so all of them stand here:

``virtbus.command``      topic, durable   key ``<node>.<service>.<verb>``, or ``_all.<service>.<verb>`` for every node
``virtbus.event``        topic, durable   key ``<node>.<service>.<event>``
``virtbus.presence``     fanout, durable  a service says that it starts or stops consuming
``virtbus.dead-letter``  fanout, durable  commands that nobody could take, kept as evidence in a queue of that name

A command queue is exclusive to the connection of its service and has a random name. It vanishes with its service, so
that a mandatory publish to a node that is gone comes back at once; and a predecessor whose connection is half dead
cannot keep its successor from declaring its own.
"""

from __future__ import annotations

import functools
import re
import secrets
from dataclasses import dataclass

import msgpack
from pika.channel import Channel

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

COMMAND = "virtbus.command"
EVENT = "virtbus.event"
PRESENCE = "virtbus.presence"
DEAD_LETTER = "virtbus.dead-letter"
ALL_NODES = "_all"
CONTENT_TYPE = "application/msgpack"

# The dead letter queue is evidence, not storage: the oldest goes when either bound is reached. Both are arguments of
# a queue that lasts, so changing them means deleting the queue on every broker first.
DEAD_LETTER_ARGUMENTS = {"x-max-length": 10_000, "x-max-length-bytes": 64 * 1024 * 1024}

_NODE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_WORD = re.compile(r"[A-Za-z0-9_-]+")
MAX_NODE = 128  # characters; a routing key may have 255 bytes


@functools.lru_cache(maxsize=4096)
def check_node(node: str) -> str:
    """The name of a node, or ``VIR_ERR_INVALID_ARG`` if no node can be called so."""
    if len(node) <= MAX_NODE and node != ALL_NODES and _NODE.fullmatch(node):
        return node
    raise LibvirtError(c.VIR_ERR_INVALID_ARG, f"node name {node[:MAX_NODE + 1]!r}: at most {MAX_NODE} letters, digits, "
                       f"'_', '-' and '.' are accepted, no '.' first, and {ALL_NODES!r} means every node",
                       domain=c.VIR_FROM_RPC)


@functools.lru_cache(maxsize=4096)
def command_key(node: str, procedure: str) -> str:
    """The routing key of a command; ``procedure`` is its wire name, such as ``domain.create``."""
    service, _, verb = procedure.partition(".")
    if not _WORD.fullmatch(service) or not _WORD.fullmatch(verb) or len(procedure) > 100:
        raise LibvirtError(c.VIR_ERR_INVALID_ARG, f"procedure {procedure[:100]!r} is not of the form service.verb",
                           domain=c.VIR_FROM_RPC)
    return f"{node}.{procedure}"


def command_bindings(node: str, service: str) -> tuple[str, str]:
    """The keys that a service binds: its own commands, and those for its kind on all nodes.

    ``*`` and not ``#``: node names may hold dots, so ``web.storage.#`` of node ``web`` would also take the commands
    of a node called ``web.storage.example``.
    """
    return f"{node}.{service}.*", f"{ALL_NODES}.{service}.*"


def command_queue(node: str, service: str) -> str:
    """A fresh name for a service's queue."""
    return f"virtbus.{node}.{service}.{secrets.token_hex(4)}"


def event_key(node: str, event: str) -> str:
    """The routing key of an event; ``event`` is its wire name, such as ``domain.lifecycle``."""
    return f"{node}.{event}"


@dataclass(frozen=True, slots=True)
class Presence:
    """What a service tells everybody when it begins or ends to take commands."""

    node: str
    service: str
    boot: str  # names this run of the service
    up: bool

    def encode(self) -> bytes:
        """The body of the message."""
        body: bytes = msgpack.packb({"node": self.node, "service": self.service, "boot": self.boot,
                                     "state": "up" if self.up else "down"})
        return body

    @classmethod
    def decode(cls, body: bytes) -> Presence:
        """The presence in a body. Raises ``ValueError`` for anything else: it may come from anybody."""
        try:
            m = msgpack.unpackb(body)
            node, service, boot, state = (m[key] for key in ("node", "service", "boot", "state"))
        except (ValueError, KeyError, TypeError, msgpack.exceptions.UnpackException) as e:
            raise ValueError(f"not a presence message: {type(e).__name__}: {e}") from None
        if not all(isinstance(v, str) for v in (node, service, boot)) or state not in ("up", "down"):
            raise ValueError(f"not a presence message: {m!r:.200}")
        return cls(node, service, boot, state == "up")


def declare_exchanges(channel: Channel) -> None:
    """Declare what clients and services publish to, without waiting: a refusal closes the channel."""
    channel.exchange_declare(COMMAND, "topic", durable=True)
    channel.exchange_declare(EVENT, "topic", durable=True)
    channel.exchange_declare(PRESENCE, "fanout", durable=True)


def declare_dead_letter(channel: Channel) -> None:
    """Declare where a service's rejected and expired commands go, without waiting."""
    channel.exchange_declare(DEAD_LETTER, "fanout", durable=True)
    channel.queue_declare(DEAD_LETTER, durable=True, arguments=DEAD_LETTER_ARGUMENTS)
    channel.queue_bind(DEAD_LETTER, DEAD_LETTER)
