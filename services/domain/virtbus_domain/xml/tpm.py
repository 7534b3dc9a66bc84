"""TPM devices: a guest's own keys and measurements, kept by the host's TPM chip or by an emulator."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element, flag, sub
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import UUID, YESNO, words

PCR_BANKS = ("sha1", "sha256", "sha384", "sha512")
# What libvirt reads of a back end, by its type.
BACKEND_FIELDS: dict[str, tuple[str, ...]] = {
    "passthrough": ("device_path",),
    "emulator": ("version", "persistent_state", "encryption_secret", *PCR_BANKS),
    "external": ("source_type", "source_mode", "source_path"),
}


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
    source_type: str | None = attr("source/@type", words("unix"), error=(
        c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown backend type '{value}' for external TPM"))
    source_mode: str | None = attr("source/@mode", words("connect"), error=(
        c.VIR_ERR_XML_ERROR, "only 'client' mode is supported for external TPM device"))
    source_path: str | None = attr("source/@path")
    sha1: bool = flag("active_pcr_banks/sha1")
    sha256: bool = flag("active_pcr_banks/sha256")
    sha384: bool = flag("active_pcr_banks/sha384")
    sha512: bool = flag("active_pcr_banks/sha512")

    @property
    def active_pcr_banks(self) -> list[str]:
        """The hashes by which the emulator measures; none stands for its own choice."""
        return [bank for bank in PCR_BANKS if getattr(self, bank)]


@element
class Tpm(Element):
    """One TPM, and how the guest speaks to it."""

    model: str | None = attr("@model", words("tpm-tis", "tpm-crb", "tpm-spapr", "spapr-tpm-proxy"))
    backend: TpmBackend | None = sub("backend", TpmBackend)
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
