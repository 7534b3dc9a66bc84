"""The domain document: nothing lost, nothing shown that must not be, and completed as libvirt completes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.oracle import answers
from virtbus_domain.normalise import Context, drop_runtime, normalise
from virtbus_domain.xml import format_domain, parse_domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

RICH = Path(__file__).parents[1] / "data" / "xml" / "domain" / "rich.xml"


def _test_domain(body: str, base: str = "<name>x</name><memory>1024</memory><os><type>hvm</type></os>") -> str:
    return f"<domain type='test'>{base}{body}</domain>"


def _with_devices(devices: str) -> str:
    return _test_domain(f"<devices>{devices}</devices>")


FILE = "<source file='/a'/>"

# What libvirt's test driver takes: our completed document must be its own, character by character.
ACCEPTED = {
    "least": _test_domain(""),
    "odd name": _test_domain("", "<name> </name><memory>1</memory><os><type>hvm</type></os>"),
    "other platform": _test_domain("", "<name>x</name><memory>1</memory>"
                                       "<os><type arch='x86_64' machine='pc'>hvm</type></os>"),
    "no firmware": _test_domain("", "<name>x</name><memory>1</memory><os><kernel/><type>linux</type></os>"),
    "container": _test_domain("", "<name>x</name><memory>1</memory><os><type>exe</type><init>/i</init></os>"),
    "first of two counts": _test_domain("<vcpu>4</vcpu><vcpu>5</vcpu><memory>1</memory><name>z</name>"),
    "uuid without hyphens": _test_domain("<uuid>7795EB01f6a4830479aa97f2502e193f</uuid>"),
    "units": _test_domain("<currentMemory unit='b'>99999</currentMemory>"),
    "unit of thousands": _test_domain("", "<name>x</name><memory unit='MB'>5</memory><os><type>hvm</type></os>"),
    "current above maximum": _test_domain("<currentMemory unit='GiB'>1</currentMemory>"),
    "vcpus": _test_domain("<vcpu current='2'>4</vcpu>"),
    "all vcpus": _test_domain("<vcpu current='2'>2</vcpu>"),
    "words": _test_domain("<title>a &gt; b &quot;\t'é</title><description>l1\n  l2 </description>"),
    "empty words": _test_domain("<title/><description/><bootloader/><pm/><features/>"),
    "metadata": _test_domain("<metadata>\n<!-- top --><a:f xmlns:a='urn:a'>\n\n  <a:b/>   <a:c>\n </a:c><!-- in -->"
                             "<a:d><a:e/>text <a:f/></a:d></a:f><x/><a:g xmlns:a='urn:a'/>"
                             "<b xmlns='urn:b' z='&lt;'/></metadata>"),
    "empty metadata": _test_domain("<metadata>text</metadata>"),
    "boot": _test_domain("", "<name>x</name><memory>1</memory><os><type>hvm</type><kernel>/k</kernel>"
                             "<cmdline>a=b 'x' \"y\" &lt;</cmdline><initrd>/i</initrd><bootmenu enable='yes'/>"
                             "<boot dev='network'/><boot dev='hd'/><loader readonly='yes' type='pflash'>/l</loader>"
                             "<nvram template='/t'>/n</nvram><bios useserial='yes'/></os>"),
    "platform": _test_domain("<clock offset='localtime'><timer name='rtc' tickpolicy='catchup'/></clock>"
                             "<pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='yes'/></pm>"
                             "<on_crash>preserve</on_crash><on_lockfailure>restart</on_lockfailure>"
                             "<features><pae/><apic eoi='on'/><acpi/></features><cpu mode='host-passthrough'/>"),
    "resources": _test_domain("<iothreads>2</iothreads><resource><partition>/a</partition></resource>"
                              "<memoryBacking><hugepages/></memoryBacking><seclabel type='none'/>"),
    "foreign namespace": _test_domain(
        "<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><q:arg value='a'/></q:commandline>"),
    "disk kinds": _with_devices(
        "<disk type='file' device='cdrom'><source file='/a.iso'/><target dev='hdc'/></disk>"
        "<disk device='floppy' type='file'><target dev='fda'/></disk>"
        "<disk type='block'><source dev='/dev/sdb'/><target dev='sda'/></disk>"
        "<disk type='volume'><source pool='p' volume='v'/><target dev='vdb'/><serial>abc</serial><readonly/>"
        "<boot order='1'/></disk><disk type='dir'><source dir='/q'/><target dev='hda'/></disk>"
        "<disk type='network'><source protocol='rbd' name='a/b'><host name='h'/></source><target dev='vdc'/></disk>"),
    "disk order": _with_devices(
        f"<disk>{FILE}<target dev='vdaa'/></disk><disk>{FILE}<target dev='vdz'/></disk>"
        f"<disk>{FILE}<target dev='hdb'/></disk><disk>{FILE}<target dev='vda' bus='virtio'/></disk>"),
    "disk places": _with_devices("".join(
        f"<disk type='file'>{FILE}<target dev='{target}'{bus}/></disk>" for target, bus in (
            ("sdh", ""), ("sdq", ""), ("hdf", ""), ("sda", " bus='sata'"), ("sdi", " bus='sata'")))),
    "disk in full": _with_devices(
        "<disk type='file'><alias name='ua-a'/><driver name='qemu' type='qcow2' cache='none' io='native'/>"
        "<source file='/x' startupPolicy='optional'/><target dev='sda' bus='scsi'/><wwn>5000c50015ea71aa</wwn>"
        "<vendor>a</vendor><product>b</product><shareable/><iotune><total_bytes_sec>1</total_bytes_sec></iotune>"
        "<blockio logical_block_size='512'/><backingStore/><address type='drive' unit='2'/></disk>"),
    "generated names": _with_devices(
        f"<disk type='file'><alias name='virtio-disk0'/>{FILE}<target dev='vda'/></disk>"
        "<serial type='pty'><source path='/dev/pts/3'/></serial>"),
    "addresses": _with_devices(
        f"<disk type='file'>{FILE}<target dev='vda'/><address type='pci' bus='0x1' slot='10' function='1'/></disk>"
        "<controller type='pci' model='pcie-root-port' index='1'><target chassis='1' port='0x10'/>"
        "<address type='pci' slot='2' multifunction='on'/></controller>"),
    "controllers": _with_devices(
        "<controller type='scsi'/><controller type='usb' index='0' model='ich9-ehci1'/>"
        "<controller type='scsi' index='3'/><controller type='scsi'/><controller type='virtio-serial' ports='4'/>"),
    "interfaces": _with_devices(
        "<emulator>/bin/x</emulator><interface><mac address='52:54:0:aA:2:3'/></interface>"
        "<interface type='network'><mac address='52:54:00:00:00:02'/><model type='virtio'/>"
        "<source network='default' portgroup='p' portid='6695eb01-f6a4-8304-79aa-97f2502e193f' bridge='x'/></interface>"
        "<interface type='bridge'><mac address='52:54:00:00:00:03'/><source bridge='br0'/><target dev='vnet3'/>"
        "<boot order='2'/></interface><interface type='ethernet'><mac address='52:54:00:00:00:04'/>"
        "<target dev='tap3' managed='no'/><mtu size='1400'/><link state='down'/></interface>"),
    "random mac": _with_devices("<interface type='user'/>"),
    "serial": _with_devices("<serial type='pty'/>"),
    "console": _with_devices("<console type='pty'/>"),
    "console to a file": _with_devices("<console type='file'><source path='/x'/></console>"),
    "virtio console": _with_devices("<console type='pty'><target type='virtio'/></console>"),
    "serials": _with_devices(
        "<serial type='unix'><source mode='bind' path='/x'/></serial>"
        "<serial type='tcp'><source mode='connect' host='h' service='1'/><protocol type='raw'/></serial>"
        "<serial type='null'/><serial type='stdio'/>"),
    "serial ports": _with_devices(
        "<serial type='pty'><target port='1'/></serial><serial type='pty'/>"
        "<console type='pty'><target type='serial' port='0'/></console><console><target type='virtio'/></console>"),
    "channel": _with_devices("<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"),
}


def _without_random(dump: str, document: str) -> str:
    """A dump whose generated UUID and MAC addresses are only checked for their shape."""
    if "<uuid>" not in document:
        dump, count = re.subn(r"<uuid>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}</uuid>", "<uuid>*</uuid>", dump)
        assert count == 1
    return dump if "<mac" in document else re.sub("'52:54:00(:[0-9a-f]{2}){3}'", "'*'", dump)


@pytest.mark.parametrize("case", ACCEPTED)
def test_definition_is_completed_as_by_libvirt(case: str) -> None:
    """Parsed, completed and written, the document is the one that libvirt's test driver stores."""
    document = ACCEPTED[case]
    theirs = answers("domain", list(ACCEPTED.values()), c.VIR_DOMAIN_XML_INACTIVE)[list(ACCEPTED).index(case)]
    domain = parse_domain(document)
    normalise(domain, Context("test"))
    ours = format_domain(domain, live=False)
    assert isinstance(theirs, str)
    assert _without_random(ours, document) == _without_random(theirs, document)


def _completed(document: str) -> str:
    domain = parse_domain(document)
    normalise(domain, Context("test", randbytes=lambda count: bytes(range(1, count + 1))))
    return format_domain(domain, live=False)


@pytest.mark.parametrize("case", ACCEPTED)
def test_second_definition_is_libvirts(case: str) -> None:
    """Defining a dump again gives what libvirt makes of it: the same, but for disks that now say their bus."""
    dumps = [_completed(document) for document in ACCEPTED.values()]
    number = list(ACCEPTED).index(case)
    assert _completed(dumps[number]) == answers("domain", dumps, c.VIR_DOMAIN_XML_INACTIVE)[number]
    assert _completed(_completed(dumps[number])) == _completed(dumps[number])


# What libvirt refuses: our code, domain and text must be its own; ours adds the path of the element.
REFUSED = [
    "", "<", "<domain", "<domain>\n<name>x</nme></domain>", "<network/>", "<domain/>", "<domain type='test'/>",
    _test_domain("", "<name>x</name>"), _test_domain("", "<name/>"),
    _test_domain("", "<name>a/b</name><memory>1</memory><os><type>hvm</type></os>"),
    _test_domain("", "<name>a\nb</name><memory>1</memory><os><type>hvm</type></os>"),
    "<domain><name>x</name><memory>1</memory><os><type>hvm</type></os></domain>",
    "<domain type='foo'><name>x</name><memory>1</memory><os><type>hvm</type></os></domain>",
    *(_test_domain("", f"<name>x</name>{memory}<os><type>hvm</type></os>") for memory in (
        "", "<memory>abc</memory>", "<memory>0</memory>", "<memory>-1</memory>", "<memory/>",
        "<memory unit='foo'>1</memory>", "<memory unit='EiB'>99999999999</memory>",
        "<memory>18446744073709551616</memory>")),
    *(_test_domain("", f"<name>x</name><memory>1</memory><os>{kind}</os>") for kind in (
        "<type/>", "<type>foo</type>", "<type arch='zz'>hvm</type>", "<type>hvm</type><boot dev='foo'/>")),
    *map(_test_domain, (
        "<uuid>abc</uuid>", "<vcpu>x</vcpu>", "<vcpu> +3 </vcpu>", "<vcpu current='4'>2</vcpu>",
        "<vcpu placement='foo'>1</vcpu>", "<title>a\nb</title>", "<on_poweroff>foo</on_poweroff>",
        "<on_reboot>foo</on_reboot>", "<on_crash>foo</on_crash>", "<clock offset='foo'/>",
        "<features><foo/></features>", "<pm><suspend-to-mem enabled='zz'/></pm>")),
    *map(_with_devices, (
        "<disk type='foo'><target dev='vda'/></disk>", "<disk type='file'/>", "<disk><target dev='vda'/></disk>",
        "<disk type='file' device='foo'><target dev='vda'/></disk>",
        "<disk type='file'><target dev='vda' bus='foo'/></disk>", "<disk type='file'><target dev='foo'/></disk>",
        f"<disk>{FILE}<target dev='vda'/></disk><disk><source file='/b'/><target dev='vda'/></disk>",
        f"<disk>{FILE}<target dev='vda'/><boot order='x'/></disk>",
        f"<disk>{FILE}<target dev='vda'/><boot order='1'/></disk>"
        f"<disk>{FILE}<target dev='vdb'/><boot order='1'/></disk>",
        f"<disk><driver name='qemu' type='foo'/>{FILE}<target dev='vda'/></disk>",
        f"<disk><driver name='qemu' cache='foo'/>{FILE}<target dev='vda'/></disk>",
        f"<disk>{FILE}<target dev='vda'/><address type='foo'/></disk>",
        f"<disk>{FILE}<target dev='vda'/><address type='pci' slot='99'/></disk>",
        f"<disk>{FILE}<target dev='vda'/><address type='pci' slot='zz'/></disk>",
        "<interface type='foo'/>", "<interface type='network'/>", "<interface type='bridge'/>",
        "<interface><mac address='foo'/></interface>", "<interface><mac address='53:54:00:00:00:01'/></interface>",
        "<interface><model type='a b'/></interface>", "<serial type='foo'/>", "<serial type='file'/>",
        "<console type='pty'><target type='foo'/></console>", "<controller type='foo'/>",
        "<controller type='usb' index='x'/>")),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refusal_is_libvirts(number: int) -> None:
    """Error number, domain and message are libvirt's, apart from the path that ours adds."""
    with pytest.raises(LibvirtError) as refused:
        normalise(parse_domain(REFUSED[number]), Context("test"))
    path = r" \(at /domain[a-z0-9_/\[\]-]*\)$"
    ours = (refused.value.code, refused.value.domain, re.sub(path, "", refused.value.message))
    assert ours == answers("domain", REFUSED, c.VIR_DOMAIN_XML_INACTIVE)[number]


def test_document_comes_back_whole() -> None:
    """A rich document of a running domain, in libvirt's order, is written as it was read."""
    document = RICH.read_text()
    domain = parse_domain(document)
    assert format_domain(domain, live=True, secure=True) == document
    assert parse_domain(format_domain(domain, live=True, secure=True)) == domain


def test_stored_form_hides_what_only_runs() -> None:
    """The stored form has no id, generated alias, tap name, port id, pty or agent state, and never the password."""
    domain = parse_domain(RICH.read_text())
    stored = format_domain(domain, live=False)
    for runtime in (" id='12'", "virtio-disk0", "vnet3", "portid", "virbr0", "/dev/pts", "connected", "not for all",
                    "index='2'"):
        assert runtime not in stored
    for kept in ("ua-archive", "ledger0", "source bridge='br0'", "/run/agent.sock", "portgroup='p'"):
        assert kept in stored
    assert "not for all" not in format_domain(domain, live=True)
    assert "not for all" in format_domain(domain, live=False, secure=True)


def test_dropping_runtime_equals_the_stored_form() -> None:
    """What is dropped from the model is just what the stored form does not show."""
    domain = parse_domain(RICH.read_text())
    stored = format_domain(domain, live=False)
    drop_runtime(domain)
    assert format_domain(domain, live=True) == stored


def test_qemu_definition_is_completed() -> None:
    """For QEMU the machine becomes canonical, disks get a stated format, the serial port its kind, cards a model."""
    asked: list[tuple[str, str | None]] = []

    def machine(arch: str, written: str | None) -> str:
        asked.append((arch, written))
        return "pc-i440fx-7.2"

    domain = parse_domain(
        "<domain type='qemu'><name>x</name><memory>1024</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>"
        f"<devices><disk>{FILE}<target dev='vda'/></disk><interface/><console/></devices></domain>")
    normalise(domain, Context("qemu", machine=machine, randbytes=lambda count: bytes(range(count))))
    assert asked == [("x86_64", "pc")]
    dump = format_domain(domain, live=False)
    for line in ("<uuid>00010203-0405-4607-8809-0a0b0c0d0e0f</uuid>", "machine='pc-i440fx-7.2'",
                 "<driver name='qemu' type='raw'/>", "<mac address='52:54:00:00:01:02'/>", "<model type='rtl8139'/>",
                 "<target type='isa-serial' port='0'>", "<model name='isa-serial'/>",
                 "<target type='serial' port='0'/>"):
        assert line in dump
