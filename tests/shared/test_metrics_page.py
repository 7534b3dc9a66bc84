"""The pages of the four services: the published list, the naming rules, and the formats."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support import metrics
from virtbus_shared.service.settings import load

SERVICES = ("domain", "network", "nodedev", "storage")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def pages(service: str, folder: Path) -> tuple[str, str]:
    """The page of a service with its real and its test connections after a pass, in both formats.

    The service goes on meanwhile (its store commits, for one), so the pair is taken anew until nothing came between.
    """
    def ours(page: str) -> list[str]:
        return [line for line in page.splitlines() if line.startswith("virtbus_")]

    async def scenario() -> tuple[str, str]:
        async with metrics.running(service, folder) as runtime:
            await runtime.collector.collect()
            with metrics.served(runtime) as url:
                while True:
                    text, headers = await asyncio.to_thread(metrics.fetch, url)
                    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
                    openmetrics, headers = await asyncio.to_thread(metrics.fetch, url, Accept=OPENMETRICS,
                                                                   Accept_Encoding="gzip")
                    assert headers["Content-Type"].startswith(
                        "application/openmetrics-text; version=1.0.0; charset=utf-8")
                    assert headers["Content-Encoding"] == "gzip"
                    after, _ = await asyncio.to_thread(metrics.fetch, url)
                    if ours(text) == ours(after):
                        return text, openmetrics
    return asyncio.run(scenario())


def test_published_list() -> None:
    """docs/metrics.tsv is what the tables in the code say; `python -m tests.support.metrics` writes it anew."""
    assert metrics.LIST.read_text() == metrics.table()


def test_naming_rules() -> None:
    """Every metric keeps the naming rules, and none is declared twice."""
    rows = [line.split("\t") for line in metrics.table().splitlines()[1:]]
    assert metrics.lint((name, kind, text) for name, kind, _, _, _, text in rows) == []
    assert len({row[0] for row in rows}) == len(rows)


@pytest.mark.parametrize("service", SERVICES)
def test_page(service: str, tmp_path: Path) -> None:
    """A page shows exactly the listed metrics with their labels, promtool likes it, and both formats say the same."""
    text, openmetrics = pages(service, tmp_path)
    rows = [line.split("\t") for line in metrics.table().splitlines()[1:]]
    listed = {row[0]: row for row in rows if row[4] in ("all", service)}
    shown = {name for name in metrics.names(text) if name.startswith("virtbus_")}
    # It is there only while an event waits.
    assert set(listed) - shown <= {"virtbus_events_oldest_unpublished_timestamp_seconds"}
    assert shown <= set(listed)
    for family in metrics.families(openmetrics):
        name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        if name in listed:
            assert family.type in (listed[name][1], "gauge")
            for sample in family.samples:
                assert set(sample.labels) - {"le"} == set(filter(None, listed[name][3].split(","))), sample
    assert metrics.promtool(text) == ""
    plain, open_ = (
        {key: value for key, value in metrics.series(page).items() if key[0].startswith("virtbus_")}
        for page in (text, openmetrics))
    assert plain == open_


def test_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Groups can be switched off by name, and a name that is none is refused with the names that there are."""
    file = tmp_path / "virtbus.toml"
    file.write_text("")
    arguments = ["--config", str(file), "--metrics-disable"]
    assert load("domain", [*arguments, "vcpu, block"]).metrics_disabled == {"vcpu", "block"}
    with pytest.raises(SystemExit):
        load("domain", [*arguments, "vcpus"])
    assert "no such group: vcpus; there are block, interface, numa, traffic, vcpu" in capsys.readouterr().err
