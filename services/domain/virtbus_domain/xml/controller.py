"""Controllers: the buses that other devices sit on."""

from __future__ import annotations

from virtbus_domain.xml.address import address, alias
from virtbus_shared.service.xml import attr, element, raw
from virtbus_shared.service.xml_lines import Element, Raw
from virtbus_shared.service.xml_values import INT, words

TYPES = ("ide", "fdc", "scsi", "sata", "virtio-serial", "ccid", "usb", "pci", "xenbus", "isa")


@element
class Controller(Element):
    """One controller; type and ``index`` are what device addresses refer to."""

    type: str | None = attr("@type", words(*TYPES))
    index: int | None = attr("@index", INT)
    model: str | None = attr("@model")
    ports: int | None = attr("@ports", INT)
    vectors: int | None = attr("@vectors", INT)
    driver: tuple[Raw, ...] = raw("driver")
    hardware_model: tuple[Raw, ...] = raw("model")
    target: tuple[Raw, ...] = raw("target")
    alias: str | None = alias()
    master: tuple[Raw, ...] = raw("master")
    address: Element | None = address()
    pcihole64: tuple[Raw, ...] = raw("pcihole64")
