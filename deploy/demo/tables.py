"""The two tables of the demo: what is on the node, as its API tells it, and how it works, as its metrics tell it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

import virtbus as libvirt
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from rich import box
from rich.table import Table

STATES = ("no state", "running", "blocked", "paused", "shutting down", "shut off", "crashed", "suspended by itself")


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
                      f"{size(memory * 1024)} memory, {cpu_time / 1e9:.1f} s of CPU time, {domain.UUIDString()}")
    for network in conn.listAllNetworks():
        table.add_row("network", network.name(), _active(network.isActive()), f"bridge {network.bridgeName()}")
    for pool in conn.listAllStoragePools():
        _, capacity, _, available = pool.info()
        table.add_row("pool", pool.name(), _active(pool.isActive()), f"{size(available)} of {size(capacity)} free")
        for volume in pool.listAllVolumes():
            _, capacity, allocation = volume.info()
            table.add_row("volume", volume.name(), "", f"{size(capacity)}, {size(allocation)} allocated")
    kinds = Counter(cap for device in conn.listAllDevices() for cap in device.listCaps())
    table.add_row("devices", f"{sum(kinds.values())} found", "",
                  ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(6)))
    return table


def _active(active: int) -> str:
    return "active" if active else "inactive"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, style="dim" if number == 0 else None, overflow="fold")
    return table


class Metrics:
    """One service's /metrics, read."""

    def __init__(self, text: str) -> None:
        self._families: dict[str, Metric] = {family.name: family for family in text_string_to_metric_families(text)}

    def samples(self, name: str) -> list[Sample]:
        """All series of a metric, named as it is exported; none when it is not."""
        family = self._families.get(name.removesuffix("_total"))
        return family.samples if family else []

    def total(self, name: str, **labels: str) -> float:
        """Sum of a counter or gauge over the series that have these labels."""
        return sum(sample.value for sample in self.samples(name)
                   if sample.name == name and labels.items() <= sample.labels.items())

    def median(self, name: str) -> str:
        """Half of a histogram's observations were no longer than this, as its buckets tell."""
        buckets: Counter[float] = Counter()
        for sample in self.samples(name):
            if sample.name == f"{name}_bucket":
                buckets[float(sample.labels["le"])] += int(sample.value)
        count = buckets.get(math.inf, 0)
        bound = min((le for le, within in buckets.items() if within * 2 >= count), default=0) if count else None
        return "-" if bound is None else f"<= {bound * 1000:g} ms"


def machinery(services: Mapping[str, str]) -> Table:
    """How the services work: /metrics text by service."""
    table = _table("service", "requests", "errors", "half within", "events", "driver calls", "half within", "sync")
    for name in ("requests", "errors", "events", "driver calls"):
        next(column for column in table.columns if column.header == name).justify = "right"
    for service, text in services.items():
        metrics = Metrics(text)
        table.add_row(
            service,
            f"{metrics.total('virtbus_rpc_requests_total'):.0f}", f"{metrics.total('virtbus_rpc_errors_total'):.0f}",
            metrics.median("virtbus_rpc_duration_seconds"), f"{metrics.total('virtbus_events_published_total'):.0f}",
            f"{metrics.total('virtbus_driver_calls_total'):.0f}", metrics.median("virtbus_driver_call_duration_seconds"),
            metrics.median("virtbus_store_commit_seconds"))
    return table


def domain_series(text: str, limit: int = 8) -> Iterable[str]:
    """Series of /metrics about the guests, as they are scraped; empty where the service exports none."""
    lines = [line for line in text.splitlines() if line.startswith("virtbus_domain")]
    chosen = [line for line in lines if "_created" not in line and "_bucket" not in line and not line.endswith(" 0.0")]
    return chosen[:limit]
