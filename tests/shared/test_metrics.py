"""The metrics of the machinery: the table of them is what a service exports, by the rules, in both formats."""

from __future__ import annotations

import asyncio
import http.client
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.support.components import require_program
from tests.support.service import Requests, domain_xml, error_of, running, until
from virtbus_shared import constants as c
from virtbus_shared.api import TABLE, common
from virtbus_shared.api import domain as api
from virtbus_shared.service.http import HttpEndpoint
from virtbus_shared.service.metrics import METRICS, OUTCOMES, PUBLISH_FAILURES, RECONNECTS, ServiceMetrics

MACHINERY = ("build", "service", "client", "rpc", "amqp", "events", "driver", "collector", "authz", "audit", "tls",
             "store", "console")
OBJECTS = ("domain", "domains", "network", "networks", "storage", "node", "nodedev", "nodedevs", "volumes", "pools")
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
UUID = "aaaaaaaa-0000-4000-8000-000000000001"


async def script(node: Requests) -> None:
    """A bit of everything: successes, errors, a refusal, rubbish, a duplicate, a late one, a time-out."""
    await node(api.DEFINE_XML, xml=domain_xml("x", UUID, hang="destroy"), request_id="r")
    await node.error(api.DEFINE_XML, xml=domain_xml("y"), request_id="r")
    body = node.request(api.CREATE, uuid=UUID).encode()
    for _ in range(2):
        await node.take(body, redelivered=True).settled()
    await node.error(api.SUSPEND, uuid=UUID.replace("1", "2"))
    await node.error(api.DESTROY, uuid=UUID, within=0.05)
    await node.error(api.DESTROY, uuid=UUID, within=-1)
    await node.error(api.DESTROY, uuid=UUID, read_only=True)
    await node(common.PING["domain"])
    await node(common.LIST_EVENTS["domain"], sequence=0)
    error_of(await node.take(b"\xc1").settled())
    metrics = node.runtime.metrics
    metrics.connected(True)
    metrics.reconnected("heartbeat")
    metrics.replies_unroutable()
    metrics.publish_failed("nack")
    metrics.confirm_seconds(0.002)
    metrics.message_taken()
    await node.runtime.collector.collect()


@contextmanager
def scenario(folder: Path) -> Iterator[tuple[asyncio.Runner, Requests]]:
    """The domain service after the script, while one event waits for a broker."""
    with asyncio.Runner() as runner:
        hold = asyncio.Event()

        async def publish(event: object) -> None:
            await hold.wait()

        context = running(folder, publish=publish)
        node = runner.run(context.__aenter__())
        runner.run(script(node))
        runner.run(until(lambda: node.runtime.metrics.oldest_unpublished, "the outbox"))
        yield runner, node
        hold.set()
        runner.run(context.__aexit__(None, None, None))


def page(node: Requests, accept: str = "") -> tuple[str, str]:
    """Type and text of /metrics, over HTTP."""
    runtime = node.runtime
    endpoint = HttpEndpoint(("127.0.0.1", 0), [runtime.metrics.registry], lambda: None, runtime.collector.render)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=10)
        connection.request("GET", "/metrics", headers={"Accept": accept} if accept else {})
        response = connection.getresponse()
        assert response.status == 200
        text = response.read().decode()
        connection.close()
        return str(response.headers["Content-Type"]), text
    finally:
        endpoint.close()


KINDS = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}


def test_the_table_is_what_a_service_exports(tmp_path: Path) -> None:
    """Name, type, labels and help of every machinery metric, after a script that touches all: no more, no less."""
    with scenario(tmp_path) as (_, node):
        exported = {}
        for family in node.runtime.metrics.registry.collect():
            name = family.name + "_total" if family.type == "counter" else family.name
            labels = {frozenset(s.labels) - {"le"} for s in family.samples}
            exported[name] = (family.type, labels, family.documentation)
    declared = {m.name: (KINDS[m.kind], {frozenset({"service", *m.labels})}, m.help) for m in METRICS.values()}
    assert exported == declared


def test_names_follow_the_rules(tmp_path: Path) -> None:
    """Prefix and subsystem, unit last, base units, and the endings that belong to one type alone."""
    with scenario(tmp_path) as (_, node):
        families = list(parse_text(page(node)[1]))
    helps = [f.documentation for f in families]
    assert len(helps) == len(set(helps)), "two metrics say the same of themselves"
    for family in families:
        # The text format's parser takes the ending of a counter off.
        name = family.name + "_total" if family.type == "counter" else family.name
        assert re.fullmatch(r"virtbus(_[a-z0-9]+)+", name)
        subsystem = name.split("_")[1]
        assert subsystem in (*MACHINERY, *OBJECTS), name
        assert family.documentation, f"{name} has no help"
        assert family.type in ("counter", "gauge", "histogram"), name
        stem = name.removesuffix("_total")
        for unit in ("milliseconds", "percent", "kib", "kibibytes", "mib", "minutes", "hours", "nanoseconds"):
            assert unit not in stem.split("_"), f"{name} is not in a base unit"
        for unit in ("seconds", "ratio", "celsius"):
            assert unit not in stem.split("_")[:-1], f"the unit is not last in {name}"
        if family.type != "counter":
            assert not name.endswith(("_total", "_count", "_sum", "_bucket", "_created")), name
        if name.endswith("_info"):
            assert {s.value for s in family.samples} <= {1.0}
        if "timestamp" in name:
            assert name.endswith("_timestamp_seconds")
            assert family.type == "gauge"
        for sample in family.samples:
            assert not {"instance", "job", "node", "host", "hostname"} & set(sample.labels), name


def test_promtool_finds_nothing_to_say(tmp_path: Path) -> None:
    """Prometheus' own checker, on the page that Prometheus gets."""
    promtool = require_program("promtool")
    with scenario(tmp_path) as (_, node):
        kind, text = page(node)
    assert kind.startswith("text/plain; version=0.0.4")
    found = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_both_formats_say_the_same(tmp_path: Path) -> None:
    """An independent parser for each finds the same samples with the same values."""
    with scenario(tmp_path) as (_, node):
        _, text = page(node)
        kind, modern = page(node, OPENMETRICS)
    assert kind.startswith("application/openmetrics-text")
    assert modern.endswith("# EOF\n")
    moving = re.compile("oldest_in_flight|store_commit|rpc_result_store")  # change by themselves between two pages

    def samples(families: object) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        return {(s.name, tuple(sorted(s.labels.items()))): s.value
                for family in families for s in family.samples  # type: ignore[attr-defined]
                if not moving.search(s.name)}

    first, second = samples(parse_text(text)), samples(parse_openmetrics(modern))  # type: ignore[no-untyped-call]
    assert first == second
    assert len(first) > 100


def test_the_figures_are_what_happened(tmp_path: Path) -> None:
    """Each step of the script is counted once, under its outcome and its code."""
    with scenario(tmp_path) as (_, node):
        value = node.runtime.metrics.registry.get_sample_value

        def of(name: str, **labels: str) -> float | None:
            return value(f"virtbus_{name}", {"service": "domain", **labels})

        outcomes = {(method, outcome): of("rpc_requests_total", method=f"domain.{method}", outcome=outcome)
                    for method in ("define_xml", "create", "suspend", "destroy", "ping") for outcome in OUTCOMES}
        assert {key: n for key, n in outcomes.items() if n} == {
            ("define_xml", "ok"): 1, ("define_xml", "error"): 1, ("create", "ok"): 1, ("create", "duplicate"): 1,
            ("suspend", "error"): 1, ("destroy", "error"): 1, ("destroy", "expired"): 1, ("destroy", "denied"): 1,
            ("ping", "ok"): 1}
        assert 0.0 in outcomes.values(), "outcomes that have not happened are there at 0"
        assert of("rpc_requests_total", method="_unknown", outcome="malformed") == 1
        assert of("rpc_errors_total", method="domain.suspend", code="VIR_ERR_NO_DOMAIN") == 1
        assert of("rpc_errors_total", method="domain.destroy", code="VIR_ERR_OPERATION_TIMEOUT") == 1
        assert of("rpc_redeliveries_total") == 2
        assert of("driver_calls_total", driver="test", operation="domain_create", outcome="ok") == 1
        assert of("driver_calls_total", driver="test", operation="domain_destroy", outcome="timeout") == 1
        assert of("driver_objects_stuck", driver="test") == 0
        assert of("authz_decisions_total", object_type="domain", permission="stop", decision="deny") == 1
        assert of("events_sequence") == of("events_outbox") == 2
        assert of("events_published_total", type="domain.lifecycle") == 0
        assert of("rpc_duration_seconds_count", method="domain.create") == 1


def test_closed_lists_are_there_before_anything_happens() -> None:
    """`rate()` misses the first of a series that appears with it: reasons, types and decisions are there at 0."""
    metrics = ServiceMetrics("storage")

    def of(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"virtbus_{name}", {"service": "storage", **labels})

    assert [of("amqp_reconnects_total", reason=r) for r in RECONNECTS] == [0.0] * len(RECONNECTS)
    assert [of("amqp_publish_failures_total", reason=r) for r in PUBLISH_FAILURES] == [0.0] * len(PUBLISH_FAILURES)
    for event in TABLE.events.values():
        assert of("events_published_total", type=event.name) == (0.0 if event.service == "storage" else None)
    for row in TABLE.procedures.values():
        object_type, _, permission = row.acl.partition(":")
        if row.service == "storage":
            assert [of("authz_decisions_total", object_type=object_type, permission=permission, decision=d)
                    for d in ("allow", "deny")] == [0.0, 0.0]
    assert of("events_oldest_unpublished_timestamp_seconds") is None
    assert of("rpc_in_flight") == of("rpc_oldest_in_flight_seconds") == of("events_outbox") == 0.0


@pytest.mark.parametrize("unknown", ["power cut", "", "heartbeat2"])
def test_no_label_comes_from_a_message(unknown: str) -> None:
    """A reason or a code that nobody declared falls under one that is."""
    metrics = ServiceMetrics("domain")
    metrics.reconnected(unknown)
    metrics.publish_failed(unknown)
    metrics.route("domain.create").ended("error", 987654)
    values = {value for family in metrics.registry.collect() for s in family.samples for value in s.labels.values()}
    assert unknown not in values - {""}
    assert "_other" in values
    assert str(c.VIR_ERR_NO_DOMAIN) not in values
