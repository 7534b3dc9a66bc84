"""The two tables of the demo: what is on the node, as its API tells it, and how it works, as its metrics tell it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from rich import box
from rich.table import Table

import virtbus as libvirt

STATES = ("no state", "running", "blocked", "paused", "shutting down", "shut off", "crashed", "suspended by itself")

GUEST_SERIES = tuple(f"virtbus_{name}{{" for name in (
    "domain_state", "domain_cpu_seconds_total", "domain_memory_resident_bytes", "domain_block_written_bytes_total",
    "domain_interface_receive_bytes_total"))


def state_text(domain: libvirt.virDomain) -> str:
    """A domain's state as a word."""
    return STATES[domain.state()[0]]


def size(count: float) -> str:
    """Bytes for people: 64.0 MiB."""
    power = min(int(math.log(count, 1024)), 4) if count >= 1 else 0
    return f"{count / 1024 ** power:.{1 if power else 0}f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def overview(conn: libvirt.virConnect) -> Table:
    """Everything on the node."""
    table = _table("what", "name", "state", "")
    for domain in conn.listAllDomains():
        state, _, memory, vcpus, cpu_time = domain.info()
        table.add_row("domain", domain.name(), STATES[state], f"id {domain.ID()}, {vcpus} vCPU, "
                      f"{size(memory * 1024)} memory, {cpu_time / 1e9:.1f} s of CPU time")
    for network in conn.listAllNetworks():
        table.add_row("network", network.name(), _active(network.isActive()), f"bridge {network.bridgeName()}")
    for pool in conn.listAllStoragePools():
        _, capacity, _, available = pool.info()
        table.add_row("pool", pool.name(), _active(pool.isActive()), f"{size(available)} of {size(capacity)} free")
        for volume in pool.listAllVolumes():
            _, capacity, allocation = volume.info()
            table.add_row("volume", volume.name(), "", f"{size(capacity)}, {size(allocation)} allocated")
    kinds = Counter(device.listCaps()[0] for device in conn.listAllDevices())
    table.add_row("devices", f"{sum(kinds.values())} found", "",
                  ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
    return table


def _active(active: int) -> str:
    return "active" if active else "inactive"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, style="dim" if number == 0 else None, overflow="fold")
    return table


class Metrics:
    """One service's /metrics, read."""

    def __init__(self, text: str) -> None:
        self._samples: dict[str, list[Sample]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._samples.setdefault(sample.name, []).append(sample)

    def total(self, name: str) -> str:
        """Sum of all series of a name, as a whole number."""
        return f"{sum(sample.value for sample in self._samples.get(name, ())):.0f}"

    def median(self, name: str) -> str:
        """Half of a histogram's observations were no longer than this, as its buckets tell."""
        buckets: Counter[float] = Counter()
        for sample in self._samples.get(f"{name}_bucket", ()):
            buckets[float(sample.labels["le"])] += int(sample.value)
        count = buckets[math.inf]
        if count == 0:
            return "-"
        bound = min(le for le, within in buckets.items() if within * 2 >= count)
        return f"<= {bound * 1000:g} ms"


def machinery(services: Mapping[str, str]) -> Table:
    """How the services work: /metrics text by service."""
    table = _table("service", "requests", "errors", "p50", "events", "driver calls", "p50", "store writes", "p50")
    for column in table.columns[1:]:
        column.justify = "right"
    for service, text in services.items():
        metrics = Metrics(text)
        table.add_row(
            service,
            metrics.total("virtbus_rpc_requests_total"), metrics.total("virtbus_rpc_errors_total"),
            metrics.median("virtbus_rpc_duration_seconds"), metrics.total("virtbus_events_published_total"),
            metrics.total("virtbus_driver_calls_total"), metrics.median("virtbus_driver_call_duration_seconds"),
            metrics.total("virtbus_store_commit_seconds_count"), metrics.median("virtbus_store_commit_seconds"))
    return table


def guest_series(text: str, guest: str) -> list[str]:
    """A few of the series about a guest in a /metrics text, as they are scraped; those that are 0 are left out."""
    return [line for line in text.splitlines()
            if line.startswith(GUEST_SERIES) and f'domain="{guest}"' in line and not line.endswith((" 0", " 0.0"))]
