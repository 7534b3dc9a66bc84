"""Shared memory between domains: a region that a guest sees as the memory of a PCI device."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias
from virtbus_domain.xml.values import UINT_OR_ZERO, ULONG_OR_ZERO
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element, sub, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, words

MODELS = ("ivshmem", "ivshmem-plain", "ivshmem-doorbell")


@element
class ShmemServer(Element):
    """The socket of the server that hands the region to several guests, and interrupts between them."""

    path: str | None = attr("@path")


@element
class ShmemMsi(Element):
    """How many interrupts the device has, and whether the kernel delivers them without waking QEMU."""

    vectors: int | None = attr("@vectors", UINT_OR_ZERO)
    ioeventfd: bool | None = attr("@ioeventfd", ONOFF)


@element
class Shmem(Element):
    """A region, found by ``name``; its size in ``size_unit``, MiB in a stored definition.

    Only a master keeps it through migration.
    """

    name: str | None = attr("@name", required=(
        c.VIR_ERR_XML_ERROR, "shmem element must contain 'name' attribute"))
    role: str | None = attr("@role", words("master", "peer"))
    model: str | None = attr("model/@type", words(*MODELS))
    size_unit: str | None = attr("size/@unit")
    size: int | None = text("size/.", ULONG_OR_ZERO)
    server: ShmemServer | None = sub("server", ShmemServer)
    msi: ShmemMsi | None = sub("msi", ShmemMsi)
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
