"""Two thousand definitions through the broker: what is stored one by one is there in one piece after kill -9."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.calls import calling, fake_xml, new_node
from tests.support.processes import running_node
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api

MANY = 2000


@pytest.mark.slow
def test_two_thousand_domains(broker_url: str, tmp_path: Path) -> None:
    """Defined, listed, counted, killed and back: all are there, with their UUIDs, state and autostart marks."""
    with (
        running_node(node=new_node(), broker=broker_url, folder=tmp_path, services=("domain",)) as node,
        calling(broker_url, node.name, "test", "/default") as calls,
    ):
        futures = [calls.start(api.DEFINE_XML, xml=fake_xml(f"d{n:04}")) for n in range(MANY)]
        defined = {future.result().uuid: future.result() for future in futures}
        assert len(defined) == MANY
        some = sorted(defined)[::100]
        for uuid in some:
            calls(api.SET_AUTOSTART, uuid=uuid, autostart=True)
        before = calls.listed()
        assert len(before) == MANY + 1  # the test driver's own
        stats = calls(api.GET_ALL_STATS).stats
        assert {s.domain.uuid for s in stats} == set(before)
        assert all(s.params["state.state"] == c.VIR_DOMAIN_SHUTOFF for s in stats if s.domain.uuid in defined)
        marked = calls(api.LIST_ALL, flags=c.VIR_CONNECT_LIST_DOMAINS_AUTOSTART).domains
        assert sorted(d.uuid for d in marked) == some
        xml = calls(api.GET_XML_DESC, uuid=some[0]).xml

        node["domain"].kill()
        node["domain"].start()
        assert calls.listed() == before
        marked = calls(api.LIST_ALL, flags=c.VIR_CONNECT_LIST_DOMAINS_AUTOSTART).domains
        assert sorted(d.uuid for d in marked) == some
        assert calls(api.GET_XML_DESC, uuid=some[0]).xml == xml
        assert calls(api.LOOKUP_BY_NAME, name="d1999").uuid in defined
