"""``open`` and ``virConnect``: a connection, put together from what the four services offer.

The methods about domains, networks, storage and devices stand in the modules of those names, the ones about events in
``events``; here is the connection itself: how it is opened, what it is, how it ends.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from operator import index
from types import TracebackType

from virtbus.channel import Channel, open_channel
from virtbus.domain import DomainCalls
from virtbus.errors import api_call
from virtbus.events import EventCalls
from virtbus.extras import ExtraCalls
from virtbus.network import NetworkCalls
from virtbus.nodedev import NodeDeviceCalls
from virtbus.storage import StorageCalls
from virtbus.unsupported import complete
from virtbus.uri import ConnectionURI, resolve
from virtbus_shared import constants as c
from virtbus_shared.api import common
from virtbus_shared.api import domain as domain_rows
from virtbus_shared.api import nodedev as nodedev_rows
from virtbus_shared.errors import LibvirtError, check_flags, no_support
from virtbus_shared.procedure import NoParams

CloseCallback = Callable[["virConnect", int, object], object]
OPEN_FLAGS = c.VIR_CONNECT_RO | c.VIR_CONNECT_NO_ALIASES


@complete
class virConnect(DomainCalls, NetworkCalls, StorageCalls, NodeDeviceCalls, EventCalls, ExtraCalls):
    """A connection to the services of one node. Usable from any thread, and as a context manager that closes it."""

    def __init__(self, _obj: Channel) -> None:
        super().__init__()
        opened = _obj.call(domain_rows.OPEN, NoParams())
        self._channel: Channel | None = _obj
        self._type = opened.type
        self._version = opened.version

    def _connection(self) -> virConnect:
        return self

    def __enter__(self) -> virConnect:
        return self

    def __exit__(self, exc_type_: type[BaseException] | None, exc_value_: BaseException | None,
                 traceback_: TracebackType | None) -> None:
        self.close()

    @api_call
    def close(self) -> int:
        """Close it: 0 if nothing uses it any more, 1 if objects or event callbacks do; those work on."""
        session = weakref.ref(self._open_channel("virConnectClose"))
        self._channel = None
        return int(session() is not None)

    @api_call
    def isAlive(self) -> int:
        """1 if the node answers, else 0."""
        channel = self._open_channel("virConnectIsAlive")
        try:
            channel.call(common.PING["domain"], NoParams())
        except LibvirtError:
            return 0
        return 1

    @api_call
    def isEncrypted(self) -> int:
        """1 if what travels is encrypted (``amqps``), else 0."""
        return int(self._open_channel("virConnectIsEncrypted").uri.transport == "amqps")

    @api_call
    def isSecure(self) -> int:
        """1 if nobody can listen: within this process or machine, or encrypted; else 0."""
        uri = self._open_channel("virConnectIsSecure").uri
        return int(not uri.remote or uri.transport == "amqps")

    @api_call
    def getURI(self) -> str:
        """The URI that it was opened with."""
        return str(self._open_channel("virConnectGetURI").uri)

    @api_call
    def getType(self) -> str:
        """Name of the hypervisor driver, such as QEMU."""
        self._open_channel("virConnectGetType")
        return self._type

    @api_call
    def getVersion(self) -> int:
        """Version of the hypervisor when it was opened: major * 1000000 + minor * 1000 + release; 0 if unknown."""
        self._open_channel("virConnectGetVersion")
        return self._version

    @api_call
    def getLibVersion(self) -> int:
        """The libvirt API level that is offered, as major * 1000000 + minor * 1000 + release."""
        self._open_channel("virConnectGetLibVersion")
        return c.LIBVIRT_VERSION

    @api_call
    def getCapabilities(self) -> str:
        """What the host and its hypervisor can do, as a ``<capabilities>`` document."""
        function = "virConnectGetCapabilities"
        host = self._call(function, nodedev_rows.GET_CAPABILITIES, NoParams()).xml
        guests = self._call(function, domain_rows.GET_CAPABILITIES, NoParams()).xml
        parts = [part.strip("\n") for part in (host, guests) if part.strip()]
        return "\n\n".join(["<capabilities>", *parts, "</capabilities>\n"])

    @api_call
    def setKeepAlive(self, interval: int, count: int) -> int:
        """Accepted on a bus connection, whose heartbeats are AMQP's own (``?heartbeat=`` of the broker's address); code
        3 in-process, where nothing can be lost.
        """
        function = "virConnectSetKeepAlive"
        uri = self._open_channel(function).uri
        index(interval), index(count)
        if not uri.remote:
            raise no_support(function, c.VIR_FROM_DOMAIN)
        return 0

    @api_call
    def registerCloseCallback(self, cb: CloseCallback, opaque: object) -> int:
        """Accepted and never called: the bus connects again by itself, and a node that is away fails calls at once.
        What was missed meanwhile is told by ``registerGapCallback``.
        """
        self._open_channel("virConnectRegisterCloseCallback")
        return 0

    @api_call
    def unregisterCloseCallback(self) -> None:
        """The reverse."""
        self._open_channel("virConnectUnregisterCloseCallback")


@api_call
def open(name: str | None = None) -> virConnect:
    """Open a connection; without a name to ``LIBVIRT_DEFAULT_URI``, then to the one in the configuration file.

    Fails at once if the node is not there or has no such driver (codes 38 and 5).
    """
    return _open(resolve(name), read_only=False)


@api_call
def openReadOnly(name: str | None = None) -> virConnect:
    """As ``open``, for a connection that can change nothing."""
    return _open(resolve(name), read_only=True)


@api_call
def openAuth(uri: str | None, auth: list[object], flags: int = 0) -> virConnect:
    """As ``open``; ``flags`` are ``VIR_CONNECT_*``. ``auth`` is a list of the accepted credential types, a callable
    and its argument; nothing is asked of it, since the broker's address carries the credentials.
    """
    if not isinstance(auth, list | tuple) or len(auth) != 3 or not callable(auth[1]):
        raise TypeError("openAuth() argument 2 must be a list of credential types, a callable and its argument")
    bits = index(flags) & 0xFFFFFFFF
    check_flags(bits, OPEN_FLAGS, "virConnectOpenAuth", c.VIR_FROM_NONE)
    return _open(resolve(uri), read_only=bool(bits & c.VIR_CONNECT_RO))


def _open(uri: ConnectionURI, *, read_only: bool) -> virConnect:
    channel = open_channel(uri, read_only)
    try:
        return virConnect(channel)
    except BaseException:
        channel.close()
        raise
