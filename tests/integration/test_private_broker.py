"""The test suite stands on its private broker, so that is tested first: virtual hosts, restart, and no traces."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pika
import psutil
import pytest
from pika.exceptions import AMQPConnectionError

from tests.support.broker import BrokerError, PrivateBroker, rabbitmq_server
from tests.support.components import require

ROOT = Path(__file__).resolve().parents[2]
PERSISTENT = pika.BasicProperties(delivery_mode=2)


def connect(url: str) -> pika.BlockingConnection:
    """An ordinary AMQP connection."""
    return pika.BlockingConnection(pika.URLParameters(url))


def waiting(url: str, queue: str) -> int:
    """How many messages stand in a queue."""
    connection = connect(url)
    count: int = connection.channel().queue_declare(queue, passive=True).method.message_count
    connection.close()
    return count


def require_rabbitmq() -> None:
    """Go on only where a rabbitmq-server can be started."""
    require("rabbitmq-server", rabbitmq_server() is not None, "not installed")


@pytest.fixture(scope="module")
def private() -> Iterator[PrivateBroker]:
    """A broker of this module's own, beside the session's: the two must not meet."""
    require_rabbitmq()
    broker = PrivateBroker()
    broker.start()
    yield broker
    broker.stop()


@pytest.mark.slow
class TestPrivateBroker:
    """One broker for the class; each test leaves it running."""

    def test_virtual_hosts_are_apart(self, private: PrivateBroker) -> None:
        """The same queue name in two fresh virtual hosts is two queues, and a left virtual host is gone."""
        with private.fresh_url() as first, private.fresh_url() as second:
            one, two = connect(first), connect(second)
            one.channel().queue_declare("q")
            one.channel().basic_publish("", "q", b"x")
            assert two.channel().queue_declare("q").method.message_count == 0
            one.close()
            two.close()
        with pytest.raises(AMQPConnectionError):
            connect(first)

    def test_restart_keeps_port_and_durable_messages(self, private: PrivateBroker) -> None:
        """After a restart clients were cut off, and the same URL leads to the same durable queue and message."""
        with private.fresh_url() as url:
            before = connect(url)
            channel = before.channel()
            channel.confirm_delivery()
            channel.queue_declare("q", durable=True)
            channel.basic_publish("", "q", b"kept", PERSISTENT)
            private.restart()
            with pytest.raises(AMQPConnectionError):
                before.process_data_events(time_limit=5)
            assert waiting(url, "q") == 1

    def test_kill_and_start_keeps_confirmed_messages(self, private: PrivateBroker) -> None:
        """A broker lost as in a power cut comes back on its port with what it had confirmed."""
        with private.fresh_url() as url:
            channel = connect(url).channel()
            channel.confirm_delivery()
            channel.queue_declare("q", durable=True)
            channel.basic_publish("", "q", b"kept", PERSISTENT)
            private.kill()
            with pytest.raises(AMQPConnectionError):
                connect(url)
            private.start()
            assert waiting(url, "q") == 1

    def test_what_the_shell_refuses_is_an_error(self, private: PrivateBroker) -> None:
        """An order the broker refuses does not pass in silence, and the next one still works."""
        with pytest.raises(BrokerError, match="no_such_vhost"):
            private.delete_vhost("never made")
        connect(private.add_vhost('odd "name" é')).close()
        private.delete_vhost('odd "name" é')

    def test_rabbitmqctl_reaches_it(self, private: PrivateBroker) -> None:
        """rabbitmqctl speaks to this node (cookie, node name and port mapper are the broker's own)."""
        assert "/" in private.ctl("list_vhosts").split()


@pytest.mark.slow
def test_broker_dies_with_its_starter() -> None:
    """SIGKILL of the process that started a broker leaves neither the broker nor its port mapper behind."""
    require_rabbitmq()
    program = (
        "import sys, time, psutil\n"
        "from tests.support.broker import PrivateBroker\n"
        "broker = PrivateBroker(); broker.start()\n"
        "print(*(child.pid for child in psutil.Process().children(recursive=True)), flush=True)\n"
        "time.sleep(600)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    children = [psutil.Process(int(pid)) for pid in starter.stdout.readline().split()]
    names = {child.name() for child in children}
    starter.kill()
    starter.wait()
    _gone, alive = psutil.wait_procs(children, timeout=20)
    alive = [child for child in alive if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert {"beam.smp", "epmd"} <= names
    assert not alive
