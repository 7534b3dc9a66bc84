"""Figures of a real guest: they say what it has done, and a stopped QEMU is missed by nobody but itself."""

from __future__ import annotations

import asyncio
import math
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support import metrics
from tests.support.components import require_program
from tests.support.guest import GuestImage
from virtbus_domain.drivers.qemu.driver import QemuDriver
from virtbus_domain.metrics import Domains
from virtbus_domain.object import DomainObject, identity
from virtbus_shared.service.collector import Collector

XML = """
<domain type='qemu'><name>{name}</name><memory unit='MiB'>{image.memory_mib}</memory><vcpu>2</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{image.kernel}</kernel><initrd>{image.initrd}</initrd><cmdline>{image.cmdline}</cmdline></os>
  <features><acpi/></features>
  <devices>
    <disk type='file'><driver name='qemu' type='qcow2'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
    <serial type='file'><source path='{log}'/><target port='0'/></serial>
    <memballoon model='virtio'/>
  </devices>
</domain>"""
PATTERN = 64 * 1024  # bytes that the guest writes to its disk, syncs, and reads back
SIZE = 8 * 1024 * 1024


async def start(driver: QemuDriver, image: GuestImage, folder: Path, name: str) -> tuple[DomainObject, Path]:
    """A guest that boots, and the file that it logs to."""
    disk, log = folder / f"{name}.qcow2", folder / f"{name}.log"
    await asyncio.to_thread(subprocess.run, [str(require_program("qemu-img")), "create", "-q", "-f", "qcow2",
                                             str(disk), str(SIZE)], check=True)
    model = await driver.read(XML.format(name=name, image=image, disk=disk, log=log))
    domain = DomainObject(*identity(model), driver.facts(model))
    domain.id = model.id = driver.next_id()
    driver.domains.add(domain)
    domain.state = (await driver.domain_create(domain, model, 0)).state
    return domain, log


async def said(log: Path, words: str) -> None:
    """Wait until the guest has said this on its console, which is a file: its growth is no event for us."""
    while words not in await asyncio.to_thread(log.read_text, errors="replace"):  # noqa: ASYNC110
        await asyncio.sleep(0.1)


@pytest.mark.slow
def test_truth(guest_image: GuestImage, tmp_path: Path) -> None:
    """A guest's counters move by what it has done; stopped, it loses its figures, another guest keeps its own."""
    async def scenario() -> None:
        async with metrics.running("domain", tmp_path) as runtime:
            driver = runtime.connections["qemu", "/system"]
            assert isinstance(driver, QemuDriver)
            now = [0.0]
            collector = Collector(Domains(runtime.connections), runtime.metrics, deadline=0.5, clock=lambda: now[0])

            async def page() -> str:
                now[0] += 10
                await collector.collect()
                return collector.render(openmetrics=False)

            one, log = await start(driver, guest_image, tmp_path, "one")
            try:
                first = await page()
                await asyncio.wait_for(said(log, "virtbus-guest: disk ok"), 90)
                await asyncio.wait_for(said(log, "virtbus-guest: ready"), 90)
                second = await page()
                _check(first, second)
                await start(driver, guest_image, tmp_path, "two")
                driver._guests[one.uuid].process.send_signal(signal.SIGSTOP)
                for _ in range(4):
                    third = await page()
                assert metrics.values(third, "virtbus_domain_stats_up", domain="one") == [0]
                assert metrics.values(third, "virtbus_domain_cpu_seconds_total", domain="one") == []
                assert metrics.values(third, "virtbus_domain_block_info", domain="one") == [1]
                assert metrics.values(third, "virtbus_domain_stats_timestamp_seconds", domain="two") == [now[0]]
                assert metrics.values(third, "virtbus_domain_stats_up", domain="two") == [1]
            finally:
                await collector.stop()
                for domain in [d for d in driver.domains if d.uuid in driver._guests]:
                    driver._guests[domain.uuid].process.send_signal(signal.SIGCONT)
                    async with domain.turns.turn("the end", math.inf, driver.error_domain):
                        await driver.domain_destroy(domain, 0)
                await asyncio.gather(*driver._tasks, return_exceptions=True)
    asyncio.run(scenario())


def _check(first: str, second: str) -> None:
    def value(name: str, page: str = second, **labels: str) -> float:
        [found] = metrics.values(page, f"virtbus_domain_{name}", domain="one", **labels)
        return found

    assert value("stats_up") == 1
    assert value("cpu_seconds_total", first) < value("cpu_seconds_total")
    parts = value("cpu_mode_seconds_total", mode="user") + value("cpu_mode_seconds_total", mode="system")
    assert parts == pytest.approx(value("cpu_seconds_total"))
    # Emulation runs each virtual CPU in a thread of its own, and little else runs beside them.
    vcpus = [value("vcpu_seconds_total", vcpu=n) for n in "01"]
    assert 0 < sum(vcpus) <= value("cpu_seconds_total") + 1
    assert value("vcpu_delay_seconds_total", vcpu="0") > 0
    assert value("memory_balloon_bytes") == value("memory_maximum_bytes") == 96 * 1024 * 1024
    assert 20e6 < value("memory_resident_bytes") < 1e9
    assert PATTERN <= value("block_written_bytes_total", device="vda") <= PATTERN * 1.1
    assert value("block_read_bytes_total", device="vda") >= PATTERN
    assert value("block_writes_total") > 0
    assert value("block_flushes_total") > 0
    assert 0 < value("block_write_seconds_total") < 60
    assert value("block_capacity_bytes") == SIZE
    assert PATTERN < value("block_allocated_bytes") <= value("block_physical_bytes") < SIZE
