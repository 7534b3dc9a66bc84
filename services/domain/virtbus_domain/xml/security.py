"""What protects host and guest from each other: labels of the host's security drivers, keys of the guest's
processor, and memory that the host cannot read."""

from __future__ import annotations

from typing import Any

from virtbus_domain.xml.platform_values import POLICY, xml_error
from virtbus_shared.service.xml import attr, element, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, UINT, YESNO, words


def _is_generated(label: Any, seclabel: Seclabel) -> bool:
    return seclabel.type in (None, "dynamic")


@element
class Seclabel(Element):
    """How one security driver (``model``) labels the guest's process and files; a generated label lives with it."""

    type: str | None = attr("@type", words("none", "dynamic", "static"))
    model: str | None = attr("@model")
    relabel: bool | None = attr("@relabel", YESNO)
    label: str | None = text("label", live=_is_generated)
    imagelabel: str | None = text("imagelabel", live=True)
    baselabel: str | None = text("baselabel")


@element
class KeywrapCipher(Element):
    """A cipher whose wrapped keys the guest may use."""

    name: str | None = attr("@name", words("aes", "dea"), required=True)
    state: bool | None = attr("@state", ONOFF, required=True)


@element
class LaunchSecurity(Element):
    """Memory encryption of the guest, by ``type``; policies are bits of the processor's own meaning."""

    type: str | None = attr("@type", words("sev", "sev-snp", "tdx", "s390-pv"), required=True)
    kernel_hashes: bool | None = attr("@kernelHashes", YESNO)
    author_key: bool | None = attr("@authorKey", YESNO)
    vcek: bool | None = attr("@vcek", YESNO)
    cbitpos: int | None = text("cbitpos", UINT,
                              error=xml_error("Invalid format for launch security cbitpos"))
    reduced_phys_bits: int | None = text("reducedPhysBits", UINT,
                                        error=xml_error("Invalid format for launch security reduced-phys-bits"))
    policy: int | None = text("policy", POLICY, error=xml_error("failed to get launch security policy"))
    dh_cert: str | None = text("dhCert")
    session: str | None = text("session")
    guest_visible_workarounds: str | None = text("guestVisibleWorkarounds")
    id_block: str | None = text("idBlock")
    id_auth: str | None = text("idAuth")
    host_data: str | None = text("hostData")
    mr_config_id: str | None = text("mrConfigId")
    mr_owner: str | None = text("mrOwner")
    mr_owner_config: str | None = text("mrOwnerConfig")
    quote_generation_service: str | None = attr("quoteGenerationService/@path")
