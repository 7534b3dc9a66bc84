"""The collector: one hung object costs nobody else anything, nothing old is shown as new, and a scrape asks nobody.

With domains of the test driver, whose figures are a function of time, and a clock that the test moves.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import metrics
from virtbus_domain.drivers.test import TestDriver
from virtbus_domain.metrics import Domains
from virtbus_domain.moves import Move, apply
from virtbus_domain.object import DomainObject, identity
from virtbus_domain.xml import format_domain
from virtbus_shared import constants as c
from virtbus_shared.service.collector import Collector
from virtbus_shared.service.runtime import ServiceRuntime

HANGS = ("<metadata><f:faults xmlns:f='urn:virtbus:test'><f:fault operation='statistics' kind='hang'/></f:faults>"
         "</metadata>")
FAILS = HANGS.replace("hang", "fail")
REFERENCE = """
<domain type='test'><name>{name}</name><uuid>{uuid}</uuid>{more}
  <memory>1048576</memory><vcpu>4</vcpu><os><type>hvm</type></os>
  <devices>
    <disk type='file'><source file='/a'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file'><source file='/b'/><target dev='vdb' bus='virtio'/></disk>
    <interface type='network'><source network='default'/></interface>
    <interface type='network'><source network='default'/></interface>
  </devices>
</domain>"""


@dataclass
class Node:
    """The domain service with a collector whose clock the test moves, and whose passes the test makes."""

    runtime: ServiceRuntime
    driver: TestDriver
    collector: Collector[Any, Any, Any]
    now: float = 1_000_000.0

    async def add(self, name: str, more: str = "") -> DomainObject:
        """A running domain of the reference shape."""
        own = uuid.uuid5(uuid.NAMESPACE_OID, name)
        model = await self.driver.read(REFERENCE.format(name=name, uuid=own, more=more))
        domain = DomainObject(*identity(model), self.driver.facts(model))
        domain.id = model.id = self.driver.next_id()
        domain.inactive = format_domain(model, live=False, secure=True)
        domain.live = format_domain(model, live=True, secure=True)
        domain.state, domain.started = c.VIR_DOMAIN_RUNNING, self.now
        self.driver.domains.add(domain)
        return domain

    async def page(self, seconds: float = 0) -> str:
        """The page after a pass some time later."""
        self.now += seconds
        await self.collector.collect()
        return self.collector.render(openmetrics=False)

    def machinery(self, name: str, **labels: str) -> float:
        """A value of the service's own metrics."""
        return self.runtime.metrics.registry.get_sample_value(f"virtbus_{name}", {"service": "domain", **labels}) or 0.0


@asynccontextmanager
async def node(folder: Path, *, cap: int = 200_000, disabled: frozenset[str] = frozenset()) -> AsyncIterator[Node]:
    """The service on test:///default; a domain has 50 ms to answer."""
    async with metrics.running("domain", folder, ("test", "/default")) as runtime:
        driver = runtime.connections["test", "/default"]
        assert isinstance(driver, TestDriver)
        made: list[Node] = []
        collector = Collector(Domains(runtime.connections), runtime.metrics, deadline=0.05, cap=cap, disabled=disabled,
                              clock=lambda: made[0].now)
        runtime.store.on_events = collector.happened
        made.append(Node(runtime, driver, collector))
        try:
            yield made[0]
        finally:
            await collector.stop()


def up(page: str) -> dict[str, float]:
    """Domain -> stats_up."""
    return {dict(labels)["domain"]: value for (name, labels), value in metrics.series(page).items()
            if name == "virtbus_domain_stats_up"}


def measured(page: str) -> dict[str, int]:
    """Domain -> how many measured series it has."""
    known = {row.name for row in Domains.known} | {"virtbus_domain_stats_up", "virtbus_domain_stats_timestamp_seconds"}
    counts: dict[str, int] = {}
    for name, labels in metrics.series(page):
        if name not in known and "domain" in dict(labels):
            counts[dict(labels)["domain"]] = counts.get(dict(labels)["domain"], 0) + 1
    return counts


def test_hung_domain(tmp_path: Path) -> None:
    """One of fifty hangs: the others are fresh; it keeps what is known of it, and is asked once only."""
    async def scenario() -> None:
        async with node(tmp_path) as n:
            for number in range(49):
                await n.add(f"d{number}")
            await n.add("hung", HANGS)
            for _ in range(3):
                page = await n.page(10)
            assert {name for name, value in up(page).items() if not value} == {"hung"}
            assert len(up(page)) == 51
            assert set(measured(page)) == set(up(page)) - {"hung"}
            assert metrics.values(page, "virtbus_domain_info", domain="hung") == [1]
            assert metrics.values(page, "virtbus_domain_state", domain="hung", state="running") == [1]
            assert metrics.values(page, "virtbus_domain_stats_timestamp_seconds", domain="hung") == []
            assert set(metrics.values(page, "virtbus_domain_stats_timestamp_seconds")) == {n.now}
            calls = {"driver": "test", "operation": "statistics"}
            assert n.machinery("driver_calls_total", **calls, outcome="timeout") == 1
            assert n.machinery("driver_calls_total", **calls, outcome="ok") == 3 * 50
            assert n.machinery("driver_objects_stuck", driver="test") == 1
            assert n.machinery("collector_success", collector="domains") == 1
            n.driver.domains.remove(n.driver.domains.by_name("hung") or await n.add("none"))
            await n.page(10)
            await asyncio.sleep(0)  # the cancelled task has its last step
            assert n.machinery("driver_objects_stuck", driver="test") == 0
    asyncio.run(scenario())


def test_figures_grow_old(tmp_path: Path) -> None:
    """Figures of a domain that hangs later are shown until they are stale, never repeated as new, then left out."""
    async def scenario() -> None:
        async with node(tmp_path) as n:
            domain = await n.add("later")
            page = await n.page(10)
            before = measured(page)["later"]
            stamp = n.now
            assert domain.live is not None
            domain.live = domain.live.replace("<memory", HANGS + "<memory", 1)
            page = await n.page(30)
            assert up(page)["later"] == 1
            assert measured(page)["later"] == before
            assert metrics.values(page, "virtbus_domain_stats_timestamp_seconds", domain="later") == [stamp]
            page = await n.page(1)
            assert up(page) == {"later": 0, "test": 1}
            assert "later" not in measured(page)
            n.now += 31  # the collector itself stands still
            assert measured(n.collector.render(openmetrics=False)) == {}
    asyncio.run(scenario())


def test_failing_domain(tmp_path: Path) -> None:
    """A driver's error is counted, lowers nobody else, and the domain is asked less and less often."""
    async def scenario() -> None:
        async with node(tmp_path) as n:
            await n.add("fails", FAILS)
            for _ in range(8):
                page = await n.page(10)
            assert up(page) == {"test": 1, "fails": 0}
            assert n.machinery("driver_calls_total", driver="test", operation="statistics", outcome="error") == 3
    asyncio.run(scenario())


def test_end_and_restart(tmp_path: Path) -> None:
    """A domain that ends loses its measured series at once and keeps its known ones; its crash is counted."""
    async def scenario() -> None:
        async with node(tmp_path) as n:
            domain = await n.add("d")
            assert "d" in measured(await n.page(10))
            change = n.driver.host.change()
            apply(change, n.driver.domains, domain, Move(c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_CRASHED, (
                (c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_CRASHED),)))
            await n.driver.host.commit(change)
            page = await n.page(1)
            assert "d" not in measured(page)
            assert metrics.values(page, "virtbus_domain_stats_up", domain="d") == [0]
            assert metrics.values(page, "virtbus_domain_state", domain="d", state="shutoff") == [1]
            assert metrics.values(page, "virtbus_domain_start_time_seconds", domain="d") == []
            assert metrics.values(page, "virtbus_domain_crashes_total", domain="d") == [1]
            assert metrics.values(page, "virtbus_domain_lifecycle_events_total", event="stopped") == [1]
            assert metrics.values(page, "virtbus_domains", driver="test", state="shutoff") == [1]
            assert metrics.values(page, "virtbus_domains_vcpus") == [2, 4]
            n.driver.domains.remove(domain)
            assert set(up(await n.page(1))) == {"test"}
    asyncio.run(scenario())


def test_budget(tmp_path: Path) -> None:
    """A domain with four virtual CPUs, two disks and two network cards has at most a hundred series."""
    async def scenario() -> None:
        async with node(tmp_path) as n:
            domain = await n.add("d")
            page = await n.page(10)
            assert 70 < sum(dict(labels).get("uuid") == domain.uuid for _, labels in metrics.series(page)) <= 100
    asyncio.run(scenario())


def test_cap_and_groups(tmp_path: Path) -> None:
    """Beyond the cap whole domains are left out, and counted; a group that is switched off is not there at all."""
    async def scenario() -> None:
        async with node(tmp_path, cap=80, disabled=frozenset({"block"})) as n:
            await n.add("d")
            page = await n.page(10)
            assert set(up(page)) == {"test"}
            assert n.machinery("collector_dropped_series", collector="domains") > 30
            assert not [name for name in metrics.names(page) if "_block_" in name]
    asyncio.run(scenario())


def test_scrapes_are_free(tmp_path: Path) -> None:
    """Ten scrapers at once get the same page as one, and cause no driver call."""
    async def scenario() -> None:
        async with node(tmp_path) as n:
            await n.page(10)
            with metrics.served(n.runtime, n.collector) as url, ThreadPoolExecutor(10) as pool:
                loop = asyncio.get_running_loop()
                texts = await asyncio.gather(*(loop.run_in_executor(pool, metrics.fetch, url) for _ in range(10)))
            assert len({text.partition("# HELP virtbus_domains ")[2] for text, _ in texts}) == 1
            [calls] = metrics.values(texts[0][0], "virtbus_driver_calls_total", operation="statistics", outcome="ok")
            assert calls == n.machinery("driver_calls_total", driver="test", operation="statistics", outcome="ok") == 1
    asyncio.run(scenario())
