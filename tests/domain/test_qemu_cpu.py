"""The value of ``-cpu``: against recorded answers of libvirt, against libvirt itself, and as QEMU reads it."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import embed
from tests.support.components import require_program
from virtbus_domain.drivers.qemu import kvm
from virtbus_domain.drivers.qemu.capabilities import Accelerator, QemuCapabilities
from virtbus_domain.drivers.qemu.capabilities_probe import asked, probe
from virtbus_domain.drivers.qemu.command.cpu import cpu_argument, expand_cpu, verify_cpu
from virtbus_domain.drivers.qemu.cpu_models import CpuModel, HostModel
from virtbus_domain.xml import format_domain, parse_domain
from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


class Case(NamedTuple):
    """What a domain says of its processor, and libvirt's answer: the value, or code and message of its refusal."""

    answer: str | tuple[int, str]
    cpu: str = ""
    features: str = ""
    timers: str = ""
    type: str = "qemu"
    arch: str = "x86_64"

    def document(self, machine: str = "q35") -> str:
        """The domain."""
        return (f"<domain type='{self.type}'><name>t</name><memory>65536</memory><vcpu>1</vcpu>"
                f"<os><type arch='{self.arch}' machine='{machine}'>hvm</type></os>"
                f"<features><acpi/>{self.features}</features>{self.cpu}"
                f"<clock offset='utc'>{self.timers}</clock><devices/></domain>")


def custom(answer: str | tuple[int, str], model: str, inside: str = "", attributes: str = "") -> Case:
    """A named model."""
    return Case(answer, f"<cpu mode='custom' match='exact'{attributes}><model>{model}</model>{inside}</cpu>")


def feature(name: str, policy: str = "require") -> str:
    """One ``feature`` element."""
    return f"<feature name='{name}' policy='{policy}'/>"


def hyperv(answer: str | tuple[int, str], inside: str) -> Case:
    """Enlightenments of Hyper-V."""
    return Case(answer, features=f"<hyperv mode='custom'>{inside}</hyperv>")


PASSTHROUGH = "<cpu mode='host-passthrough' migratable='on'>{}</cpu>"
EVERYTHING = ("<relaxed state='on'/><vapic state='on'/><spinlocks state='on' retries='8191'/><vpindex state='on'/>"
              "<runtime state='on'/><synic state='on'/><stimer state='on'><direct state='on'/></stimer>"
              "<reset state='on'/><vendor_id state='on' value='KVM Hv'/><frequencies state='on'/>"
              "<reenlightenment state='on'/><tlbflush state='on'/><ipi state='on'/><evmcs state='on'/>"
              "<avic state='on'/>")
SWITCHES = ("relaxed", "vapic", "vpindex", "runtime", "synic", "stimer", "reset", "frequencies", "reenlightenment",
            "tlbflush", "ipi", "evmcs", "avic")
# libvirt's names of features, and QEMU's where they differ.
RENAMED = {"pclmuldq": "pclmulqdq", "ds_cpl": "ds-cpl", "tsc_adjust": "tsc-adjust", "fxsr_opt": "fxsr-opt",
           "lahf_lm": "lahf-lm", "cmp_legacy": "cmp-legacy", "nodeid_msr": "nodeid-msr",
           "perfctr_core": "perfctr-core", "perfctr_nb": "perfctr-nb"}
KEPT = ("sse4.1", "sse4.2", "tsc-deadline", "avx512-vpopcntdq", "3dnowprefetch", "sha-ni", "svm-lock", "amd-stibp",
        "skip-l1dfl-vmentry", "arch-capabilities", "nrip-save")
WITHOUT = ("osxsave", "ospke", "cmt", "mbm_total", "mbm_local")

CASES: Mapping[str, Case] = {
    # the model
    "nothing said": Case("qemu64"),
    "nothing said, 32 bit": Case("qemu32", arch="i686"),
    "nothing said, KVM": Case("qemu64", type="kvm"),
    "topology only": Case("qemu64", "<cpu><topology sockets='1' cores='1' threads='1'/></cpu>"),
    "named": custom("Skylake-Client-IBRS", "Skylake-Client-IBRS"),
    "named, 32 bit": Case("pentium3", "<cpu><model>pentium3</model></cpu>", arch="i686"),
    "unknown model": custom((1, "internal error: Unknown CPU model nosuch"), "nosuch"),
    "words that are no model": custom((1, "internal error: Unknown CPU model max"), "max"),
    "stands in": custom("kvm64,lahf-lm=on", "cpu64-rhel6"),
    "stands in with less": custom("qemu32,pni=off", "pentiumpro"),
    "may not stand in": Case((67, "unsupported configuration: CPU model Icelake-Client is not supported by hypervisor"),
                             "<cpu><model fallback='forbid'>Icelake-Client</model></cpu>"),
    "vendor's letters": Case("EPYC,vendor=GenuineIntel,monitor=off",
                             "<cpu><model vendor_id='GenuineIntel'>EPYC</model></cpu>"),
    "left out of the model": custom("EPYC,monitor=off", "EPYC"),
    "left out of the model, Intel": custom("Icelake-Server,intel-pt=off", "Icelake-Server"),
    "not left out when asked for": custom("EPYC,monitor=on", "EPYC", feature("monitor")),
    "maximum": Case("max", "<cpu mode='maximum'/>"),
    "maximum, migratable": Case("max,migratable=on", "<cpu mode='maximum' migratable='on'/>"),
    "maximum, not migratable": Case("max,migratable=off", "<cpu mode='maximum' migratable='off'/>", type="kvm"),
    "passthrough": Case("host,migratable=on", PASSTHROUGH.format(""), type="kvm"),
    "passthrough, not migratable": Case("host,migratable=off", "<cpu mode='host-passthrough' migratable='off'/>",
                                        type="kvm"),
    "passthrough without KVM": Case(
        (67, "unsupported configuration: CPU mode 'host-passthrough' for x86_64 qemu domain on x86_64 host is not "
             "supported by hypervisor"), PASSTHROUGH.format("")),
    # features
    "policies": custom("EPYC,svm=on,avx=off,aes=on,x2apic=off,monitor=off", "EPYC",
                       feature("svm", "optional") + feature("avx", "forbid") + feature("aes", "force")
                       + feature("x2apic", "disable")),
    "optional and there": custom("qemu64,avx=on", "qemu64", feature("avx", "optional")),
    "optional and not there": custom("qemu64,vmx=off", "qemu64", feature("vmx", "optional")),
    "optional of the maximum": Case(
        "max", f"<cpu mode='maximum'>{feature('avx', 'optional')}{feature('vmx', 'optional')}</cpu>"),
    "of the maximum": Case("max,avx=off,vmx=on",
                           f"<cpu mode='maximum'>{feature('avx', 'disable')}{feature('vmx')}</cpu>"),
    "of the host": Case("host,migratable=on,svm=off,pclmulqdq=on",
                        PASSTHROUGH.format(feature("svm", "disable") + feature("pclmuldq")), type="kvm"),
    "unknown feature": custom((67, "unsupported configuration: unknown CPU feature: nosuch"), "EPYC",
                              feature("nosuch")),
    "unknown feature turned off": custom((67, "unsupported configuration: unknown CPU feature: sse4_1"), "EPYC",
                                         feature("sse4_1", "disable")),
    "two in one": custom((67, "unsupported configuration: unknown CPU feature: avx=on,vmx"), "EPYC",
                         feature("avx=on,vmx")),
    "a property that is no feature": custom((67, "unsupported configuration: unknown CPU feature: level"), "EPYC",
                                            feature("level")),
    "never there": custom("qemu64", "qemu64", feature("pconfig", "disable") + feature("cvt16", "disable")),
    "QEMU's spellings": Case(
        "max," + ",".join(f"{name}=off" for name in (*RENAMED.values(), *KEPT)),
        "<cpu mode='maximum'>" + "".join(feature(name, "disable") for name in (*RENAMED, *WITHOUT, *KEPT)) + "</cpu>"),
    # fit for the host
    "not fit": custom((91, "the CPU is incompatible with host CPU: Host CPU does not provide required features: vmx"),
                      "qemu64", feature("vmx"), " check='partial'"),
    "fit": custom("Westmere,avx=on", "Westmere", feature("avx"), " check='partial'"),
    "fit by force": custom("qemu64,vmx=on", "qemu64", feature("vmx", "force"), " check='partial'"),
    "too much": custom((91, "the CPU is incompatible with host CPU: Host CPU provides forbidden features: avx"),
                       "qemu64", feature("avx", "forbid"), " check='partial'"),
    "another's": custom((91, "the CPU is incompatible with host CPU: host CPU vendor does not match required CPU "
                             "vendor Intel"), "qemu64", "<vendor>Intel</vendor>", " check='partial'"),
    "vendor's own": custom("qemu64", "qemu64", "<vendor>AMD</vendor>", " check='partial'"),
    "not asked whether it is fit": custom("qemu64,vmx=on", "qemu64", "<vendor>Intel</vendor>" + feature("vmx"),
                                          " check='none'"),
    "host model with more than there is": Case(
        (91, "the CPU is incompatible with host CPU: Host CPU does not provide required features: avx512f"),
        f"<cpu mode='host-model' check='partial'>{feature('avx512f')}</cpu>"),
    # caches, addresses
    "cache of a named model": custom("Westmere,l3-cache=on", "Westmere", "<cache mode='emulate' level='3'/>"),
    "no cache for a named model": custom("Westmere,l3-cache=off", "Westmere", "<cache mode='disable'/>"),
    "host's cache": Case("host,migratable=on,host-cache-info=on,l3-cache=off",
                         PASSTHROUGH.format("<cache mode='passthrough'/>"), type="kvm"),
    "a cache for the host's CPU": Case("host,migratable=on,l3-cache=on,host-cache-info=off",
                                       PASSTHROUGH.format("<cache mode='emulate' level='3'/>"), type="kvm"),
    "no cache for the host's CPU": Case("host,migratable=on,host-cache-info=off,l3-cache=off",
                                        PASSTHROUGH.format("<cache mode='disable'/>"), type="kvm"),
    "width": custom("Westmere,phys-bits=42", "Westmere", "<maxphysaddr mode='emulate' bits='42'/>"),
    "host's width": Case("max,host-phys-bits=on", "<cpu mode='maximum'><maxphysaddr mode='passthrough'/></cpu>"),
    # enlightenments
    **{f"hyperv {name}": hyperv(f"qemu64,hv-{name}=on", f"<{name} state='on'/>") for name in SWITCHES},
    **{f"hyperv no {name}": hyperv("qemu64", f"<{name} state='off'/>") for name in SWITCHES},
    "hyperv spinlocks": hyperv("qemu64,hv-spinlocks=0xfff", "<spinlocks state='on' retries='4095'/>"),
    "hyperv no spinlocks": hyperv("qemu64", "<spinlocks state='off'/>"),
    "hyperv vendor": hyperv("qemu64,hv-vendor-id=KVM Hv", "<vendor_id state='on' value='KVM Hv'/>"),
    "hyperv no vendor": hyperv("qemu64", "<vendor_id state='off' value='x'/>"),
    "hyperv direct timers": hyperv("qemu64,hv-stimer=on,hv-stimer-direct=on",
                                   "<stimer state='on'><direct state='on'/></stimer>"),
    "hyperv no direct timers": hyperv("qemu64,hv-stimer=on", "<stimer state='on'><direct state='off'/></stimer>"),
    "hyperv everything": hyperv(
        "qemu64,hv-relaxed=on,hv-vapic=on,hv-spinlocks=0x1fff,hv-vpindex=on,hv-runtime=on,hv-synic=on,hv-stimer=on,"
        "hv-stimer-direct=on,hv-reset=on,hv-vendor-id=KVM Hv,hv-frequencies=on,hv-reenlightenment=on,hv-tlbflush=on,"
        "hv-ipi=on,hv-evmcs=on,hv-avic=on", EVERYTHING),
    "hyperv of the host": Case("host,migratable=on,hv-passthrough=on,hv-relaxed=on", PASSTHROUGH.format(""),
                               "<hyperv mode='passthrough'><relaxed state='on'/></hyperv>", type="kvm"),
    "KVM hidden": Case("qemu64,kvm=off", features="<kvm><hidden state='on'/></kvm>"),
    "KVM not hidden": Case("qemu64", features="<kvm><hidden state='off'/></kvm>"),
    "KVM dedicated": Case("host,migratable=on,kvm-hint-dedicated=on", PASSTHROUGH.format(""),
                          "<kvm><hint-dedicated state='on'/></kvm>", type="kvm"),
    "KVM polls": Case("qemu64,kvm-poll-control=on", features="<kvm><poll-control state='on'/></kvm>", type="kvm"),
    "KVM paravirtual": Case("qemu64", features="<kvm><pv-ipi state='on'/></kvm>", type="kvm"),
    "KVM not paravirtual": Case("qemu64,kvm-pv-ipi=off", features="<kvm><pv-ipi state='off'/></kvm>", type="kvm"),
    "KVM on 32 bit": Case("qemu32,kvm=off", features="<kvm><hidden state='on'/></kvm>", arch="i686"),
    "end of interrupt": Case("qemu64,kvm-pv-eoi=off", features="<apic eoi='off'/>"),
    "plain interrupt controller": Case("qemu64", features="<apic/>"),
    "spinlocks": Case("qemu64,kvm-pv-unhalt=on", features="<pvspinlock/>", type="kvm"),
    "no spinlocks": Case("qemu64,kvm-pv-unhalt=off", features="<pvspinlock state='off'/>", type="kvm"),
    "performance counters": Case("qemu64,pmu=on", features="<pmu/>"),
    "no performance counters": Case("qemu64,pmu=off", features="<pmu state='off'/>"),
    # timers
    "KVM clock": Case("qemu64,kvmclock=on", timers="<timer name='kvmclock' present='yes'/>"),
    "no KVM clock": Case("qemu64,kvmclock=off", timers="<timer name='kvmclock' present='no'/>"),
    "KVM clock not decided": Case("qemu64", timers="<timer name='kvmclock'/>"),
    "Hyper-V clock": Case("qemu64,hv-time=on", timers="<timer name='hypervclock' present='yes'/>"),
    "no Hyper-V clock": Case("qemu64", timers="<timer name='hypervclock' present='no'/>"),
    "another clock": Case("qemu64", timers="<timer name='tsc' mode='native' present='yes'/>"),
    # in which order
    "order": Case(
        "host,migratable=on,svm=off,hv-time=on,kvmclock=off,kvm-pv-eoi=on,kvm-pv-unhalt=on,hv-relaxed=on,"
        "kvm=off,kvm-pv-ipi=off,pmu=off,host-cache-info=on,l3-cache=off,host-phys-bits=on",
        PASSTHROUGH.format("<cache mode='passthrough'/><maxphysaddr mode='passthrough'/>" + feature("svm", "disable")),
        "<pvspinlock state='on'/><apic eoi='on'/><hyperv><relaxed state='on'/></hyperv>"
        "<kvm><hidden state='on'/><pv-ipi state='off'/></kvm><pmu state='off'/>",
        "<timer name='hypervclock' present='yes'/><timer name='kvmclock' present='no'/>", type="kvm"),
}


@pytest.fixture(scope="module")
def emulators() -> dict[str, QemuCapabilities]:
    """What the emulators of this machine answered, by architecture."""
    return {arch: asyncio.run(probe(require_program(f"qemu-system-{name}")))
            for arch, name in (("x86_64", "x86_64"), ("i686", "i386"))}


@pytest.fixture(scope="module")
def capabilities(emulators: dict[str, QemuCapabilities]) -> QemuCapabilities:
    """Those of the 64-bit one."""
    return emulators["x86_64"]


def read(case: Case, capabilities: QemuCapabilities) -> Domain:
    """The domain, with a machine type that this emulator has."""
    return parse_domain(case.document(capabilities.canonical_machine("q35").name))


def value(case: Case, capabilities: QemuCapabilities) -> str | tuple[int, str] | None:
    """Our answer."""
    try:
        return cpu_argument(read(case, capabilities), capabilities)
    except LibvirtError as error:
        return error.code, error.message


def refusal(domain: Domain, capabilities: QemuCapabilities) -> tuple[int, str]:
    """The code and message of our refusal."""
    with pytest.raises(LibvirtError) as error:
        cpu_argument(domain, capabilities)
    return error.value.code, error.value.message


class TestAgainstLibvirt:
    """What libvirt 9.0.0 makes of the same documents."""

    @pytest.mark.parametrize("name", CASES)
    def test_recorded(self, name: str, emulators: dict[str, QemuCapabilities]) -> None:
        """The value, or the refusal, is the one that was recorded."""
        assert value(CASES[name], emulators[CASES[name].arch]) == CASES[name].answer

    def test_libvirt_still_says_so(self) -> None:
        """The record is what libvirt answers here and now."""
        asked = {name: case for name, case in CASES.items() if case.type == "qemu" or kvm.unavailable() is None}
        answers = embed.ask([embed.Request("argv", case.document()) for case in asked.values()])
        assert {name: _value_of_libvirt(answer) for name, answer in zip(asked, answers, strict=True)} \
            == {name: case.answer for name, case in asked.items()}

    @pytest.mark.parametrize("cpu", [
        "<cpu mode='host-model'/>",
        "<cpu match='minimum'><model>qemu64</model></cpu>",
        f"<cpu mode='host-model'>{feature('aes', 'disable')}{feature('avx512f', 'optional')}</cpu>",
        "<cpu mode='host-model'><model vendor_id='GenuineIntel'/></cpu>",
    ])
    def test_host_model(self, cpu: str, capabilities: QemuCapabilities) -> None:
        """libvirt's words for the host's CPU and ours differ, as it has a database of its own; the CPU that QEMU
        makes of them is the same to the last bit."""
        case = Case("", cpu)
        ours, = [value(case, capabilities)]
        libvirts, = [_value_of_libvirt(answer) for answer in embed.ask([embed.Request("argv", case.document())])]
        assert isinstance(ours, str)
        assert isinstance(libvirts, str)
        assert _as_qemu_reads(ours, capabilities.binary) == _as_qemu_reads(libvirts, capabilities.binary)


def _value_of_libvirt(answer: embed.Answer) -> str | tuple[int, str]:
    if not isinstance(answer, str):
        return answer.code, answer.message
    words = shlex.split(answer)
    return words[words.index("-cpu") + 1]


def _as_qemu_reads(argument: str, binary: Path) -> Any:
    """The CPU that QEMU makes of it, as the properties that it then has."""
    name, *words = argument.split(",")
    switches: dict[str, object] = {"on": True, "off": False}
    properties = {key: switches.get(text, text) for key, text in (word.split("=") for word in words)}

    async def ask() -> Any:
        async with asked(binary, ["tcg"]) as monitor:
            return await monitor.execute("query-cpu-model-expansion",
                                         {"type": "static", "model": {"name": name, "props": properties}})
    return asyncio.run(ask())


class TestExpanded:
    """The CPU as the running domain's document tells it."""

    def test_host_model(self, capabilities: QemuCapabilities) -> None:
        """It is a named model, of a vendor, with every difference said; topology and the user's own words stay."""
        tcg = capabilities.tcg
        assert tcg is not None
        assert tcg.host_model is not None
        case = Case("", f"<cpu mode='host-model' check='partial'><topology sockets='1' cores='1' threads='1'/>"
                        f"{feature('aes', 'disable')}{feature('vmx', 'optional')}</cpu>")
        domain = read(case, capabilities)
        domain.cpu = expand_cpu(domain, capabilities)
        text = format_domain(domain, live=True)
        assert "<cpu mode='custom' match='exact' check='partial'>" in text
        assert f"<model fallback='forbid'>{tcg.host_model.name}</model>" in text
        assert "<vendor>AMD</vendor>" in text
        assert "<topology sockets='1'" in text
        assert "<feature policy='disable' name='aes'/>" in text
        assert "<feature policy='disable' name='vmx'/>" in text
        assert cpu_argument(domain, capabilities) == value(case, capabilities)  # expanding it again changes nothing

    def test_libvirts_spelling(self, capabilities: QemuCapabilities) -> None:
        """The document has libvirt's names of features, the command line QEMU's."""
        assert capabilities.tcg is not None
        host = HostModel("Westmere", "GenuineIntel", ("fxsr-opt",), ("pclmulqdq",))
        capabilities = replace(capabilities, tcg=replace(capabilities.tcg, host_model=host))
        domain = read(Case("", "<cpu mode='host-model'/>"), capabilities)
        assert cpu_argument(domain, capabilities) == "Westmere,fxsr-opt=on,pclmulqdq=off"
        domain.cpu = expand_cpu(domain, capabilities)
        text = format_domain(domain, live=True)
        assert "<vendor>Intel</vendor>" in text
        assert "<feature policy='require' name='fxsr_opt'/>" in text
        assert "<feature policy='disable' name='pclmuldq'/>" in text

    @pytest.mark.parametrize("cpu", ["", "<cpu mode='maximum'/>",
                                     "<cpu><topology sockets='1' cores='1' threads='1'/></cpu>"])
    def test_nothing_to_expand(self, cpu: str, capabilities: QemuCapabilities) -> None:
        """What says nothing of its own, or all that there is, stays as it is."""
        domain = read(Case("", cpu), capabilities)
        assert expand_cpu(domain, capabilities) is domain.cpu

    def test_given_document_stays(self, capabilities: QemuCapabilities) -> None:
        """The definition itself does not change."""
        domain = read(custom("", "EPYC", feature("vmx", "optional")), capabilities)
        before = format_domain(domain, live=False)
        expand_cpu(domain, capabilities)
        assert format_domain(domain, live=False) == before

    def test_no_host_model(self, capabilities: QemuCapabilities) -> None:
        """Where there is no nearest model, or KVM has not been asked, the mode is refused in libvirt's words."""
        domain = read(Case("", "<cpu mode='host-model'/>", type="kvm"), capabilities)
        code, message = refusal(domain, capabilities)
        assert code == c.VIR_ERR_CONFIG_UNSUPPORTED
        assert "CPU mode 'host-model' for x86_64 kvm domain on " in message


class TestFitness:
    """Whether a host is fit for a CPU."""

    def accelerator(self, capabilities: QemuCapabilities, *lacks: str, model: str = "Westmere") -> QemuCapabilities:
        """An emulator whose accelerator lacks these features of a model."""
        found = Accelerator((CpuModel(model, f"{model}-x86_64-cpu", lacks, False),),
                            frozenset({"aes", "avx", "monitor", "vmx"}), frozenset({"avx"}), None, frozenset(), None)
        return replace(capabilities, tcg=found)

    def test_model_lacks(self, capabilities: QemuCapabilities) -> None:
        """What is missing of the model is told by libvirt's names, but for what the domain does not insist on."""
        lacking = self.accelerator(capabilities, "aes", "pclmulqdq", "fxsr-opt", "rdseed", "adx")
        inside = feature("aes", "disable") + feature("rdseed", "optional") + feature("adx", "force")
        code, message = refusal(read(custom("", "Westmere", inside, " check='partial'"), capabilities), lacking)
        assert code == c.VIR_ERR_CPU_INCOMPATIBLE
        assert message.endswith("required features: pclmuldq, fxsr_opt")

    @pytest.mark.parametrize(("model", "lacks"), [
        ("EPYC", ("topoext", "nrip-save")), ("EPYC-Rome", ("xsaves",)), ("Haswell", ("vmx-ept",)),
        ("Cascadelake-Server-noTSX", ("arch-capabilities", "rdctl-no"))])
    def test_dispensable(self, capabilities: QemuCapabilities, model: str, lacks: tuple[str, ...]) -> None:
        """What libvirt does not count as part of a model makes no host unfit for it."""
        answer = value(custom("", model, attributes=" check='partial'"),
                       self.accelerator(capabilities, *lacks, model=model))
        assert isinstance(answer, str)

    def test_strict(self, capabilities: QemuCapabilities) -> None:
        """That a host has nothing beside the CPU is not known here, so it is not promised."""
        strict = "<cpu match='strict' check='{}'><model>qemu64</model></cpu>"
        code, message = refusal(read(Case("", strict.format("partial")), capabilities), capabilities)
        assert code == c.VIR_ERR_CONFIG_UNSUPPORTED
        assert "/domain/cpu[@match='strict']" in message
        assert value(Case("", strict.format("none")), capabilities) == "qemu64"

    @pytest.mark.parametrize("policy", ["require", "force"])
    def test_full(self, capabilities: QemuCapabilities, policy: str) -> None:
        """A domain that insists on every feature is not started without one of them, even a forced one."""
        case = custom("", "qemu64", feature("vmx", policy), " check='full'")
        with pytest.raises(LibvirtError) as error:
            verify_cpu(read(case, capabilities), capabilities)
        assert error.value.code == c.VIR_ERR_OPERATION_FAILED
        assert error.value.message.endswith("guest CPU doesn't match specification: missing features: vmx")
        verify_cpu(read(custom("", "qemu64", feature("avx"), " check='full'"), capabilities), capabilities)
        verify_cpu(read(custom("", "qemu64", feature("vmx"), " check='none'"), capabilities), capabilities)


class TestSafety:
    """Nothing that a user wrote can become another property."""

    @pytest.mark.parametrize(("cpu", "path"), [
        ("<cpu><model>qemu64,enforce=on</model></cpu>", "/domain/cpu/model"),
        ("<cpu><model>qemu64</model><feature name='avx=on,vmx'/></cpu>", "/domain/cpu/feature/@name"),
        ("<cpu mode='maximum'><feature name='avx=on,vmx'/></cpu>", "/domain/cpu/feature/@name"),
    ])
    def test_refused(self, cpu: str, path: str, capabilities: QemuCapabilities) -> None:
        """Words with commas are refused by their path, also when the emulator told nothing to compare them with."""
        silent = replace(capabilities, tcg=None)
        code, message = refusal(read(Case("", cpu), capabilities), silent)
        assert code == c.VIR_ERR_CONFIG_UNSUPPORTED
        assert message.endswith(f"(at {path})")

    @pytest.mark.parametrize("letters", ["AMD,enforce=", "a\nb", "", "1234567890123", "k\xf6nig"])
    def test_letters_refused(self, letters: str, capabilities: QemuCapabilities) -> None:
        """The letters of a vendor are printable and few; the document's reader says so too, in its own way."""
        domain = read(Case("", "<cpu><model vendor_id='AuthenticAMD'>qemu64</model></cpu>",
                           "<hyperv><vendor_id state='on' value='x'/></hyperv>"), capabilities)
        assert domain.features is not None
        assert domain.features.hyperv is not None
        domain.features.hyperv.vendor_id_value = letters
        assert refusal(domain, capabilities)[1].endswith("(at /domain/features/hyperv/vendor_id/@value)")
        if letters:
            assert domain.cpu is not None
            assert domain.cpu.model is not None
            domain.cpu.model.vendor_id = letters
            assert refusal(domain, capabilities)[1].endswith("(at /domain/cpu/model/@vendor_id)")

    def test_emulator_that_tells_nothing(self, capabilities: QemuCapabilities) -> None:
        """Names are taken as they are where an emulator does not tell its own; without any there is no option."""
        silent = replace(capabilities, tcg=None)
        assert value(custom("", "cortex-a57", feature("sve")), silent) == "cortex-a57,sve=on"
        assert value(Case(""), silent) is None
