"""The node's certificates for encrypted connections, where QEMU's own tools and libvirt look for them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_QEMU = Path("/etc/pki/qemu")
_SPICE = Path("/etc/pki/libvirt-spice")
_AUTHORITY = "ca-cert.pem"


class Certificates(NamedTuple):
    """Directories with a CA's certificate and our own with its key: of QEMU, and of its SPICE server.

    None where there are none.
    """

    qemu: Path | None = None
    spice: Path | None = None

    def for_connection(self, what: str) -> Path:
        """QEMU's directory for a connection that must be encrypted. Raises ``LibvirtError``."""
        if self.qemu is None:
            raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED,
                               f"TLS is wanted for {what}, but there are no certificates in {_QEMU}",
                               domain=c.VIR_FROM_QEMU)
        return self.qemu


NO_CERTIFICATES = Certificates()


def find_certificates() -> Certificates:
    """Those that are there."""
    return Certificates(*(path if (path / _AUTHORITY).exists() else None for path in (_QEMU, _SPICE)))
