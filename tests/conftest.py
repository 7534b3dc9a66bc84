"""The real parts every test may ask for by name: a broker, a network namespace, a bootable guest, running services."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.broker import Broker, BrokerError, find_broker
from tests.support.components import missing, require_program, require_root
from tests.support.guest import GuestError, GuestImage
from tests.support.guest import guest_image as build_guest_image
from tests.support.netns import NetworkNamespace, network_namespace

# The services print tables and logs with rich and structlog; colours would make their output depend on the terminal.
os.environ["NO_COLOR"] = "1"


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """The RabbitMQ of this run, started when the first test asks for it. See tests/support/broker.py."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def progress(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{line}", flush=True)

    try:
        found = find_broker(progress)
    except BrokerError as error:
        missing("RabbitMQ", str(error))
    yield found
    found.stop()


@pytest.fixture
def broker_url(broker: Broker) -> Iterator[str]:
    """AMQP URL of a virtual host that only this test uses."""
    with broker.fresh_url() as url:
        yield url


@pytest.fixture
def netns() -> Iterator[NetworkNamespace]:
    """A network namespace for this test alone, with `lo` up: `.name`, `.run(argv)`, `.command(argv)`."""
    require_root()
    require_program("ip")
    with network_namespace() as namespace:
        yield namespace


@pytest.fixture(scope="session")
def guest_image() -> GuestImage:
    """A small Linux that boots directly: `.kernel`, `.initrd`, `.cmdline`. See tests/support/guest.py."""
    try:
        return build_guest_image()
    except GuestError as error:
        missing("guest image", str(error))
