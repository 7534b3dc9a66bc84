"""What client and service both know about a connection's life: where to, how, why it failed, when to try again.

A broker's address is an ``amqp://`` or ``amqps://`` URL, or several separated by commas, which are tried in turn.
Its query may name files for TLS as RabbitMQ's own clients do (``?cacertfile=...&certfile=...&keyfile=...``).
After a restart of the broker a whole cloud comes back at once, so waits grow and are spread by chance.
"""

from __future__ import annotations

import logging
import os
import random
import ssl
import time
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pika
from pika import exceptions as pe
from pika.adapters.utils import connection_workflow as workflow

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

log = logging.getLogger("virtbus.bus")

HEARTBEAT = 20  # seconds without a sign of life after which a side gives the other up
BLOCKED_TIMEOUT = 30.0  # seconds of a broker's alarm after which the connection is given up
CONNECT_TIMEOUT = 5.0  # seconds for TCP
HANDSHAKE_TIMEOUT = 10.0  # seconds for TCP, TLS and AMQP together
TLS_FILES = ("cacertfile", "certfile", "keyfile")

# Why a connection ended, as the metric virtbus_amqp_reconnects_total has it.
HEARTBEAT_LOST, CLOSED_BY_BROKER, CONSUMER_CANCELLED, NETWORK, SHUTDOWN = REASONS = (
    "heartbeat", "closed_by_broker", "consumer_cancelled", "network", "shutdown")

# pika logs each failed attempt several times at ERROR, with traces. The bus reports the same once, in one line; who
# wants pika's own view sets the level of its logger, which is then left alone.
if logging.getLogger("pika").level == logging.NOTSET:
    logging.getLogger("pika").setLevel(logging.CRITICAL)


def parameters(urls: str, name: str) -> list[pika.ConnectionParameters]:
    """The connection parameters of one or several comma-separated URLs; ``name`` is shown in the broker's listings."""
    found = [_parameters(url.strip(), name) for url in urls.split(",") if url.strip()]
    if not found:
        raise LibvirtError(c.VIR_ERR_INVALID_ARG, "the broker's URL is empty", domain=c.VIR_FROM_RPC)
    return found


def _parameters(url: str, name: str) -> pika.ConnectionParameters:
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("amqp", "amqps") or not parts.netloc:
            raise ValueError("amqp://... or amqps://... is expected")
        if parts.username is not None and parts.password is None:
            raise ValueError(f"a password for user {parts.username!r} is missing")
        query = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        files = {key: query.pop(key, None) for key in TLS_FILES}
        result = pika.URLParameters(urlunsplit(parts._replace(query=urlencode(query))))
        if result.ssl_options is not None:
            result.ssl_options = pika.SSLOptions(_tls(**files), result.host)
        elif any(files.values()):
            raise ValueError(f"{', '.join(key for key, value in files.items() if value)}: only amqps:// has TLS")
    except (ValueError, OSError) as e:
        raise LibvirtError(c.VIR_ERR_INVALID_ARG, f"broker URL {_shown(url)!r}: {e}", domain=c.VIR_FROM_RPC) from None
    result.connection_attempts = 1
    result.client_properties = {"connection_name": name}
    # What the URL's query says (?heartbeat=60) wins; pika leaves these at None when it does not.
    if result.heartbeat is None:
        result.heartbeat = HEARTBEAT
    if result.blocked_connection_timeout is None:
        result.blocked_connection_timeout = BLOCKED_TIMEOUT
    if "socket_timeout" not in query:
        result.socket_timeout = CONNECT_TIMEOUT
    if "stack_timeout" not in query:
        result.stack_timeout = HANDSHAKE_TIMEOUT
    return result


def _tls(cacertfile: str | None, certfile: str | None, keyfile: str | None) -> ssl.SSLContext:
    """TLS that checks the broker's certificate and name, against the system's authorities or those of one file."""
    for path in (cacertfile, certfile, keyfile):
        if path is not None and not os.access(path, os.R_OK):
            raise ValueError(f"file '{path}' cannot be read")
    context = ssl.create_default_context(cafile=cacertfile)
    if certfile is not None:
        context.load_cert_chain(certfile, keyfile)
    return context


def _shown(url: str) -> str:
    """A URL without its password."""
    scheme, separator, rest = url.partition("://")
    return scheme + separator + rest.rpartition("@")[2]


def user_of(params: pika.ConnectionParameters) -> str | None:
    """The name that the broker will know this connection by, if it is given here (a certificate's name is not)."""
    credentials = params.credentials
    return credentials.username if isinstance(credentials, pika.PlainCredentials) else None


def where(params: pika.ConnectionParameters) -> str:
    """``host:port`` of a broker, for messages."""
    return f"{params.host}:{params.port}"


def reason_of(error: BaseException) -> str:
    """One of ``REASONS`` for the end of a connection or channel."""
    if isinstance(error, pe.AMQPHeartbeatTimeout):
        return HEARTBEAT_LOST
    if isinstance(error, pe.ConnectionClosed | pe.ChannelClosed):
        return SHUTDOWN if error.reply_code == 320 and "shutdown" in error.reply_text else CLOSED_BY_BROKER
    return NETWORK


def _root(error: BaseException) -> BaseException:
    """What really happened, under pika's wrappers."""
    while True:
        inner: object = None
        if isinstance(error, workflow.AMQPConnectionWorkflowFailed):
            inner = error.exceptions[-1]
        elif isinstance(error, workflow.AMQPConnectorPhaseErrorBase):
            inner = error.exception
        elif type(error) is pe.AMQPConnectionError and error.args:
            inner = error.args[0]
        if not isinstance(inner, BaseException):
            return error
        error = inner


def cause(error: BaseException) -> str:
    """A line that says what happened, for messages and logs."""
    error = _root(error)
    if isinstance(error, pe.ConnectionClosed | pe.ChannelClosed):
        return f"{error.reply_text} ({error.reply_code})"
    if isinstance(error, workflow.AMQPConnectorStackTimeout | TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error) or type(error).__name__


def refusal(error: BaseException, params: pika.ConnectionParameters) -> LibvirtError:
    """The error for a caller whose broker could not be reached or did not let it in."""
    root = _root(error)
    if isinstance(root, pe.ProbableAuthenticationError | pe.AuthenticationError) or (
            isinstance(root, pe.ConnectionClosed) and root.reply_code == 403):
        return LibvirtError(c.VIR_ERR_AUTH_FAILED, f"broker {where(params)} refuses user {user_of(params)!r}: check "
                            "name and password", domain=c.VIR_FROM_RPC)
    if isinstance(root, pe.ProbableAccessDeniedError) or (
            isinstance(root, pe.ConnectionClosed) and root.reply_code == 530):
        return LibvirtError(c.VIR_ERR_AUTH_FAILED, f"broker {where(params)} does not let user {user_of(params)!r} into "
                            f"virtual host {params.virtual_host!r}: {cause(error)}", domain=c.VIR_FROM_RPC)
    return LibvirtError(c.VIR_ERR_SYSTEM_ERROR, f"unable to connect to broker at '{where(params)}': {cause(error)}",
                        domain=c.VIR_FROM_RPC)


class Backoff:
    """How long to wait before the next attempt to connect: longer each time, and spread by chance."""

    FIRST, MOST = 0.25, 5.0  # seconds
    CALM = 10.0  # seconds that a connection must have held before its loss counts as the first again

    def __init__(self) -> None:
        self._next = self.FIRST
        self._since: float | None = None

    def connected(self) -> None:
        """There is a connection in service."""
        self._since = time.monotonic()

    def wait(self) -> float:
        """Seconds to wait now."""
        if self._since is not None and time.monotonic() - self._since >= self.CALM:
            self._next = self.FIRST
        self._since = None
        wait, self._next = self._next, min(self._next * 2, self.MOST)
        return wait * random.uniform(0.2, 1.0)  # noqa: S311  # a spread, not a secret
