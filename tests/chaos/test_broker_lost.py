"""The broker goes and comes back, politely and by kill -9: nothing but the bus may notice, and nothing is lost.

Each test has a broker of its own, since what it does to it would end every other test's connections.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker import PrivateBroker, rabbitmq_server
from tests.support.calls import calling, event_log, guest_xml, metric, new_node, qemu_pids, until
from tests.support.components import require, require_program
from tests.support.processes import running_node
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.api import nodedev


@pytest.fixture(scope="module")
def own_broker() -> Iterator[PrivateBroker]:
    """A RabbitMQ that may be stopped."""
    require("rabbitmq-server", rabbitmq_server() is not None, "not installed")
    broker = PrivateBroker()
    broker.start()
    yield broker
    broker.stop()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stop_app", "kill -9"])
def test_the_broker_goes_and_comes_back(own_broker: PrivateBroker, tmp_path: Path, how: str) -> None:
    """Services, guests, pending calls, metrics and events survive it without any service being restarted."""
    require_program("qemu-system-x86_64")
    url = own_broker.url()
    with running_node(node=new_node(), broker=url, folder=tmp_path, services=("domain", "nodedev")) as node:
        daemon = node["domain"]
        pids = [node[service].pid for service in ("domain", "nodedev")]
        with calling(url, node.name) as calls:
            stays, ends, slow = (calls(api.DEFINE_XML, xml=guest_xml(name)).uuid for name in ("stays", "ends", "slow"))
            for uuid in (stays, ends, slow):
                calls(api.CREATE, uuid=uuid)
            guests = qemu_pids(daemon)
            # A QEMU that is stopped dead is ended by SIGKILL only after ten seconds: a call that is under way for sure.
            os.kill(guests[slow][0], signal.SIGSTOP)
            pending = calls.start(api.DESTROY, uuid=slow)
            until(lambda: metric(daemon, "virtbus_rpc_in_flight") == 1, "the call being under way")
            with event_log(calls) as log:
                log.wait_for(ends, c.VIR_DOMAIN_EVENT_STARTED)
                own_broker.stop_app() if how == "stop_app" else own_broker.kill()
                until(lambda: metric(daemon, "virtbus_amqp_connected") == 0, "the loss being noticed")
                assert daemon.get("/readyz")[0] == 503
                assert daemon.get("/healthz")[0] == 200
                os.kill(guests[ends][0], signal.SIGTERM)
                until(lambda: metric(daemon, "virtbus_events_outbox") > 0, "an event that waits")
                own_broker.start_app() if how == "stop_app" else own_broker.start()
                for service in ("domain", "nodedev"):
                    node[service].wait_ready()
                assert metric(daemon, "virtbus_amqp_connected") == 1
                assert metric(daemon, "virtbus_amqp_reconnects_total") >= 1
                pending.result()
                for uuid in (ends, slow):
                    log.wait_for(uuid, c.VIR_DOMAIN_EVENT_STOPPED)
                assert qemu_pids(daemon) == {stays: guests[stays]}
                assert calls.state(stays) == c.VIR_DOMAIN_RUNNING
                assert calls(nodedev.GET_HOSTNAME).value
                calls(api.DESTROY, uuid=stays)
                log.wait_for(stays, c.VIR_DOMAIN_EVENT_STOPPED)
        assert [node[service].pid for service in ("domain", "nodedev")] == pids
