"""What only a running domain has, and what a stored definition therefore never keeps: aliases, paths, host names."""

from __future__ import annotations

from virtbus_domain.normalise.chardevs import forget_terminals
from virtbus_domain.normalise.context import Context
from virtbus_domain.normalise.interfaces import forget_host_names
from virtbus_domain.xml.address import is_user_alias
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.storage_kinds import forget_running_disk

_NOTHING = Context("test")


def drop_runtime(domain: Domain) -> None:
    """Remove what only a running domain has: its id, generated aliases, names that the host gave."""
    forget_runtime(domain, _NOTHING)


def forget_runtime(domain: Domain, context: Context) -> None:
    """The number of the instance, aliases that no user chose ("ua-..."), and what the host or the guest filled in."""
    domain.id = None
    devices = domain.devices
    if devices is None:
        return
    for device in devices.named():
        if device.alias is not None and not is_user_alias(device.alias):
            device.alias = None
    for disk in devices.disks:
        forget_running_disk(disk)
    for memory in devices.memories:
        memory.current = None
    for hostdev in devices.hostdevs:
        if hostdev.source:
            hostdev.source.missing = None
    forget_host_names(domain, context)
    forget_terminals(domain, context)
