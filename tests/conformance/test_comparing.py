"""The comparison of domain documents and QEMU commands sees what differs, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.preparation import FOR_ARGUMENTS, prepared
from tests.support.argument_difference import Command, differing_commands, from_shell, read
from tests.support.difference_table import load, unexplained
from tests.support.document_difference import ABSENT, differing_documents, made_up

DEFINITION = "<domain><uuid>0f1c2a58-6b1d-4a52-9d57-3d0b4a6f2c11</uuid><mac address='52:54:0:A:0b:0c'/></domain>"
NOTHING_GIVEN = made_up("<domain/>")


@pytest.mark.parametrize(("ours", "theirs"), [
    ("<a b='1' c='2'/>", "<a c='2' b='1'/>"),
    ("<a><b/> <!-- c --> <c/></a>", "<a>\n  <b/>\n  <c/>\n</a>"),
    ("<x:a xmlns:x='urn:1'><x:b/></x:a>", "<a xmlns='urn:1'><b/></a>"),
    ("<a><controller type='usb' index='0'/><controller type='pci' index='0'/><b/></a>",
     "<a><controller type='pci' index='0'/><b/><controller type='usb' index='0'/></a>"),
    ("<a><uuid>11111111-2222-4333-8444-555555555555</uuid></a>",
     "<a><uuid>01234567-89ab-4cde-8f01-23456789abcd</uuid></a>"),
    ("<a><mac address='52:54:00:11:11:11'/></a>", "<a><mac address='52:54:00:22:22:22'/></a>"),
], ids=["attributes", "space", "prefix", "controllers", "uuid", "mac"])
def test_documents_of_one_meaning(ours: str, theirs: str) -> None:
    """Order of attributes and of controllers, spaces, prefixes, and what was made up are no differences."""
    assert differing_documents(ours, theirs, "<a/>") == {}


@pytest.mark.parametrize(("ours", "theirs", "expected"), [
    ("<a b='1'/>", "<a b='2'/>", {"/a/@b": ("1", "2")}),
    ("<a b='1'/>", "<a/>", {"/a/@b": ("1", ABSENT)}),
    ("<a>x</a>", "<a>y</a>", {"/a/text()": ("x", "y")}),
    ("<a><b/></a>", "<a><b/><b c='1'/></a>", {"/a/b[2]": (ABSENT, "<b c='1'/>")}),
    ("<a><b/><c/></a>", "<a><c/><b/></a>", {"/a/(order)": ("b c", "c b")}),
    ("<a><controller type='usb' index='0' model='x'/></a>", "<a><controller type='usb' index='0' model='y'/></a>",
     {"/a/controller[usb 0]/@model": ("x", "y")}),
    ("<domain><uuid>11111111-2222-4333-8444-555555555555</uuid></domain>",
     "<domain><uuid>0f1c2a58-6b1d-4a52-9d57-3d0b4a6f2c11</uuid></domain>",
     {"/domain/uuid/text()": ("(generated)", "0f1c2a58-6b1d-4a52-9d57-3d0b4a6f2c11")}),
    ("<domain><mac address='52:54:00:11:11:11'/></domain>", "<domain><mac address='52:54:00:0a:0b:0c'/></domain>",
     {"/domain/mac/@address": ("(generated)", "52:54:00:0a:0b:0c")}),
])
def test_documents_that_differ(ours: str, theirs: str, expected: dict[str, tuple[str, str]]) -> None:
    """Each difference is told by its path; a value that the definition gave must be kept."""
    found = differing_documents(ours, theirs, DEFINITION)
    assert {path: tuple(item.replace('"', "'") for item in pair) for path, pair in found.items()} == expected


def _differing(ours: list[str], theirs: list[str]) -> dict[str, tuple[str, str]]:
    return differing_commands(read(["/q", *ours], {}), read(["/q", *theirs], {}), NOTHING_GIVEN)


@pytest.mark.parametrize(("ours", "theirs"), [
    (["-device", '{"driver":"x","id":"a","bus":"b","multifunction":true,"addr":"0x2.0x1"}'],
     ["-device", "x,id=a,addr=2.1,multifunction=on,bus=b"]),
    (["-m", "2"], ["-m", "size=2048k"]),
    (["-S", "-name", "guest=a,,b,debug-threads=on"], ["-name", "a,,b,debug-threads=on", "-S"]),
    (["-global", "a.b=1", "-global", "c.d=2"], ["-global", "c.d=2", "-global", "a.b=1"]),
    (["-blockdev", '{"driver":"nbd","server":{"type":"inet","host":"h"},"node-name":"n"}'],
     ["-blockdev", "nbd,node-name=n,server.type=inet,server.host=h"]),
    (["-netdev", '{"type":"tap","fd":"5","id":"n"}'], ["-netdev", "tap,id=n,fd=28"]),
    (["-object", '{"qom-type":"secret","id":"s","data":"x","iv":"y"}'], ["-object", "secret,id=s,data=u,iv=v"]),
    (["-cpu", "x,hv-time=on"], ["-cpu", "x,hv_time=on"]),
    (["-uuid", "11111111-2222-4333-8444-555555555555"], ["-uuid", "01234567-89ab-4cde-8f01-23456789abcd"]),
    (["-append", "-x=0x1,y"], ["-append", "-x=0x1,y"]),
    (["-machine", "pc,acpi=off", "-action", "watchdog=pause"],
     ["-machine", "pc", "-no-acpi", "-watchdog-action", "pause"]),
    (["-global", "cfi.pflash01.secure=on"], ["-global", "driver=cfi.pflash01,property=secure,value=on"]),
    (["-device", "pvpanic,id=panic0,ioport=1285"], ["-device", "pvpanic,ioport=1285"]),
])
def test_commands_of_one_meaning(ours: list[str], theirs: list[str]) -> None:
    """JSON and key=value forms, units, spellings, descriptors, encrypted data and order are no differences."""
    assert _differing(ours, theirs) == {}


@pytest.mark.parametrize(("ours", "theirs", "expected"), [
    (["-S"], [], {"-S": ("", ABSENT)}),
    (["-device", '{"driver":"x","id":"a","addr":"0x2"}'], ["-device", "x,id=a,addr=0x3"],
     {"-device a/addr": ("2.0", "3.0")}),
    (["-device", "x,id=a"], ["-device", "x,id=a,rombar=1"], {"-device a/rombar": (ABSENT, "1")}),
    (["-device", "x,id=a", "-device", "y,id=b"], ["-device", "y,id=b", "-device", "x,id=a"],
     {"-device (order)": ("a b", "b a")}),
    (["-smbios", "type=11,value=a,value=b"], ["-smbios", "type=11,value=b,value=a"],
     {"-smbios/value": ("a, b", "b, a")}),
    (["-append", "0x10"], ["-append", "16"], {"-append": ("0x10", "16")}),
    (["-device", "pvpanic,id=a,ioport=1"], ["-device", "pvpanic,ioport=2"], {"-device a/ioport": ("1", "2")}),
    (["-machine", "pc"], ["-machine", "pc", "-no-hpet"], {"-machine/hpet": (ABSENT, "off")}),
    ([], ["-no-shutdown"], {"-action/shutdown": (ABSENT, "pause")}),
])
def test_commands_that_differ(ours: list[str], theirs: list[str], expected: dict[str, tuple[str, str]]) -> None:
    """Each difference is told by option and property."""
    assert _differing(ours, theirs) == expected


def test_command_as_shell_text() -> None:
    """What libvirt writes is read as a shell would: variables, the program, quoted arguments."""
    command = from_shell("LC_ALL=C PATH=/bin WORD='a b' /usr/bin/qemu -name 'guest=a b' -S")
    assert command == Command({"WORD": "a b"}, "/usr/bin/qemu", {"-name": {"guest": "a b"}, "-S": {}})


TABLE = """
[[difference]]
documents = ["a*", "never"]
paths = ["/x/@*"]
libvirt = "2"
reason = "long enough to be a reason"
"""


def test_tables_explain_only_what_they_say(tmp_path: Path) -> None:
    """Another document, path or answer is not on record, and what explains nothing is told."""
    path = tmp_path / "table.toml"
    path.write_text(TABLE)
    table = load(path)
    on_record, other_path, other_answer = {"/x/@y": ("1", "2")}, {"/y/@y": ("1", "2")}, {"/x/@y": ("1", "3")}
    assert unexplained("ab", on_record, table) == {}
    for document, differences in (("b", on_record), ("ab", other_path), ("ab", other_answer)):
        assert unexplained(document, differences, table) == differences
    assert table[0].idle({"ab": on_record}) == ["never"]
    assert table[0].idle({"ab": other_answer}) == ["a*", "never", "/x/@*"]


def test_preparation_changes_only_what_it_says() -> None:
    """Emulator, hypervisor and machine become this host's; all else stays, and what is no XML stays as it is."""
    document = ("<domain type='kvm'><os><type machine='pc-q35-rhel9.2.0'>hvm</type></os><cpu mode='host-passthrough'/>"
                "<devices><emulator>/x</emulator><disk/></devices></domain>")
    assert prepared(document) == ('<domain type="qemu"><os><type machine="q35">hvm</type></os>'
                                  '<cpu mode="host-passthrough"/><devices><disk/></devices></domain>')
    assert 'mode="maximum"' in prepared(document, FOR_ARGUMENTS)
    for machine, expected in (("pc-i440fx-8.2", "pc"), ("rhel6.6.0", "pc"), ("pc-1.0", "pc"), ("virt", "virt")):
        assert f'machine="{expected}"' in prepared(f"<domain><os><type machine='{machine}'/></os></domain>")
    assert prepared("<domain") == "<domain"
