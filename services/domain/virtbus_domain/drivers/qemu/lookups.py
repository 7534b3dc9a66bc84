"""What a start has to ask others on the node: which file a volume is, which bridge a network has, what a secret is.

Pools, networks and secrets belong to other services, which are asked by procedures as any client would. ``Lookups`` is
what a start needs of them, whoever answers.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from virtbus_domain.drivers.qemu.layers import Volume
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


class HostNetwork(NamedTuple):
    """What the host has of a network: the bridge that guests' cards are put on, and its own address there."""

    bridge: str
    address: str | None


class SecretName(NamedTuple):
    """Which secret is meant: that of a UUID, or that for a use, whose type is libvirt's word."""

    uuid: str | None = None
    usage: str | None = None
    type: str | None = None

    def __str__(self) -> str:
        return f"uuid '{self.uuid}'" if self.uuid is not None else f"usage '{self.usage}'"


class Lookups(Protocol):
    """Questions to the node's other services. Each raises ``LibvirtError`` when there is no such thing."""

    async def volume(self, pool: str, name: str) -> Volume:
        """What a storage volume is on this node."""

    async def network(self, name: str) -> HostNetwork:
        """What the host has of a network that is active."""

    async def secret(self, name: SecretName) -> bytes:
        """The value of a secret."""


class NoLookups:
    """For as long as a service cannot ask another one: each question is refused, and the refusal says so."""

    async def volume(self, pool: str, name: str) -> Volume:
        """Refuse."""
        raise _unknown(f"volume '{name}' of pool '{pool}' cannot be found: the storage service cannot be asked yet")

    async def network(self, name: str) -> HostNetwork:
        """Refuse."""
        raise _unknown(f"the bridge of network '{name}' is not known: the network service cannot be asked yet")

    async def secret(self, name: SecretName) -> bytes:
        """Refuse, as where nobody has defined any."""
        raise LibvirtError(c.VIR_ERR_NO_SECRET, f"no secret with matching {name}", domain=c.VIR_FROM_SECRET)


NO_LOOKUPS: Lookups = NoLookups()


def _unknown(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_QEMU)
