"""Reads the tables of all metrics, pages of metrics, and what promtool says of them.

``python -m tests.support.metrics`` writes ``docs/metrics.tsv``, the published list, anew.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.support.components import require_program
from virtbus_shared.envelope import EventMessage
from virtbus_shared.service.collection import Collection, freshness_rows
from virtbus_shared.service.collector import Collector
from virtbus_shared.service.http import HttpEndpoint
from virtbus_shared.service.metrics import METRICS
from virtbus_shared.service.runtime import Place, ServiceRuntime
from virtbus_shared.service.snapshot import unit_of

LIST = Path(__file__).parents[2] / "docs" / "metrics.tsv"
_KINDS = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def collections() -> dict[str, type[Collection[Any, Any, Any]]]:
    """Service -> what it declares."""
    return {point.name: point.load().objects for point in sorted(entry_points(group="virtbus.services"))}


def table() -> str:
    """The published list: name, type, unit, labels, services, meaning; tabs between, one metric a line."""
    lines = ["name\ttype\tunit\tlabels\tservices\tmeaning"]
    for m in METRICS.values():
        kind = "info" if m.name.endswith("_info") else _KINDS[m.kind]
        lines.append("\t".join((m.name, kind, unit_of(m.name), ",".join(("service", *m.labels)), "all", m.help)))
    for service, collection in collections().items():
        for row in (*collection.totals, *collection.known, *collection.measured):
            identity = () if row in collection.totals else collection.labels
            labels = ",".join((*identity, *row.labels))
            lines.append("\t".join((row.name, row.kind, unit_of(row.name), labels, service, row.help)))
        for name, kind, text in freshness_rows(collection.freshness) if collection.freshness else ():
            lines.append("\t".join((name, kind, unit_of(name), ",".join(collection.labels), service, text)))
    return "\n".join((lines[0], *sorted(lines[1:]))) + "\n"


def families(page: str) -> list[Metric]:
    """The metrics of a page, in either format."""
    parse = parse_openmetrics if page.endswith("# EOF\n") else parse_text
    return list(parse(page))


def series(page: str) -> Series:
    """Name and labels -> value. AssertionError when a series is there twice."""
    found: Series = {}
    for family in families(page):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, key
            found[key] = float(sample.value)
    return found


def values(page: str, name: str, **labels: str) -> list[float]:
    """The values of a metric's series that have these labels."""
    return [value for (metric, have), value in series(page).items() if metric == name and have >= set(labels.items())]


def names(page: str) -> set[str]:
    """The metrics that a page declares."""
    return set(re.findall(r"^# TYPE (\S+) ", page, re.MULTILINE))


def promtool(page: str) -> str:
    """What `promtool check metrics` has to say; empty when nothing."""
    done = subprocess.run([str(require_program("promtool")), "check", "metrics"], input=page, capture_output=True,
                          text=True, check=False, timeout=60)
    return done.stdout + done.stderr


def lint(families_: Iterable[tuple[str, str, str]]) -> list[str]:
    """Breaches of the naming rules by (name, type, help)."""
    problems, helps = [], set()
    for name, kind, text in families_:
        if not re.fullmatch(r"virtbus(_[a-z0-9]+)+", name):
            problems.append(f"{name}: not virtbus_ and words in lower case")
        if (kind == "counter") != name.endswith("_total"):
            problems.append(f"{name}: a counter, and nothing else, ends in _total")
        if name.endswith(("_count", "_sum", "_bucket", "_created")):
            problems.append(f"{name}: reserved ending")
        if re.search(r"percent|milli|micro|_ms|_kib|_mib|kilobyte|megabyte", name):
            problems.append(f"{name}: not a base unit")
        if (kind == "info") != name.endswith("_info"):
            problems.append(f"{name}: an info metric, and nothing else, ends in _info")
        if not text or text in helps:
            problems.append(f"{name}: without a help text of its own")
        helps.add(text)
    return problems


@asynccontextmanager
async def running(service: str, folder: Path, *connections: tuple[str, str]) -> AsyncIterator[ServiceRuntime]:
    """A service without a broker: all of its connections, or in-process with only those that are named."""
    async def publish(_: EventMessage) -> None:
        """Nobody listens."""

    place = (Place("node", None, folder, "inprocess") if connections else
             Place("node", folder / "state", folder / "run", "amqp"))
    place.run_dir.mkdir(parents=True, exist_ok=True)
    [point] = entry_points(group="virtbus.services", name=service)
    runtime = ServiceRuntime(point.load(), place, publish)
    await runtime.start()
    try:
        for scheme, path in connections:
            await runtime.open(scheme, path)
        yield runtime
    finally:
        await runtime.collector.stop()
        await runtime.stop()


@contextmanager
def served(runtime: ServiceRuntime, collector: Collector[Any, Any, Any] | None = None) -> Iterator[str]:
    """A service's page over HTTP; the URL."""
    registries = [runtime.metrics.registry, REGISTRY]
    endpoint = HttpEndpoint(("127.0.0.1", 0), registries, lambda: None, (collector or runtime.collector).render)
    try:
        yield f"http://127.0.0.1:{endpoint.port}/metrics"
    finally:
        endpoint.close()


def fetch(url: str, **headers: str) -> tuple[str, Mapping[str, str]]:
    """A page and the headers of the answer; header names with _ for -."""
    request = urllib.request.Request(url, headers={name.replace("_", "-"): text for name, text in headers.items()})
    with urllib.request.urlopen(request, timeout=30) as answer:
        body = answer.read()
        if answer.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        return body.decode(), dict(answer.headers)


if __name__ == "__main__":
    LIST.write_text(table())
