"""Memory that another process of the host can see: what vhost-user devices and virtiofs need."""

from __future__ import annotations

from virtbus_domain.normalise.context import qemu_unsupported
from virtbus_domain.xml.domain import Domain


def require_shared_memory(domain: Domain, what: str) -> None:
    """Refuse ``what`` where not all of the guest's memory is shared. Raises ``LibvirtError``."""
    backing = domain.memory_backing
    if backing is not None and backing.access_mode == "shared":
        return
    cells = domain.cpu.numa if domain.cpu else ()
    if not cells or any(cell.mem_access != "shared" for cell in cells):
        raise qemu_unsupported(f"'{what}' requires shared memory")
