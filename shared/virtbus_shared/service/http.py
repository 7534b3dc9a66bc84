"""What Prometheus and a supervisor ask for over HTTP: ``/metrics``, ``/healthz``, ``/readyz``.

The server has threads of its own, so that rendering a page never delays the event loop, and a scrape does nothing but
render what is in memory: no driver call, no broker call, no lock that a handler holds.
"""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import ThreadingWSGIServer, choose_encoder, gzip_accepted

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


_END = b"# EOF\n"  # OpenMetrics' last line
_GZIP_LEVEL = 1  # a large page of much alike lines: more effort takes many times longer and saves little


class Render(Protocol):
    """Gives the text of the objects' metrics; called in threads of the server."""

    def __call__(self, *, openmetrics: bool) -> str:
        """All lines, without OpenMetrics' last one."""


class _QuietHandler(WSGIRequestHandler):
    """A scrape every few seconds is no news."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


class _IPv6Server(ThreadingWSGIServer):
    """The same on an IPv6 address."""

    address_family = socket.AF_INET6


class HttpEndpoint:
    """Serves one address until closed. ``ready`` gives None when ready, else the reason why not."""

    def __init__(self, address: tuple[str, int], registries: Iterable[CollectorRegistry],
                 ready: Callable[[], str | None], objects: Render) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # as many series again, for times that a process' start time tells as well
        self._registry = _Union(registries)
        self._objects = objects
        self._ready = ready
        server = _IPv6Server if ":" in address[0] else ThreadingWSGIServer
        self._server: WSGIServer = make_server(*address, self._app, server, _QuietHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on: the given one, or the one the system chose for 0."""
        return int(self._server.server_port)

    def _app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return self._metrics(environ, start_response)
        if path == "/healthz":
            status, text = "200 OK", "alive"
        elif path == "/readyz":
            reason = self._ready()
            status, text = ("200 OK", "ready") if reason is None else ("503 Service Unavailable", reason)
        else:
            status, text = "404 Not Found", "try /metrics, /healthz or /readyz"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{text}\n".encode()]

    def _metrics(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The page, in the format that the caller prefers: what the library knows, then the objects' ready text."""
        encode, content_type = choose_encoder(environ.get("HTTP_ACCEPT", ""))
        openmetrics = content_type.startswith("application/openmetrics-text")
        end = _END if openmetrics else b""
        page = encode(self._registry).removesuffix(end) + self._objects(openmetrics=openmetrics).encode() + end
        headers = [("Content-Type", content_type)]
        if gzip_accepted(environ.get("HTTP_ACCEPT_ENCODING", "")):
            page = gzip.compress(page, _GZIP_LEVEL)
            headers.append(("Content-Encoding", "gzip"))
        start_response("200 OK", headers)
        return [page]

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Union(CollectorRegistry):
    """Several registries as one page."""

    def __init__(self, registries: Iterable[CollectorRegistry]) -> None:
        super().__init__()
        for registry in registries:
            self.register(registry)
