"""What a driver of the node device service is: the devices of one host, in memory, and the facts about the host."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from virtbus_nodedev.host import NodeInfo
from virtbus_nodedev.statistics import HostStatistics
from virtbus_nodedev.xml import NodeDevice
from virtbus_shared.service.driver import Driver, DriverHost


class NodedevDriver(Driver):
    """One host as its devices."""

    is_host: ClassVar[bool] = False  # whether it is the machine that this service runs on

    def __init__(self, host: DriverHost) -> None:
        super().__init__(host)
        self.changes = {"added": 0, "removed": 0, "changed": 0}  # of devices, since this run of the service started

    async def statistics(self) -> HostStatistics | None:
        """What is measured of the host; None when it is not a real one."""
        return None

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
