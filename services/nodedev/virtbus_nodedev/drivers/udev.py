"""The ``udev`` driver: the devices of the host that the service runs on, kept fresh by the kernel's own news."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from virtbus_nodedev.driver import NodedevDriver
from virtbus_nodedev.handlers import reference
from virtbus_nodedev.host import Host, NodeInfo
from virtbus_nodedev.statistics import HostStatistics, host_statistics
from virtbus_nodedev.udev import Action, DeviceMonitor, DeviceTable
from virtbus_shared import constants as c
from virtbus_shared.api import nodedev as api

if TYPE_CHECKING:
    from virtbus_nodedev.xml import NodeDevice
    from virtbus_shared.service.driver import DriverHost

_CHANGES: dict[Action, str] = {"add": "added", "remove": "removed", "change": "changed"}
_EVENTS = {"add": c.VIR_NODE_DEVICE_EVENT_CREATED, "remove": c.VIR_NODE_DEVICE_EVENT_DELETED}


class UdevDriver(NodedevDriver):
    """``qemu:///system`` and the like: this host."""

    paths = ("/system",)
    prefix = "udev"
    error_domain = c.VIR_FROM_NODEDEV
    is_host = True

    def __init__(self, host: DriverHost) -> None:
        super().__init__(host)
        self._host = Host(state=host.state_dir)
        self._table = DeviceTable()
        self._monitor = DeviceMonitor(self._host, self._table, self._changed)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Look at everything, and listen for changes."""
        await self._monitor.start()

    async def stop(self) -> None:
        """Stop listening."""
        await self._monitor.stop()

    def _changed(self, action: Action, device: NodeDevice) -> None:
        """A device came or went; a change of one that stays has no event in libvirt."""
        self.changes[_CHANGES[action]] += 1
        if action not in _EVENTS:
            return
        change = self.host.change()
        change.event(api.LIFECYCLE, api.LifecycleBody(device=reference(device), event=_EVENTS[action], detail=0))
        task = asyncio.get_running_loop().create_task(self.host.commit(change))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def devices(self) -> Iterable[NodeDevice]:
        """What the table holds."""
        return self._table.devices.values()

    def find(self, name: str) -> NodeDevice | None:
        """Read anew: link states and media change without any event."""
        return self._table.current(name)

    def hostname(self) -> str:
        """The host's name."""
        return self._host.hostname()

    def node_info(self) -> NodeInfo:
        """The host's sizes."""
        return self._host.info()

    def capabilities(self) -> str:
        """The host's CPU, memory cells and security models."""
        return self._host.capabilities_xml()

    async def statistics(self) -> HostStatistics:
        """From the kernel."""
        return host_statistics(self._host)

    def free_memory(self) -> int:
        """From the kernel."""
        return self._host.free_memory()
