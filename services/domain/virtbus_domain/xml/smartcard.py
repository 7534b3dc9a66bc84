"""Smart cards: the host's own, one made of certificates, or one at the other end of a character device."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias
from virtbus_domain.xml.chardev import PROTOCOLS, TYPES, ChardevSource
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, each, element, subs, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, Kind, Refusal, words

# What libvirt reads of a card, by its mode.
FIELDS: dict[str, tuple[str, ...]] = {
    "host-certificates": ("certificates", "database"),
    "passthrough": ("type", "source", "protocol", "log_file", "log_append"),
}


def _unsupported(detail: str) -> Refusal:
    return (c.VIR_ERR_CONFIG_UNSUPPORTED, detail)


def _read_absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError
    return path


@element
class Smartcard(Element):
    """One card in a reader: by ``mode`` with three ``certificates`` of a ``database``, or with a ``source``."""

    mode: str | None = attr("@mode", words("host", "host-certificates", "passthrough"), required=True)
    type: str | None = attr("@type", words(*TYPES),
                            error=_unsupported("unknown type presented to host for character device: {value}"))
    certificates: list[str] = each("certificate")
    database: str | None = text("database", Kind(_read_absolute),
                                error=(c.VIR_ERR_XML_ERROR, "expecting absolute path: {value}"))
    source: list[ChardevSource] = subs("source", ChardevSource, live=lambda source, card: card.type == "pty")
    protocol: str | None = attr("protocol/@type", words(*PROTOCOLS), error=_unsupported("Unknown protocol '{value}'"))
    log_file: str | None = attr("log/@file")
    log_append: bool | None = attr("log/@append", ONOFF)
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
