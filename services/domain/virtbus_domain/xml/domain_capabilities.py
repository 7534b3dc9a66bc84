"""The domain capabilities document: what a domain of one type, architecture and machine may have on this host.

Like capabilities, it is read by clients of every age: no word of it is refused, and what later versions added is here
where real documents have it. https://libvirt.org/formatdomaincaps.html tells what everything means.
"""

from __future__ import annotations

from virtbus_shared import constants as c
from virtbus_shared.service.xml import Document, attr, each, element, size, sub, subs, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import UINT, ULONG, YESNO


@element
class Enum(Element):
    """What an attribute of the domain document may be."""

    name: str | None = attr("@name")
    values: list[str] = each("value")


@element
class Supported(Element):
    """Whether a family is there at all, and what its attributes may be."""

    supported: bool | None = attr("@supported", YESNO)
    enums: list[Enum] = subs("enum", Enum)


@element
class Loader(Element):
    """Firmware images: the paths that are known here."""

    supported: bool | None = attr("@supported", YESNO)
    values: list[str] = each("value")
    enums: list[Enum] = subs("enum", Enum)


@element
class OsCapabilities(Element):
    """How a domain may boot."""

    supported: bool | None = attr("@supported", YESNO)
    enums: list[Enum] = subs("enum", Enum)
    loader: Loader | None = sub("loader", Loader)


@element
class CpuModel(Element):
    """A named CPU model; ``usable`` says whether this host can run it ("yes", "no", "unknown")."""

    fallback: str | None = attr("@fallback")
    usable: str | None = attr("@usable")
    deprecated: bool | None = attr("@deprecated", YESNO)
    vendor: str | None = attr("@vendor")
    canonical: str | None = attr("@canonical")
    name: str | None = text(".")


@element
class CpuFeature(Element):
    """A CPU feature that the mode adds to its model or takes from it."""

    policy: str | None = attr("@policy")
    name: str | None = attr("@name")


@element
class CpuBlockers(Element):
    """The features that this host lacks for a model."""

    model: str | None = attr("@model")
    features: list[str] = each("feature/@name")


@element
class CpuMode(Element):
    """A way to choose the guest's CPU; ``host-model`` has one model and its features, ``custom`` has all models."""

    name: str | None = attr("@name")
    supported: bool | None = attr("@supported", YESNO)
    enums: list[Enum] = subs("enum", Enum)
    models: list[CpuModel] = subs("model", CpuModel)
    vendor: str | None = text("vendor")
    maxphysaddr_mode: str | None = attr("maxphysaddr/@mode")
    maxphysaddr_bits: int | None = attr("maxphysaddr/@bits", UINT)
    maxphysaddr_limit: int | None = attr("maxphysaddr/@limit", UINT)
    features: list[CpuFeature] = subs("feature", CpuFeature)
    blockers: list[CpuBlockers] = subs("blockers", CpuBlockers)


@element
class DeviceCapabilities(Element):
    """The families of devices."""

    disk: Supported | None = sub("disk", Supported)
    graphics: Supported | None = sub("graphics", Supported)
    video: Supported | None = sub("video", Supported)
    hostdev: Supported | None = sub("hostdev", Supported)
    rng: Supported | None = sub("rng", Supported)
    filesystem: Supported | None = sub("filesystem", Supported)
    tpm: Supported | None = sub("tpm", Supported)
    redirdev: Supported | None = sub("redirdev", Supported)
    channel: Supported | None = sub("channel", Supported)
    crypto: Supported | None = sub("crypto", Supported)
    interface: Supported | None = sub("interface", Supported)
    panic: Supported | None = sub("panic", Supported)
    console: Supported | None = sub("console", Supported)


@element
class Sev(Element):
    """AMD's encrypted guests: where the encryption bit is, what it costs in address bits, how many there can be."""

    supported: bool | None = attr("@supported", YESNO)
    cbitpos: int | None = text("cbitpos", UINT)
    reduced_phys_bits: int | None = text("reducedPhysBits", UINT)
    max_guests: int | None = text("maxGuests", UINT)
    max_es_guests: int | None = text("maxESGuests", UINT)


@element
class SgxSection(Element):
    """Enclave memory of a NUMA node; ``size`` is in ``unit``, KiB."""

    node: int | None = attr("@node", UINT)
    size: int | None = attr("@size", ULONG)
    unit: str | None = attr("@unit")


@element
class Sgx(Element):
    """Intel's enclaves: which kinds, and how much memory there is for them in KiB."""

    supported: bool | None = attr("@supported", YESNO)
    flc: bool | None = text("flc", YESNO)
    sgx1: bool | None = text("sgx1", YESNO)
    sgx2: bool | None = text("sgx2", YESNO)
    section_size: int | None = size("section_size", "KiB")
    sections: list[SgxSection] = subs("sections/section", SgxSection)


@element
class FeatureCapabilities(Element):
    """What is not a device."""

    gic: Supported | None = sub("gic", Supported)
    vmcoreinfo: Supported | None = sub("vmcoreinfo", Supported)
    genid: Supported | None = sub("genid", Supported)
    backing_store_input: Supported | None = sub("backingStoreInput", Supported)
    backup: Supported | None = sub("backup", Supported)
    async_teardown: Supported | None = sub("async-teardown", Supported)
    s390_pv: Supported | None = sub("s390-pv", Supported)
    ps2: Supported | None = sub("ps2", Supported)
    tdx: Supported | None = sub("tdx", Supported)
    sev: Sev | None = sub("sev", Sev)
    sgx: Sgx | None = sub("sgx", Sgx)
    hyperv: Supported | None = sub("hyperv", Supported)
    launch_security: Supported | None = sub("launchSecurity", Supported)


@element
class DomainCapabilities(Element):
    """The whole document. ``domain`` is the domain type, ``path`` the emulator."""

    path: str | None = text("path")
    domain: str | None = text("domain")
    machine: str | None = text("machine")
    arch: str | None = text("arch")
    vcpu_max: int | None = attr("vcpu/@max", UINT)
    iothreads: bool | None = attr("iothreads/@supported", YESNO)
    os: OsCapabilities | None = sub("os", OsCapabilities)
    cpu_modes: list[CpuMode] = subs("cpu/mode", CpuMode)
    memory_backing: Supported | None = sub("memoryBacking", Supported)
    devices: DeviceCapabilities | None = sub("devices", DeviceCapabilities)
    features: FeatureCapabilities | None = sub("features", FeatureCapabilities)


DOMAIN_CAPABILITIES = Document(DomainCapabilities, "domainCapabilities", "domainCapabilities",
                               c.VIR_FROM_DOMAIN)


def parse_domain_capabilities(text: str) -> DomainCapabilities:
    """The domain capabilities that a document tells."""
    return DOMAIN_CAPABILITIES.parse(text)


def format_domain_capabilities(capabilities: DomainCapabilities) -> str:
    """The document as libvirt writes it."""
    return DOMAIN_CAPABILITIES.format(capabilities)
