"""TPM devices: a guest's own keys and measurements, kept by the host's TPM chip or by an emulator."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias
from virtbus_domain.xml.chardev import TYPES
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element, flag, sub
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import UUID, YESNO, words

# What libvirt reads of a back end, by its type.
BACKEND_FIELDS: dict[str, tuple[str, ...]] = {
    "passthrough": ("device_path",),
    "emulator": ("version", "persistent_state", "encryption_secret", "active_pcr_banks"),
    "external": ("source_type", "source_mode", "source_path"),
}


@element(unknown_child=(c.VIR_ERR_CONFIG_UNSUPPORTED, "Unsupported PCR banks '{value}'"))
class PcrBanks(Element):
    """The hashes by which an emulator measures; none stands for its own choice."""

    sha1: bool = flag("sha1")
    sha256: bool = flag("sha256")
    sha384: bool = flag("sha384")
    sha512: bool = flag("sha512")


@element
class TpmBackend(Element):
    """Where the TPM's state is: in a device of the host, with an emulator, or with a process that listens already."""

    type: str | None = attr("@type", words("passthrough", "emulator", "external"), required=True)
    version: str | None = attr("@version", words("1.2", "2.0"))
    persistent_state: bool | None = attr("@persistent_state", YESNO, error=(
        c.VIR_ERR_INTERNAL_ERROR, "Invalid persistent_state value, either 'yes' or 'no'"))
    device_path: str | None = attr("device/@path")
    encryption_secret: str | None = attr("encryption/@secret", UUID, error=(
        c.VIR_ERR_INTERNAL_ERROR, "Unable to parse secret uuid '{value}'"))
    active_pcr_banks: PcrBanks | None = sub("active_pcr_banks", PcrBanks)
    source_type: str | None = attr("source/@type", words(*TYPES), error=(
        c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown backend type '{value}' for external TPM"))
    source_mode: str | None = attr("source/@mode", words("connect", "bind"))
    source_path: str | None = attr("source/@path")


@element
class Tpm(Element):
    """One TPM, and how the guest speaks to it."""

    model: str | None = attr("@model", words("tpm-tis", "tpm-crb", "tpm-spapr", "spapr-tpm-proxy"))
    backend: TpmBackend | None = sub("backend", TpmBackend)
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
