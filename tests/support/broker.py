"""Where tests, the demo and the benchmark get a RabbitMQ: one that is named, one of their own, or one in a container.

The usual answer is a :class:`~tests.support.private_broker.PrivateBroker`. Nothing here imports pytest:
`deploy/demo.py` and `tests/bench` use the same brokers.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from tests.support.private_broker import BrokerError, PrivateBroker, Progress, rabbitmq_server

__all__ = ["Broker", "BrokerError", "PrivateBroker", "Progress", "find_broker", "rabbitmq_server"]

_CONTAINER_IMAGE = "rabbitmq:3.13"


class Broker(Protocol):
    """What a test needs of whichever broker it was given."""

    description: str

    def fresh_url(self) -> AbstractContextManager[str]:
        """AMQP URL of a virtual host nobody else uses, for the length of the block."""
        ...

    def stop(self) -> None:
        """End the broker if it was started for this run."""
        ...


def find_broker(progress: Progress = lambda _line: None) -> Broker:
    """The broker for this run: `VIRTBUS_TEST_BROKER`, else a private one, else a container. BrokerError if none."""
    given = os.environ.get("VIRTBUS_TEST_BROKER")
    if given:
        progress(f"broker: {given} (VIRTBUS_TEST_BROKER)")
        return GivenBroker(given)
    program = rabbitmq_server()
    if program is not None:
        private = PrivateBroker(program)
        private.start(progress)
        return private
    return ContainerBroker(progress)


class GivenBroker:
    """A broker someone else runs, used as it is: no virtual host of its own for each test."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.description = f"the RabbitMQ named by VIRTBUS_TEST_BROKER ({url})"

    @contextmanager
    def fresh_url(self) -> Iterator[str]:
        """The given URL, every time: tests must tell each other apart by node name."""
        yield self._url

    def stop(self) -> None:
        """Leave it running: it is not ours."""


class ContainerBroker:
    """RabbitMQ in a container, where there is a Docker engine but no rabbitmq-server."""

    def __init__(self, progress: Progress = lambda _line: None) -> None:
        # Imported here because only this broker needs it, and it is slow to import.
        from testcontainers.community.rabbitmq import RabbitMqContainer

        image = os.environ.get("VIRTBUS_TEST_BROKER_IMAGE", _CONTAINER_IMAGE)
        progress(f"broker: starting a container from {image}")
        try:
            self._container = RabbitMqContainer(image)
            self._container.start()
        except Exception as error:
            raise BrokerError(
                "no RabbitMQ: VIRTBUS_TEST_BROKER is not set, rabbitmq-server is not installed, "
                f"and no container starts ({error})"
            ) from error
        self.description = f"RabbitMQ in a container from {image}"

    @contextmanager
    def fresh_url(self) -> Iterator[str]:
        """See :meth:`Broker.fresh_url`."""
        name = f"t-{secrets.token_hex(6)}"
        self._ctl("add_vhost", name)
        try:
            self._ctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
            host = self._container.get_container_host_ip()
            yield f"amqp://guest:guest@{host}:{self._container.get_exposed_port(5672)}/{name}"
        finally:
            self._ctl("delete_vhost", name)

    def stop(self) -> None:
        """Remove the container."""
        self._container.stop()

    def _ctl(self, *arguments: str) -> None:
        status, output = self._container.exec(["rabbitmqctl", "-q", *arguments])
        if status != 0:
            raise BrokerError(f"rabbitmqctl {' '.join(arguments)}: {output.decode(errors='replace')}")
