"""Figures of the host, from prepared files whose contents are known, and from this machine."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.support import metrics
from virtbus_nodedev.drivers.udev import UdevDriver
from virtbus_nodedev.host import Host
from virtbus_nodedev.statistics import CellStatistics, host_statistics


def test_prepared_host(tmp_path: Path) -> None:
    """Clock ticks become seconds, KiB become bytes, both halves of an interrupt are one, what is missing stays out."""
    proc, node = tmp_path / "proc", tmp_path / "sys/devices/system/node/node1"
    proc.mkdir()
    node.mkdir(parents=True)
    tick = os.sysconf("SC_CLK_TCK")
    ticks = [number * tick for number in (10, 20, 30, 40, 50, 60, 70, 80, 90, 95)]
    (proc / "stat").write_text(f"cpu  {' '.join(map(str, ticks))}\ncpu0 1 2 3\nbtime 1234567\n")
    (proc / "meminfo").write_text("MemTotal:  1000 kB\nMemFree:   400 kB\nCached:  50 kB\nSwapCached:  7 kB\n")
    (node / "meminfo").write_text("Node 1 MemTotal:  1000 kB\nNode 1 MemFree:   400 kB\n")
    (node / "cpulist").write_text("0-3,8\n")
    found = host_statistics(Host(tmp_path / "sys", proc, tmp_path), proc, tmp_path / "sys")
    assert found.cpu_seconds == {"user": 10, "nice": 20, "system": 30, "idle": 40, "iowait": 50, "irq": 130,
                                 "steal": 80}
    assert found.memory == {"total": 1024000, "free": 409600, "cached": 51200}
    assert found.boot_time == 1234567
    assert found.cells == {1: CellStatistics(5, 1024000, 409600)}
    assert found.host_uuid == found.cpu_model == ""


def test_this_host(tmp_path: Path) -> None:
    """This machine is described once, though the test driver's machine is open too; changes of devices are counted."""
    async def scenario() -> None:
        async with metrics.running("nodedev", tmp_path) as runtime:
            driver = runtime.connections["qemu", "/system"]
            assert isinstance(driver, UdevDriver)
            driver._changed("change", next(iter(driver.devices())))
            await runtime.collector.collect()
            page = runtime.collector.render(openmetrics=False)
            assert metrics.values(page, "virtbus_node_info", arch=os.uname().machine, kernel=os.uname().release) == [1]
            assert sum(metrics.values(page, "virtbus_node_cpus")) == len(Host().cpus())
            assert len(metrics.values(page, "virtbus_node_cpu_seconds_total")) == 7
            assert metrics.values(page, "virtbus_nodedev_events_total", event="changed") == [1]
            assert metrics.values(page, "virtbus_nodedevs", capability="system") == [1]
    asyncio.run(scenario())
