"""The rows that every service has: who is there, what became of a request, which events there were."""

from __future__ import annotations

import platform

import pytest

from tests.support.local import local_node
from virtbus_shared import __version__
from virtbus_shared.api import SERVICES, common


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_answers_for_itself(service: str) -> None:
    """Each says who it is, knows nothing of a request that never came, and has its events from the first on."""
    with local_node() as node:
        info = node(common.PING[service])
        assert (info.node, info.service, info.version) == (platform.node(), service, __version__)
        assert info.drivers == ["test:///default"]
        assert node(common.GET_OUTCOME[service], id="never came").state == "unknown"
        events = node(common.LIST_EVENTS[service], sequence=0)
        assert (events.epoch, events.gap) == (info.epoch, False)
        assert len(events.events) == events.last
