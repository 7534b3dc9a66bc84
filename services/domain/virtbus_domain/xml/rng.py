"""Random number generators: entropy from the host for the guest."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias
from virtbus_domain.xml.chardev import PROTOCOLS, TYPES, ChardevSource
from virtbus_domain.xml.values import UINT_OR_ZERO, VIRTIO_MODELS
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, choice, element, fixed, subs, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, Refusal, words


def _unsupported(detail: str) -> Refusal:
    return (c.VIR_ERR_CONFIG_UNSUPPORTED, detail)


@element
class RandomBackend(Element):
    """A file of the host to read from."""

    model: str = fixed("@model", "random")
    path: str | None = text(".")


@element(open_tag=True)
class EgdBackend(Element):
    """A daemon that gathers entropy, reached through a character device."""

    model: str = fixed("@model", "egd")
    type: str | None = attr("@type", words(*TYPES), error=_unsupported("unknown backend type '{value}' for egd"),
                            required=(c.VIR_ERR_XML_ERROR, "missing EGD backend type"))
    source: list[ChardevSource] = subs("source", ChardevSource, live=lambda source, egd: egd.type == "pty")
    protocol: str | None = attr("protocol/@type", words(*PROTOCOLS), error=_unsupported("Unknown protocol '{value}'"))
    log_file: str | None = attr("log/@file")
    log_append: bool | None = attr("log/@append", ONOFF)


@element
class BuiltinBackend(Element):
    """The emulator's own generator."""

    model: str = fixed("@model", "builtin")


BACKENDS: dict[str, type[RandomBackend | EgdBackend | BuiltinBackend]] = {
    "random": RandomBackend, "egd": EgdBackend, "builtin": BuiltinBackend}


@element
class Rng(Element):
    """One generator; the guest gets at most ``rate_bytes`` bytes in each ``rate_period`` milliseconds."""

    model: str | None = attr("@model", words(*VIRTIO_MODELS), error=_unsupported("unknown RNG model '{value}'"),
                             required=(c.VIR_ERR_XML_ERROR, "missing RNG device model"))
    rate_bytes: int | None = attr("rate/@bytes", UINT_OR_ZERO, error=(
        c.VIR_ERR_XML_ERROR, "invalid RNG rate bytes value"))
    rate_period: int | None = attr("rate/@period", UINT_OR_ZERO, error=(
        c.VIR_ERR_XML_ERROR, "invalid RNG rate period value"))
    backend: RandomBackend | EgdBackend | BuiltinBackend | None = choice(
        "backend", "model", BACKENDS, error=_unsupported("unknown RNG backend model '{value}'"),
        required=(c.VIR_ERR_XML_ERROR, "missing RNG device backend model"))
    driver_iommu: bool | None = attr("driver/@iommu", ONOFF)
    driver_ats: bool | None = attr("driver/@ats", ONOFF)
    driver_packed: bool | None = attr("driver/@packed", ONOFF)
    driver_page_per_vq: bool | None = attr("driver/@page_per_vq", ONOFF)
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
