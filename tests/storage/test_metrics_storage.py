"""Figures of storage pools: those of a real directory, and a pool whose file system does not answer."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

from tests.support import metrics
from virtbus_shared import constants as c
from virtbus_shared.service.collector import Collector
from virtbus_storage.driver import StorageDriver
from virtbus_storage.metrics import Pools
from virtbus_storage.object import PoolObject
from virtbus_storage.xml import format_pool

XML = "<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>"


async def start(driver: StorageDriver, path: Path) -> PoolObject:
    """A running pool on a directory."""
    path.mkdir()  # noqa: ASYNC240
    model = driver.read(XML.format(name=path.name, path=path))
    pool = PoolObject(str(model.name), str(model.uuid), str(model.type))
    driver.pools.add(pool)
    driver.adopt(pool, model)
    await driver.pool_create(pool)
    pool.inactive = pool.live = format_pool(model)
    pool.state = c.VIR_STORAGE_POOL_RUNNING
    return pool


def test_directory(tmp_path: Path) -> None:
    """Sizes are the file system's, volumes those of the last full refresh, and both kinds of refresh are counted."""
    async def scenario() -> None:
        async with metrics.running("storage", tmp_path / "service") as runtime:
            driver = runtime.connections["qemu", "/system"]
            assert isinstance(driver, StorageDriver)
            pool = await start(driver, tmp_path / "images")
            (tmp_path / "images" / "a.raw").write_bytes(bytes(4096))
            os.truncate(tmp_path / "images" / "a.raw", 1 << 20)
            await driver.pool_refresh(pool)
            for _ in range(2):  # what is known is read before it is measured: the counts are those of the first pass
                await runtime.collector.collect()
            page = runtime.collector.render(openmetrics=False)

            def value(name: str, **labels: str) -> float:
                [found] = metrics.values(page, f"virtbus_storage_pool_{name}", pool="images", **labels)
                return found

            facts = os.statvfs(tmp_path)
            assert value("capacity_bytes") == facts.f_blocks * facts.f_frsize
            assert value("allocated_bytes") + value("available_bytes") == value("capacity_bytes")
            assert (value("volumes"), value("committed_bytes")) == (1, 1 << 20)
            assert value("refreshes_total", outcome="ok") == 3  # the start, the full one, and the collector's
            assert value("refreshes_total", outcome="failed") == value("refreshes_total", outcome="timeout") == 0
            assert value("refresh_timestamp_seconds") == pool.refreshed <= value("stats_timestamp_seconds")
            assert value("info", type="dir", target=str(tmp_path / "images")) == value("stats_up") == 1
            assert value("state", state="running") == 1
            assert metrics.values(page, "virtbus_storage_pool_refresh_seconds_count", type="dir") == [6]
            assert metrics.values(page, "virtbus_storage_pools", type="dir", state="running") == [2]
    asyncio.run(scenario())


def test_hung_directory(tmp_path: Path) -> None:
    """A pool whose thread is held, as by a dead server, counts a timeout at each pass and holds up no other pool."""
    async def scenario() -> None:
        async with metrics.running("storage", tmp_path / "service") as runtime:
            driver = runtime.connections["qemu", "/system"]
            assert isinstance(driver, StorageDriver)
            hung = await start(driver, tmp_path / "hung")
            await start(driver, tmp_path / "well")
            answers = threading.Event()
            folder = driver._directory(hung)  # type: ignore[attr-defined]  # its thread is what is to be held
            held = asyncio.ensure_future(folder._run(answers.wait))
            now = [0.0]
            collector = Collector(Pools(runtime.connections), runtime.metrics, deadline=0.2, clock=lambda: now[0])
            try:
                for _ in range(4):
                    now[0] += 60
                    await collector.collect()
                page = collector.render(openmetrics=False)
                assert metrics.values(page, "virtbus_storage_pool_stats_up", pool="hung") == [0]
                assert metrics.values(page, "virtbus_storage_pool_stats_up", pool="well") == [1]
                assert metrics.values(page, "virtbus_storage_pool_capacity_bytes", pool="hung") == []
                assert hung.refreshes["timeout"] == 4
            finally:
                answers.set()
                await held
                await collector.stop()
    asyncio.run(scenario())
