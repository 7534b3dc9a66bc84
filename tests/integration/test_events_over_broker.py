"""Law 5 with everything real: every event of every guest reaches a subscriber, in order, whatever is killed."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.broker import PrivateBroker, rabbitmq_server
from tests.support.calls import calling, event_log, fake_xml, guest_xml, lifecycle, new_node
from tests.support.components import require, require_program
from tests.support.processes import running_node
from virtbus_shared import constants as c
from virtbus_shared.api import common
from virtbus_shared.api import domain as api
from virtbus_shared.envelope import EventMessage

START = [c.VIR_DOMAIN_EVENT_RESUMED, c.VIR_DOMAIN_EVENT_STARTED]
PAUSE = [c.VIR_DOMAIN_EVENT_SUSPENDED, c.VIR_DOMAIN_EVENT_RESUMED]
STOP = [c.VIR_DOMAIN_EVENT_SHUTDOWN, c.VIR_DOMAIN_EVENT_STOPPED]  # QEMU obeys SIGTERM and says so


@pytest.mark.slow
def test_no_event_is_lost(tmp_path: Path) -> None:
    """A subscriber gets the whole story of a guest without a gap across kill -9 of service and broker."""
    require_program("qemu-system-x86_64")
    require("rabbitmq-server", rabbitmq_server() is not None, "not installed")
    broker = PrivateBroker()
    broker.start()
    try:
        url = broker.url()
        with running_node(node=new_node(), broker=url, folder=tmp_path, services=("domain",)) as node:
            with calling(url, node.name) as calls, event_log(calls) as log:
                def cycle() -> None:
                    calls(api.CREATE, uuid=uuid)
                    calls(api.SUSPEND, uuid=uuid)
                    calls(api.RESUME, uuid=uuid)
                    calls(api.DESTROY, uuid=uuid)

                uuid = calls(api.DEFINE_XML, xml=guest_xml("guest")).uuid
                cycle()
                node["domain"].kill()  # what was not published yet is published by the next run
                node["domain"].start()
                cycle()
                broker.stop_app()
                broker.start_app()
                node["domain"].wait_ready()
                cycle()
                calls(api.UNDEFINE, uuid=uuid)
                log.wait_for(uuid, c.VIR_DOMAIN_EVENT_UNDEFINED)
                story = [event for event, _ in log.of(uuid)]
                assert story == [c.VIR_DOMAIN_EVENT_DEFINED, *(START + PAUSE + STOP) * 3, c.VIR_DOMAIN_EVENT_UNDEFINED]
                assert all(b.sequence == a.sequence + 1 for a, b in pairwise(log.events))
                assert all(b.time >= a.time for a, b in pairwise(log.events))
                assert len({event.epoch for event in log.events}) == 1
                kept = calls(common.LIST_EVENTS["domain"], sequence=0)
                assert [EventMessage.decode(body) for body in kept.events] == log.events
    finally:
        broker.stop()


def test_a_subscriber_resumes_or_is_told_of_a_gap(broker_url: str, tmp_path: Path) -> None:
    """list_events continues after a number; numbers of a store that is gone, or of the future, are a gap."""
    with running_node(node=new_node(), broker=broker_url, folder=tmp_path, services=("domain",)) as node:
        with calling(broker_url, node.name, "test", "/default") as calls:
            uuids = [calls(api.DEFINE_XML, xml=fake_xml(f"d{n}")).uuid for n in range(5)]
            every = calls(common.LIST_EVENTS["domain"], sequence=0)
            assert (every.first, every.last, every.gap, len(every.events)) == (1, 5, False, 5)
            rest = calls(common.LIST_EVENTS["domain"], epoch=every.epoch, sequence=3)
            assert not rest.gap
            assert rest.events == every.events[3:]
            two = calls(common.LIST_EVENTS["domain"], epoch=every.epoch, sequence=1, limit=2)
            assert two.events == every.events[1:3]
            assert not calls(common.LIST_EVENTS["domain"], epoch=every.epoch, sequence=5).gap
            assert calls(common.LIST_EVENTS["domain"], epoch=every.epoch, sequence=6).gap
            decoded = [EventMessage.decode(body) for body in every.events]
            assert [lifecycle(decoded, uuid)[0][0] for uuid in uuids] == [c.VIR_DOMAIN_EVENT_DEFINED] * 5
            assert {(e.node, e.driver, e.path) for e in decoded} == {(node.name, "test", "/default")}

            node["domain"].kill()
            shutil.rmtree(node["domain"].state_dir)  # the node's disk was replaced
            node["domain"].start()
            calls(api.DEFINE_XML, xml=fake_xml("new"))
            after = calls(common.LIST_EVENTS["domain"], epoch=every.epoch, sequence=3)
            assert after.gap
            assert after.epoch != every.epoch
            assert len(after.events) == after.last == 1
