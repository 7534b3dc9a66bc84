"""What a driver of the node device service is: the devices of one host, in memory, and the facts about the host."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

from virtbus_shared.service.driver import Driver

from virtbus_nodedev.host import NodeInfo
from virtbus_nodedev.xml import NodeDevice


class NodedevDriver(Driver):
    """One host as its devices."""

    @abstractmethod
    def devices(self) -> Iterable[NodeDevice]:
        """All devices that are known now."""

    @abstractmethod
    def find(self, name: str) -> NodeDevice | None:
        """The device of a name, as it is now."""

    @abstractmethod
    def hostname(self) -> str:
        """virConnectGetHostname."""

    @abstractmethod
    def node_info(self) -> NodeInfo:
        """virNodeGetInfo."""

    @abstractmethod
    def capabilities(self) -> str:
        """The ``<host>`` element of the capabilities document."""

    @abstractmethod
    def free_memory(self) -> int:
        """virNodeGetFreeMemory, bytes."""
