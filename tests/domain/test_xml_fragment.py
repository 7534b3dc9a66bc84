"""Devices and CPUs that stand alone: the root element tells what it is, and libvirt's errors what it is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.corpus import every_document
from tests.support.refusals import error_of
from virtbus_domain.xml.capabilities import HostCpu
from virtbus_domain.xml.cpu import Cpu
from virtbus_domain.xml.fragment import (
    DEVICES,
    format_cpu,
    format_device,
    parse_cpu,
    parse_device,
    parse_host_cpu,
)
from virtbus_shared import constants as c

# The least of each device that is written as it is read.
LEAST_DEVICES = [
    "<disk type='file' device='disk'>\n  <source file='/a'/>\n  <target dev='vda' bus='virtio'/>\n</disk>\n",
    "<controller type='usb' index='0' model='ich9-ehci1'/>\n",
    "<interface type='network'>\n  <source network='default'/>\n  <model type='virtio'/>\n</interface>\n",
    "<serial type='pty'/>\n", "<parallel type='pty'/>\n", "<console type='pty'/>\n",
    "<channel type='unix'>\n  <target type='virtio' name='org.qemu.guest_agent.0'/>\n</channel>\n",
    "<rng model='virtio'>\n  <backend model='random'>/dev/urandom</backend>\n</rng>\n",
    "<hostdev mode='subsystem' type='usb' managed='yes'>\n  <source>\n    <vendor id='0x0781'/>\n"
    "    <product id='0x5151'/>\n  </source>\n</hostdev>\n",
    "<watchdog model='i6300esb' action='reset'/>\n",
]


class TestDevice:
    """What attachDevice, updateDevice and detachDevice take."""

    @pytest.mark.parametrize("text", LEAST_DEVICES)
    def test_a_device_is_read_by_its_tag_and_written_back(self, text: str) -> None:
        """The tag picks the model, and serial ports stay apart from consoles."""
        device = parse_device(text)
        assert text.startswith(f"<{device.tag} ")
        assert isinstance(device.device, DEVICES[device.tag])
        assert format_device(device) == text

    @pytest.mark.parametrize("tag", ["foo", "domain", "cpu", "emulator", "redirfilter", "crypto", "pstore", "metadata"])
    def test_what_is_no_device_is_refused(self, tag: str) -> None:
        """As libvirt 9.0.0 refuses it, also what stands beside devices in a domain."""
        assert error_of(parse_device, f"<{tag}/>") == (
            c.VIR_ERR_CONFIG_UNSUPPORTED, c.VIR_FROM_DOMAIN, f"unsupported configuration: unknown device type '{tag}'")

    @pytest.mark.parametrize("text", ["", "<disk", "<!DOCTYPE a><disk/>"])
    def test_ill_formed_text_is_refused_under_libvirts_label(self, text: str) -> None:
        """"(device_definition)" is what it calls such a document."""
        code, domain, message = error_of(parse_device, text)
        assert (code, domain) == (c.VIR_ERR_XML_DETAIL, c.VIR_FROM_DOMAIN)
        assert message.startswith("(device_definition):1: ")

    def test_a_password_is_written_on_request(self) -> None:
        """As in the domain's document."""
        device = parse_device("<graphics type='vnc' port='5900' passwd='secret'/>")
        assert "passwd" not in format_device(device)
        assert "passwd='secret'" in format_device(device, secure=True)

    def test_a_generated_alias_belongs_to_a_running_device(self) -> None:
        """As in the domain's document."""
        device = parse_device("<watchdog model='i6300esb'><alias name='watchdog0'/></watchdog>")
        assert "alias" not in format_device(device)
        assert "<alias name='watchdog0'/>" in format_device(device, live=True)

    @every_document("fragment")
    def test_real_parts_keep_their_meaning(self, document: Path) -> None:
        """Devices and CPUs are the same when written and read again; the rest is no device, for libvirt either."""
        text = document.read_text()
        tag = re.search(r"<(\w+)", text)
        assert tag
        match tag[1]:
            case "cpu":
                cpu = parse_cpu(text)
                assert parse_cpu(format_cpu(cpu)) == cpu
            case "blkiotune":
                assert error_of(parse_device, text)[0] == c.VIR_ERR_CONFIG_UNSUPPORTED
            case "sound":  # of a model that no libvirt knows
                assert error_of(parse_device, text)[:2] == (c.VIR_ERR_XML_ERROR, c.VIR_FROM_XML)
            case _:
                device = parse_device(text)
                assert parse_device(format_device(device, live=True)) == device


HOST_CPU = ("<cpu>\n  <arch>x86_64</arch>\n  <model>Skylake-Client</model>\n  <vendor>Intel</vendor>\n"
            "  <topology sockets='1' cores='2' threads='1'/>\n  <feature name='x2apic'/>\n</cpu>\n")
GUEST_CPU = ("<cpu mode='custom' match='exact'>\n  <model fallback='forbid'>qemu64</model>\n"
             "  <feature policy='require' name='x2apic'/>\n</cpu>\n")


class TestCpu:
    """What compareCPU and baselineCPU take."""

    def test_an_architecture_makes_it_a_hosts(self) -> None:
        """Each kind is read into its own model and written back."""
        assert isinstance(parse_cpu(HOST_CPU), HostCpu)
        assert isinstance(parse_cpu(GUEST_CPU), Cpu)
        for text in (HOST_CPU, GUEST_CPU):
            assert format_cpu(parse_cpu(text)) == text

    @pytest.mark.parametrize(("text", "code", "detail"), [
        ("<foo/>", c.VIR_ERR_XML_ERROR, "XML error: XML does not contain expected 'cpu' element"),
        ("<cpu match='exact'><arch>x86_64</arch></cpu>", c.VIR_ERR_XML_ERROR,
         "XML error: 'arch' element cannot be used inside 'cpu' element with 'match' attribute'"),
        ("<cpu mode='custom'><arch>x86_64</arch></cpu>", c.VIR_ERR_CONFIG_UNSUPPORTED,
         "unsupported configuration: Attribute mode is only allowed for guest CPU"),
        ("<cpu><arch/></cpu>", c.VIR_ERR_XML_ERROR, "XML error: Missing CPU architecture"),
        ("<cpu><arch>foo</arch><model>x</model></cpu>", c.VIR_ERR_CONFIG_UNSUPPORTED,
         "unsupported configuration: Unknown architecture foo"),
        ("<cpu><arch>x86_64</arch></cpu>", c.VIR_ERR_XML_ERROR, "XML error: Missing CPU model name"),
        ("<cpu><arch>x86_64</arch><model>m</model><feature/></cpu>", c.VIR_ERR_XML_ERROR,
         "XML error: Invalid CPU feature name"),
        ("<cpu><arch>x86_64</arch><model>m</model><feature name='a'/><feature name='a'/></cpu>", c.VIR_ERR_XML_ERROR,
         "XML error: CPU feature 'a' specified more than once"),
    ])
    def test_refusals_are_libvirts(self, text: str, code: int, detail: str) -> None:
        """Code, domain and words of libvirt 9.0.0's compareCPU."""
        assert error_of(parse_cpu, text) == (code, c.VIR_FROM_CPU, detail)

    def test_a_baseline_is_made_of_hosts(self) -> None:
        """A guest's CPU has no architecture, which baselineCPU asks for first."""
        assert parse_host_cpu(HOST_CPU).arch == "x86_64"
        assert error_of(parse_host_cpu, "<cpu><model>qemu64</model></cpu>")[2] == "XML error: Missing CPU architecture"
