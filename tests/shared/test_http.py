"""What a supervisor and Prometheus ask for: three paths, an honest status, on IPv4 and IPv6."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Gauge

from virtbus_shared.service.http import HttpEndpoint


class Readiness:
    """A service that is ready, or says why not."""

    reason: str | None = None


@pytest.fixture(params=["127.0.0.1", "::1"])
def endpoint(request: pytest.FixtureRequest) -> Iterator[tuple[str, HttpEndpoint, Readiness]]:
    """A running endpoint on a port of the system's choice."""
    readiness = Readiness()
    one, two = CollectorRegistry(), CollectorRegistry()
    Gauge("one", "The first.", registry=one).set(1)
    Gauge("two", "The second.", registry=two).set(2)
    server = HttpEndpoint((request.param, 0), [one, two], lambda: readiness.reason, objects)
    yield request.param, server, readiness
    server.close()


def objects(*, openmetrics: bool) -> str:
    """The part of the page that a collector renders."""
    del openmetrics
    return "# HELP three The third.\n# TYPE three gauge\nthree 3\n"


def get(address: str, port: int, path: str) -> tuple[int, str, str]:
    """Status, type and text of an answer."""
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read().decode()
    finally:
        connection.close()


def test_each_path_answers(endpoint: tuple[str, HttpEndpoint, Readiness]) -> None:
    """Metrics of all registries on one page, alive, ready, not ready with the reason, and a hint for anything else."""
    address, server, readiness = endpoint
    status, kind, page = get(address, server.port, "/metrics")
    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    assert "one 1.0" in page
    assert "two 2.0" in page
    assert "three 3" in page
    assert get(address, server.port, "/healthz")[::2] == (200, "alive\n")
    assert get(address, server.port, "/readyz")[::2] == (200, "ready\n")
    readiness.reason = "no consumer at the broker"
    assert get(address, server.port, "/readyz")[::2] == (503, "no consumer at the broker\n")
    assert get(address, server.port, "/healthz")[0] == get(address, server.port, "/metrics")[0] == 200
    assert get(address, server.port, "/")[::2] == (404, "try /metrics, /healthz or /readyz\n")


def test_a_closed_endpoint_gives_its_port_back() -> None:
    """After close nobody listens, and the next run of the service may."""
    first = HttpEndpoint(("127.0.0.1", 0), [], lambda: None, objects)
    port = first.port
    first.close()
    with pytest.raises(ConnectionRefusedError):
        get("127.0.0.1", port, "/healthz")
    second = HttpEndpoint(("127.0.0.1", port), [], lambda: None, objects)
    assert get("127.0.0.1", port, "/healthz")[0] == 200
    second.close()
