"""The machinery metrics of a service: what its requests, its broker connection, its events and its drivers do.

Names, types, labels and meanings are a public interface: dashboards and alerts depend on them. ``METRICS`` is the
table of all of them; a test compares it with what a running service exports. Every series carries the label
``service``, and no label value ever comes from a message. Children are kept, for looking one up costs more than
counting; a route's series are made at its first use, every outcome at 0, so that ``rate()`` misses nothing.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from virtbus_shared import __version__
from virtbus_shared import constants as c
from virtbus_shared.api import TABLE
from virtbus_shared.envelope import PROTOCOL_VERSION
from virtbus_shared.service.tallies import Tallies, Tally, Timings

DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
OUTCOMES = ("ok", "error", "denied", "expired", "duplicate", "malformed")
RECONNECTS = ("heartbeat", "closed_by_broker", "consumer_cancelled", "network", "shutdown")
PUBLISH_FAILURES = ("nack", "return", "timeout")
CODES = {value: name for name, value in vars(c).items() if name.startswith("VIR_ERR_") and isinstance(value, int)}


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric. ``labels`` are those beyond ``service``."""

    name: str
    kind: type[Counter] | type[Gauge] | type[Histogram]
    labels: tuple[str, ...]
    help: str


METRICS = {m.name: m for m in (
    Declared("virtbus_build_info", Gauge, ("version", "python", "protocol"),
             "Versions of the package, of the interpreter and of the message protocol; always 1."),
    Declared("virtbus_service_start_time_seconds", Gauge, (),
             "Unix time at which this run of the service became ready."),
    Declared("virtbus_service_ready", Gauge, (), "1 when /readyz would answer 200."),
    Declared("virtbus_rpc_requests_total", Counter, ("method", "outcome"),
             "Requests taken by the service since it started, by what became of them."),
    Declared("virtbus_rpc_errors_total", Counter, ("method", "code"),
             "Requests with the outcome error since the service started, by the public error code."),
    Declared("virtbus_rpc_duration_seconds", Histogram, ("method",),
             "Handler start to result ready, as the service sees it."),
    Declared("virtbus_rpc_queue_wait_seconds", Histogram, (),
             "Publish time in the message to handler start; needs clocks in step, negative values count as 0."),
    Declared("virtbus_rpc_in_flight", Gauge, (), "Handlers that run now and may wait."),
    Declared("virtbus_rpc_oldest_in_flight_seconds", Gauge, (), "Age of the oldest running handler; 0 when none runs."),
    Declared("virtbus_rpc_redeliveries_total", Counter, (),
             "Requests that the broker flagged as redelivered since the service started."),
    Declared("virtbus_rpc_replies_unroutable_total", Counter, (),
             "Replies that the broker returned because the caller's queue is gone, since the service started."),
    Declared("virtbus_rpc_result_store_entries", Gauge, (), "Remembered results, for duplicate suppression, on disk."),
    Declared("virtbus_amqp_connected", Gauge, (), "1 while connected with a consumer registered."),
    Declared("virtbus_amqp_reconnects_total", Counter, ("reason",),
             "Connections to the broker that were lost since the service started, by why."),
    Declared("virtbus_amqp_publish_failures_total", Counter, ("reason",),
             "Events that the broker did not take at the first try since the service started, by why."),
    Declared("virtbus_amqp_confirm_seconds", Histogram, (), "Publish to publisher confirm, as the service sees it."),
    Declared("virtbus_amqp_last_message_timestamp_seconds", Gauge, (),
             "Unix time at which the last message was taken."),
    Declared("virtbus_amqp_probe_timestamp_seconds", Gauge, (),
             "Unix time of the last success of the loopback probe: a request to itself through the broker."),
    Declared("virtbus_events_published_total", Counter, ("type",),
             "Events confirmed by the broker since the service started."),
    Declared("virtbus_events_sequence", Gauge, (), "Last sequence number given out; survives restarts."),
    Declared("virtbus_events_outbox", Gauge, (), "Events on disk that the broker has not confirmed yet."),
    Declared("virtbus_events_oldest_unpublished_timestamp_seconds", Gauge, (),
             "Unix time of the oldest event not confirmed yet; absent when there is none."),
    Declared("virtbus_events_replayed_total", Counter, (),
             "Events sent again since the service started, to callers that resumed from a sequence number."),
    Declared("virtbus_driver_calls_total", Counter, ("driver", "operation", "outcome"),
             "Calls into a hypervisor or host driver since the service started."),
    Declared("virtbus_driver_call_duration_seconds", Histogram, ("driver", "operation"),
             "Length of calls into a hypervisor or host driver, as the service sees it."),
    Declared("virtbus_driver_objects_stuck", Gauge, ("driver",),
             "Objects whose driver call has passed its deadline and has not returned."),
    Declared("virtbus_collector_success", Gauge, ("collector",),
             "1 when the collector's last pass measured at least one object or had none to measure, and did not fail."),
    Declared("virtbus_collector_duration_seconds", Gauge, ("collector",),
             "Length of the collector's last pass, as the service sees it."),
    Declared("virtbus_collector_timestamp_seconds", Gauge, ("collector",),
             "Unix time at which the collector's last pass ended."),
    Declared("virtbus_collector_dropped_series", Gauge, ("collector",),
             "Series left out by the collector's last pass because the service has too many."),
    Declared("virtbus_authz_decisions_total", Counter, ("object_type", "permission", "decision"),
             "Access decisions since the service started."),
    Declared("virtbus_audit_records_total", Counter, ("outcome",),
             "State changes recorded with their caller since the service started."),
    Declared("virtbus_store_commit_seconds", Histogram, (), "Write and sync of the state store."),
)}


class RouteMetrics:
    """The series of one method."""

    __slots__ = ("_duration", "_errors", "_method", "_outcomes", "_owner")

    def __init__(self, owner: ServiceMetrics, method: str) -> None:
        self._owner = owner
        self._method = method
        self._outcomes: dict[str, Tally] = {}
        self._errors: dict[int, Counter] = {}
        self._duration: Timings | None = None

    def _create(self) -> None:
        """First use: every outcome at 0."""
        self._outcomes = {o: self._owner.requests.tally(self._owner.service, self._method, o) for o in OUTCOMES}
        self._duration = self._owner.durations.timings(self._owner.service, self._method)

    def started(self, sent: float) -> float:
        """A handler starts. ``sent`` is the Unix time in the message, 0 when it has none."""
        if sent > 0:  # not a number, which a sender may write too, would spoil the sum for ever
            self._owner.queue_wait.observe(max(0.0, time.time() - sent))
        return time.perf_counter()

    def observed(self, began: float) -> None:
        """A handler has its result."""
        if self._duration is None:
            self._create()
        assert self._duration is not None
        self._duration.observe(time.perf_counter() - began)

    def ended(self, outcome: str, code: int) -> None:
        """A request has its outcome."""
        if not self._outcomes:
            self._create()
        self._outcomes[outcome].inc()
        if code:
            child = self._errors.get(code)
            if child is None:
                child = self._errors[code] = self._owner.counter(
                    "rpc_errors_total", method=self._method, code=CODES.get(code, "_other"))
            child.inc()

    @contextmanager
    def in_flight(self, request_id: str) -> Iterator[None]:
        """Around a handler that may wait."""
        running = self._owner.running
        running[request_id] = time.monotonic()
        try:
            yield
        finally:
            running.pop(request_id, None)


class ServiceMetrics:
    """All machinery series of one service, in a registry of their own."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        self._made: dict[str, Counter | Gauge | Histogram] = {}
        self.service = service
        self.running: dict[str, float] = {}  # request id -> monotonic start
        self.oldest_unpublished: tuple[int, float] | None = None  # number and Unix time of the oldest unconfirmed event
        self.last_event = 0
        self._routes: dict[str, RouteMetrics] = {}
        self._drivers: dict[tuple[str, str], tuple[dict[str, Counter], Histogram]] = {}
        self._decisions: dict[tuple[str, str, bool], Tally] = {}
        self.last_message = 0.0  # when the last message was taken, Unix time
        self._make_all()

    def _make_all(self) -> None:
        for d in METRICS.values():
            if d.name not in (*_COMPUTED, *_TALLIED):
                labels = ("service", *d.labels)
                self._made[d.name.removeprefix("virtbus_")] = (
                    Histogram(d.name, d.help, labels, registry=self.registry, buckets=DURATIONS)
                    if d.kind is Histogram else d.kind(d.name, d.help, labels, registry=self.registry))
        self.gauge("build_info", version=__version__, python=platform.python_version(),
                   protocol=str(PROTOCOL_VERSION)).set(1)
        self.tallies = {name: Tallies(name, METRICS[name].help, ("service", *METRICS[name].labels),
                                      DURATIONS if METRICS[name].kind is Histogram else None) for name in _TALLIED}
        self.requests = self.tallies["virtbus_rpc_requests_total"]
        self.durations = self.tallies["virtbus_rpc_duration_seconds"]
        self.queue_wait = self.tallies["virtbus_rpc_queue_wait_seconds"].timings(self.service)
        self._redeliveries = self.counter("rpc_redeliveries_total")
        self._unroutable = self.counter("rpc_replies_unroutable_total")
        self.result_store_entries = self.gauge("rpc_result_store_entries")
        self._connected = self.gauge("amqp_connected")
        self._reconnects = {r: self.counter("amqp_reconnects_total", reason=r) for r in RECONNECTS}
        self._publish_failures = {r: self.counter("amqp_publish_failures_total", reason=r) for r in PUBLISH_FAILURES}
        self._confirm = self.histogram("amqp_confirm_seconds")
        self.probe = self.gauge("amqp_probe_timestamp_seconds")
        self.published = {e: self.counter("events_published_total", type=e)
                          for e in TABLE.events if e.startswith(f"{self.service}.")}
        self._sequence = self.gauge("events_sequence")
        self.replayed = self.counter("events_replayed_total")
        for row in TABLE.of_service(self.service):
            object_type, _, permission = row.acl.partition(":")
            for allowed in (True, False):
                self._decision(object_type, permission, allowed)
        self._audit = {o: self.counter("audit_records_total", outcome=o) for o in ("written", "failed")}
        self.store_commit = self.histogram("store_commit_seconds")
        self.start_time = self.gauge("service_start_time_seconds")
        self.ready = self.gauge("service_ready")
        self.registry.register(_Computed(self))

    def counter(self, name: str, **labels: str) -> Counter:
        """A counter's child; ``name`` is without its prefix."""
        return cast(Counter, self._made[name].labels(service=self.service, **labels))

    def gauge(self, name: str, **labels: str) -> Gauge:
        """A gauge's child."""
        return cast(Gauge, self._made[name].labels(service=self.service, **labels))

    def histogram(self, name: str, **labels: str) -> Histogram:
        """A histogram's child."""
        return cast(Histogram, self._made[name].labels(service=self.service, **labels))

    # -- requests ---------------------------------------------------------------------------------------------------

    def route(self, method: str) -> RouteMetrics:
        """The series of a method of the table."""
        return self._routes.setdefault(method, RouteMetrics(self, method))

    def unknown(self) -> None:
        """A request for a procedure that is not in the table."""
        self.route("_unknown").ended("error", c.VIR_ERR_NO_SUPPORT)

    def malformed(self) -> None:
        """A body that is not a request."""
        self.route("_unknown").ended("malformed", 0)

    def redelivered(self) -> None:
        """The broker delivered a request again."""
        self._redeliveries.inc()

    def decided(self, object_type: str, permission: str, allowed: bool) -> None:
        """An access decision."""
        self._decision(object_type, permission, allowed).inc()

    def _decision(self, object_type: str, permission: str, allowed: bool) -> Tally:
        key = (object_type, permission, allowed)
        tally = self._decisions.get(key)
        if tally is None:
            tally = self._decisions[key] = self.tallies["virtbus_authz_decisions_total"].tally(
                self.service, object_type, permission, "allow" if allowed else "deny")
        return tally

    def audited(self, *, written: bool) -> None:
        """A state change was recorded with its caller, or could not be."""
        self._audit["written" if written else "failed"].inc()

    def events_written(self, last: int) -> None:
        """Events up to this number were given out."""
        self.last_event = last
        self._sequence.set(last)

    # -- the broker (bus.server's observer) -------------------------------------------------------------------------

    def connected(self, value: bool) -> None:
        """The consumer is registered, or gone."""
        self._connected.set(value)

    def reconnected(self, reason: str) -> None:
        """The connection was lost."""
        self._reconnects.get(reason, self._reconnects["network"]).inc()

    def replies_unroutable(self) -> None:
        """A caller's queue is gone."""
        self._unroutable.inc()

    def publish_failed(self, reason: str) -> None:
        """The broker did not take an event."""
        self._publish_failures.get(reason, self._publish_failures["timeout"]).inc()

    def confirm_seconds(self, seconds: float) -> None:
        """The broker confirmed a publish."""
        self._confirm.observe(seconds)

    def message_taken(self) -> None:
        """A message was taken."""
        self.last_message = time.time()

    # -- drivers (driver.CallObserver) ------------------------------------------------------------------------------

    def driver_call(self, driver: str, operation: str, outcome: str, seconds: float) -> None:
        """A driver call ended: ok, error or timeout."""
        found = self._drivers.get((driver, operation))
        if found is None:
            counters = {o: self.counter("driver_calls_total", driver=driver, operation=operation, outcome=o)
                        for o in ("ok", "error", "timeout")}
            found = self._drivers[driver, operation] = (
                counters, self.histogram("driver_call_duration_seconds", driver=driver, operation=operation))
        found[0][outcome].inc()
        found[1].observe(seconds)

    def stuck(self, driver: str, change: int) -> None:
        """An object's driver call passed its deadline without returning (+1), or returned at last (-1)."""
        self.gauge("driver_objects_stuck", driver=driver).inc(change)

    # -- the collector (collector.CollectorObserver) ----------------------------------------------------------------

    def collected(self, collector: str, *, success: bool, seconds: float, dropped: int) -> None:
        """A pass over a collection ended."""
        for what, value in (("success", success), ("duration_seconds", seconds), ("timestamp_seconds", time.time()),
                            ("dropped_series", dropped)):
            self.gauge(f"collector_{what}", collector=collector).set(value)


_COMPUTED = ("virtbus_rpc_in_flight", "virtbus_rpc_oldest_in_flight_seconds", "virtbus_events_outbox",
             "virtbus_amqp_last_message_timestamp_seconds", "virtbus_events_oldest_unpublished_timestamp_seconds")
_TALLIED = ("virtbus_rpc_requests_total", "virtbus_rpc_duration_seconds", "virtbus_rpc_queue_wait_seconds",
            "virtbus_authz_decisions_total")


class _Computed(Collector):
    """What is cheapest to compute when a scrape asks. Reads copies only: the loop goes on meanwhile."""

    def __init__(self, owner: ServiceMetrics) -> None:
        self._owner = owner

    def collect(self) -> Iterator[Metric]:
        """The tallies, and the gauges, of which the last is absent while every event is confirmed."""
        for tallies in self._owner.tallies.values():
            yield from tallies.collect()
        running, unpublished = list(self._owner.running.values()), self._owner.oldest_unpublished
        oldest = time.monotonic() - min(running) if running else 0.0
        waiting = self._owner.last_event - unpublished[0] + 1 if unpublished else 0  # numbers have no gaps
        values = (len(running), oldest, waiting, self._owner.last_message, unpublished[1] if unpublished else None)
        for name, value in zip(_COMPUTED, values, strict=True):
            if value is not None:
                family = GaugeMetricFamily(name, METRICS[name].help, labels=("service",))
                family.add_metric((self._owner.service,), value)
                yield family
