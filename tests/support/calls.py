"""Calls to a node's services from outside, with what the library hides: request ids, raw messages, event numbers.

The laws are about ids that come twice, deadlines that pass and messages that are no messages; the gateway's users have
no way to make those. Everything here goes through the broker like any client's call.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pika

from tests.support.processes import Daemon
from virtbus_shared.api import common
from virtbus_shared.api import domain as api
from virtbus_shared.bus import topology
from virtbus_shared.bus.client import BusClient
from virtbus_shared.envelope import EventMessage, Request, decode_reply
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import Params, Procedure, Result

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=Result)

PATIENCE = 60.0  # seconds after which a test gives up; nothing measures time by it
_REPLY_TO = "amq.rabbitmq.reply-to"


def new_id() -> str:
    """A request id nobody has used."""
    return uuid.uuid4().hex


class NodeCalls:
    """One connection of a node, called row by row: ``calls(api.CREATE, uuid=...)`` gives the row's result."""

    def __init__(self, url: str, node: str, driver: str = "qemu", path: str = "/system") -> None:
        self.node = node
        self.driver = driver
        self.path = path
        self.client = BusClient(url)
        self._threads = ThreadPoolExecutor(32)

    def request(self, row: Procedure[P, R], args: dict[str, object], *, request_id: str = "",
                within: float = PATIENCE) -> Request:
        """The envelope of a call that must be over ``within`` seconds from now."""
        now = time.time()
        return Request(request_id or new_id(), row.name, now + within, args, self.driver, self.path, sent=now)

    def __call__(self, row: Procedure[P, R], *, request_id: str = "", within: float = PATIENCE, **args: object) -> R:
        """Make a call and wait. Raises ``LibvirtError``."""
        return self.send(row, self.request(row, args, request_id=request_id, within=within))

    def send(self, row: Procedure[P, R], request: Request) -> R:
        """Send this very request, perhaps for the second time."""
        reply = self.client.call(self.node, row.name, request.id, request.encode(), request.deadline)
        return row.result.model_validate(decode_reply(reply))

    def start(self, row: Procedure[P, R], *, request_id: str = "", within: float = PATIENCE,
              **args: object) -> Future[R]:
        """The same in a thread: the call is under way when, or soon after, this returns."""
        return self.start_request(row, self.request(row, args, request_id=request_id, within=within))

    def start_request(self, row: Procedure[P, R], request: Request) -> Future[R]:
        """``send`` in a thread."""
        return self._threads.submit(self.send, row, request)

    def error(self, row: Procedure[P, R], *, within: float = PATIENCE, **args: object) -> LibvirtError:
        """The error of a call that must fail."""
        try:
            result = self.send(row, self.request(row, args, within=within))
        except LibvirtError as error:
            return error
        raise AssertionError(f"{row.name} succeeded: {result}")

    def outcome(self, request_id: str) -> common.Outcome:
        """What the domain service knows of a request."""
        return self(common.GET_OUTCOME["domain"], id=request_id)

    def state(self, domain: str) -> int:
        """A domain's ``VIR_DOMAIN_*`` state, by its UUID."""
        return self(api.GET_STATE, uuid=domain).state

    def listed(self) -> dict[str, api.Domain]:
        """All domains by UUID."""
        return {domain.uuid: domain for domain in self(api.LIST_ALL).domains}

    def close(self) -> None:
        """End the connection; calls that wait fail."""
        self.client.close()
        self._threads.shutdown()


@contextmanager
def calling(url: str, node: str, driver: str = "qemu", path: str = "/system") -> Iterator[NodeCalls]:
    """``NodeCalls`` for the length of a block."""
    calls = NodeCalls(url, node, driver, path)
    try:
        yield calls
    finally:
        calls.close()


def new_node() -> str:
    """A node name of its own: a broker that others use knows no virtual hosts of ours."""
    return f"n-{secrets.token_hex(4)}"


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait for something outside that tells nobody."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.02)


# -- guests -----------------------------------------------------------------------------------------------------------

def guest_xml(name: str, domain_uuid: str = "", *, devices: str = "", os: str = "", memory_mib: int = 32,
              extra: str = "") -> str:
    """The smallest real guest: QEMU's firmware, which finds nothing to boot, unless ``os`` and ``devices`` say more."""
    return (f"<domain type='qemu'><name>{name}</name>{f'<uuid>{domain_uuid}</uuid>' if domain_uuid else ''}"
            f"<memory unit='MiB'>{memory_mib}</memory><os><type arch='x86_64' machine='pc'>hvm</type>{os}</os>"
            f"<features><acpi/></features>{extra}<devices><controller type='usb' model='none'/>"
            f"<memballoon model='none'/>{devices}</devices></domain>")


def fake_xml(name: str, fault: str = "") -> str:
    """A domain of the test driver; ``fault`` is a ``<fault operation= kind=>`` without its namespace."""
    fault = fault.replace("<fault", "<fault xmlns='urn:virtbus:test'")
    metadata = f"<metadata>{fault}</metadata>" if fault else ""
    return f"<domain type='test'><name>{name}</name>{metadata}<memory>1024</memory><os><type>hvm</type></os></domain>"


def qemu_pids(daemon: Daemon) -> dict[str, list[int]]:
    """QEMU processes of a domain service by UUID of their guest, looked up in /proc without any help of ours."""
    folder = f"{daemon.run_dir.resolve()}/domain/qemu/"
    found: dict[str, list[int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with suppress(OSError):
            arguments = Path(f"/proc/{entry}/cmdline").read_bytes().decode(errors="replace").split("\0")
            at = next((a for a in arguments if a.startswith(folder)), None)
            if at is not None and "qemu-system" in arguments[0]:
                directory = at.removeprefix(folder).partition("/")[0]
                found.setdefault(directory.partition("-")[2], []).append(int(entry))
    return found


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# -- raw messages -----------------------------------------------------------------------------------------------------

class RawMessages:
    """Messages as any AMQP program could publish them, and their replies."""

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._user = pika.URLParameters(url).credentials.username
        self.replies: dict[str, list[bytes]] = {}
        self._channel.basic_consume(_REPLY_TO, self._replied, auto_ack=True)

    def _replied(self, _channel: object, _method: object, properties: pika.BasicProperties, body: bytes) -> None:
        self.replies.setdefault(str(properties.correlation_id), []).append(body)

    def publish(self, node: str, procedure: str, body: bytes, *, correlation: str = "", answered: bool = True,
                user: bool = True) -> str:
        """Publish a body to a service's key; the correlation id under which its reply will be found."""
        ident = correlation or new_id()
        properties = pika.BasicProperties(correlation_id=ident, reply_to=_REPLY_TO if answered else None,
                                          user_id=self._user if user else None)
        self._channel.basic_publish(topology.COMMAND, topology.command_key(node, procedure), body, properties)
        return ident

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Let replies come in until the condition holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{what}: not within {PATIENCE:.0f} s"
            self._connection.process_data_events(0.05)

    def dead_letters(self) -> int:
        """How many messages lie in the dead letter queue."""
        return int(self._channel.queue_declare(topology.DEAD_LETTER, passive=True).method.message_count)

    def close(self) -> None:
        """End the connection."""
        with suppress(pika.exceptions.AMQPError):
            self._connection.close()


@contextmanager
def raw_messages(url: str) -> Iterator[RawMessages]:
    """``RawMessages`` for the length of a block."""
    raw = RawMessages(url)
    try:
        yield raw
    finally:
        raw.close()


# -- events -----------------------------------------------------------------------------------------------------------

class EventLog:
    """Every event of a node's domain service, in order and without gaps, as a careful subscriber gets them.

    What the broker delivers is taken by its number; when something is missing or may be, it is fetched from the
    service. ``events`` fails the test by itself if a number is ever skipped.
    """

    def __init__(self, calls: NodeCalls) -> None:
        self._calls = calls
        self._changed = threading.Condition()
        self._stale = True
        self.events: list[EventMessage] = []
        self.epoch = ""
        self._subscription = calls.client.subscribe([f"{calls.node}.domain.*"], self._arrived, self._gap)

    def _arrived(self, body: bytes) -> None:
        event = EventMessage.decode(body)
        with self._changed:
            if self._next(event) == event.sequence:
                self.events.append(event)
            elif event.sequence > self._next(event):
                self._stale = True
            self._changed.notify_all()

    def _next(self, event: EventMessage) -> int:
        return self.events[-1].sequence + 1 if self.events and self.events[-1].epoch == event.epoch else 1

    def _gap(self) -> None:
        with self._changed:
            self._stale = True
            self._changed.notify_all()

    def _fetch(self) -> None:
        """Get what was missed. The service may be away: whoever waits comes back."""
        last = self.events[-1] if self.events else None
        try:
            missed = self._calls(common.LIST_EVENTS["domain"], epoch=last.epoch if last else "",
                                 sequence=last.sequence if last else 0, within=10)
        except LibvirtError:
            return
        assert not missed.gap, "the service has lost events"
        with self._changed:
            self._stale = False
        for body in missed.events:
            self._arrived(body)

    def wait(self, condition: Callable[[list[EventMessage]], bool], what: str) -> list[EventMessage]:
        """Return all events once the condition holds for them."""
        end = time.monotonic() + PATIENCE
        while True:
            if self._stale:
                self._fetch()
            with self._changed:
                if condition(self.events):
                    return list(self.events)
                shown = [(e.sequence, e.name, e.body.get("event")) for e in self.events]
                assert time.monotonic() < end, f"{what}: not within {PATIENCE:.0f} s; {shown}"
                self._changed.wait(0.2)

    def of(self, domain: str) -> list[tuple[int, int]]:
        """(event, detail) of a domain's lifecycle events so far."""
        with self._changed:
            return lifecycle(self.events, domain)

    def wait_for(self, domain: str, event: int, count: int = 1) -> None:
        """Return once a domain has had a lifecycle event that many times."""
        self.wait(lambda events: sum(e == event for e, _ in lifecycle(events, domain)) >= count,
                  f"event {event} of {domain}")

    def close(self) -> None:
        """End the subscription."""
        self._subscription.cancel()


def lifecycle(events: Sequence[EventMessage], domain: str) -> list[tuple[int, int]]:
    """(event, detail) of a domain's lifecycle events."""
    return [(e.body["event"], e.body["detail"]) for e in events
            if e.name == api.LIFECYCLE.name and e.body["domain"]["uuid"] == domain]


@contextmanager
def event_log(calls: NodeCalls) -> Iterator[EventLog]:
    """An ``EventLog`` for the length of a block."""
    log = EventLog(calls)
    try:
        yield log
    finally:
        log.close()


def metric(daemon: Daemon, name: str, **labels: str) -> float:
    """The sum of a metric's samples whose labels match; 0 while there is none."""
    total = 0.0
    for line in daemon.metrics().splitlines():
        head, _, value = line.rpartition(" ")
        if (head == name or head.startswith(f"{name}{{")) and all(f'{k}="{v}"' in head for k, v in labels.items()):
            total += float(value)
    return total
