"""Snapshots and checkpoints: read as libvirt reads them, refused as it refuses them, written back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import moments
from tests.support.corpus import every_document
from tests.support.moments import DOMAIN
from tests.support.refusals import error_of, refusal_of
from tests.support.schemas import schema_errors
from virtbus_domain.xml.checkpoint import (
    Checkpoint,
    CheckpointDisk,
    format_checkpoint,
    parse_checkpoint,
    parse_redefined_checkpoint,
)
from virtbus_domain.xml.snapshot import format_snapshot, parse_redefined_snapshot, parse_snapshot
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

NOW = 1700000000
REDEFINE = 1  # VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE and VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE

def without_domain(text: str) -> str:
    """A snapshot's or checkpoint's document without the domain in it, whose rules are the domain's."""
    return re.sub(r"(?s) *<(domain|inactiveDomain)\b.*</\1>\n?", "", text)


def snapshot(body: str, state: str = "shutoff", domain: str = DOMAIN) -> str:
    """A snapshot's document as a client brings it back."""
    return (f"<domainsnapshot><name>s</name><creationTime>12</creationTime><state>{state}</state>{body}{domain}"
            "</domainsnapshot>")


def disk(content: str, attributes: str = "snapshot='external'", state: str = "disk-snapshot") -> str:
    """A snapshot's document with one disk."""
    return snapshot(f"<disks><disk name='vda' {attributes}>{content}</disk></disks>", state)


# -- snapshots -------------------------------------------------------------------------------------------------------

INTERNAL = "<disks><disk name='vda' snapshot='internal'/></disks>"

# What of a domain is not written line by line.
FULL_DOMAIN = DOMAIN.replace("  <os>", """  <genid>11111111-f6a4-8304-79aa-97f2502e1940</genid>
  <metadata><a:x xmlns:a='urn:a'><a:y>l1
l2</a:y></a:x></metadata>
  <maxMemory slots='4' unit='KiB'>4096</maxMemory><memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages>
  </memoryBacking><cputune><shares>2048</shares><vcpupin vcpu='0' cpuset='0'/></cputune>
  <cpu mode='custom' match='exact'><model>qemu64</model><numa><cell id='0' cpus='0' memory='1024' unit='KiB'/></numa>
  </cpu><features><acpi/><smm state='on'><tseg unit='MiB'>4</tseg></smm></features><os>""")

BROUGHT_BACK = {
    "least": snapshot(INTERNAL),
    "words": snapshot(f"<description>l1\n  l2 &lt;&apos;</description>{INTERNAL}<active>1</active>"
                      "<cookie><a/></cookie><foo/>"),
    "running": snapshot(INTERNAL, "running"),
    "blocked": snapshot(INTERNAL, "blocked"),
    "paused": snapshot(INTERNAL, "paused"),
    "shutdown": snapshot(INTERNAL, "shutdown"),
    "crashed": snapshot(INTERNAL, "crashed"),
    "pmsuspended": snapshot(INTERNAL, "pmsuspended"),
    "no memory": snapshot(f"<memory snapshot='no'/>{INTERNAL}", "running"),
    "empty memory": snapshot(f"<memory/>{INTERNAL}", "running"),
    "memory inside": snapshot(f"<memory snapshot='internal'/>{INTERNAL}", "running"),
    "memory in a file": snapshot("<memory snapshot='external' file='/m'/><disks><disk name='vda'>"
                                 "<source file='/x'/></disk></disks>", "running"),
    "a file means external": snapshot("<memory file='/m'/><disks><disk name='vda'><source file='/x'/></disk></disks>",
                                      "running"),
    "inactive domain": snapshot(INTERNAL + DOMAIN.replace("domain", "inactiveDomain"), "running"),
    "new image": disk("<source file='/x'/>"),
    "new image, unsaid": disk("<source file='/x'/>", ""),
    "format": disk("<driver type='qcow2'/><source file='/x'/>"),
    "empty driver": disk("<driver/><source file='/x'/>"),
    "format alone": disk("<driver type='raw'/>", "snapshot='internal'"),
    "cache": disk("<driver type='qcow2'><metadata_cache><max_size unit='KiB'>2</max_size></metadata_cache></driver>"
                  "<source file='/x'/>"),
    "type alone": disk("", "snapshot='internal' type='block'"),
    "block": disk("<source dev='/dev/x'/>", "type='block'"),
    "network": disk("<source protocol='nbd' name='a'><host name='h' port='1'/><snapshot name='s'/>"
                    "<config file='/f'/></source>", "type='network'"),
    "left out": disk("", "snapshot='no'"),
    "by hand": disk("", "snapshot='manual'"),
    "rich source": disk(
        "<source file='/x' startupPolicy='optional' foo='x' index='3'><seclabel model='dac' relabel='no'/>"
        "<encryption format='luks'><secret type='passphrase' uuid='11111111-f6a4-8304-79aa-97f2502e193f'/>"
        "</encryption><slices><slice type='storage' offset='1' size='2'/></slices>"
        "</source>"),
}

REFUSED_BACK = {
    "no name": "<domainsnapshot/>",
    "no time": "<domainsnapshot><name>a</name></domainsnapshot>",
    "odd time": "<domainsnapshot><name>a</name><creationTime>1 </creationTime></domainsnapshot>",
    "no state": "<domainsnapshot><name>a</name><creationTime>1</creationTime></domainsnapshot>",
    "odd state": snapshot(INTERNAL, "foo"),
    "no domain": snapshot(INTERNAL, domain=""),
    "old domain": snapshot(INTERNAL, domain=f"<domain><uuid>{moments.DOMAIN_UUID}</uuid></domain>"),
    "memory while off": snapshot(f"<memory snapshot='internal'/>{INTERNAL}"),
    "file while off": snapshot("<memory file='/m'/>"),
    "no such format": disk("<driver type='foo'/>"),
    "no format": disk("<driver type='none'/>"),
    "directory": disk("<source dir='/x'/>", "type='dir'"),
    "volume": disk("<source pool='p' volume='v'/>", "type='volume'"),
    "odd type": disk("", "type='foo'"),
    "relative image": disk("<source file='x'/>"),
}

ASKED_FOR = {
    "nothing": "<domainsnapshot/>",
    "foreign": "<domainsnapshot><state>x</state><creationTime>x</creationTime><parent><name>p</name></parent>"
               "<domain/><active>9</active><foo/></domainsnapshot>",
    "words": "<domainsnapshot><name> a/b </name><description>d\n d</description></domainsnapshot>",
}

REFUSED_WISHES = {
    "not XML": "<domainsnapshot",
    "empty": "",
    "other root": "<domain/>",
    "memory": "<domainsnapshot><memory snapshot='x'/></domainsnapshot>",
    "memory by default": "<domainsnapshot><memory snapshot='default'/></domainsnapshot>",
    "memory by hand": "<domainsnapshot><memory snapshot='manual'/></domainsnapshot>",
    "memory without file": "<domainsnapshot><memory snapshot='external'/></domainsnapshot>",
    "relative file": "<domainsnapshot><memory file='a'/></domainsnapshot>",
    "empty file": "<domainsnapshot><memory snapshot='external' file=''/></domainsnapshot>",
    "file for memory inside": "<domainsnapshot><memory snapshot='internal' file='/a'/></domainsnapshot>",
    "file for no memory": "<domainsnapshot><memory snapshot='no' file='/a'/></domainsnapshot>",
    "nameless disk": "<domainsnapshot><disks><disk/></disks></domainsnapshot>",
    "odd disk": "<domainsnapshot><disks><disk name='vda' snapshot='x'/></disks></domainsnapshot>",
}


class TestSnapshot:
    """``domainsnapshot``."""

    @pytest.mark.parametrize("case", BROUGHT_BACK)
    def test_metadata_that_is_brought_back_is_libvirts(self, case: str) -> None:
        """What libvirt's test driver dumps of a redefined snapshot is what we write, the domain aside."""
        texts = list(BROUGHT_BACK.values())
        theirs = moments.ask([moments.Request("snapshot", text, REDEFINE) for text in texts])
        expected = theirs[texts.index(BROUGHT_BACK[case])]
        assert isinstance(expected, str), expected
        assert without_domain(format_snapshot(parse_redefined_snapshot(BROUGHT_BACK[case]))) == without_domain(expected)

    @pytest.mark.parametrize("case", REFUSED_BACK)
    def test_metadata_that_libvirt_refuses_is_refused(self, case: str) -> None:
        """With its code, domain and words."""
        texts = list(REFUSED_BACK.values())
        theirs = moments.ask([moments.Request("snapshot", text, REDEFINE) for text in texts])
        assert error_of(parse_redefined_snapshot, REFUSED_BACK[case]) == theirs[texts.index(REFUSED_BACK[case])]

    @pytest.mark.parametrize("case", ASKED_FOR)
    def test_a_new_snapshot_has_what_the_client_decides_on(self, case: str) -> None:
        """Name and description are as in libvirt's snapshot; state, time and domain are not the client's to say."""
        [theirs] = moments.ask([moments.Request("snapshot", ASKED_FOR[case])])
        ours = parse_snapshot(ASKED_FOR[case], NOW)
        expected = parse_redefined_snapshot(str(theirs))
        assert ours.name == (str(NOW) if expected.name == str(expected.creation_time) else expected.name)
        assert ours.description == expected.description
        assert (ours.creation_time, ours.state, ours.parent, ours.domain, ours.active) == (NOW, None, None, None, None)

    @pytest.mark.parametrize("case", REFUSED_WISHES)
    def test_a_wish_that_libvirt_refuses_is_refused(self, case: str) -> None:
        """With its code, domain and words."""
        texts = list(REFUSED_WISHES.values())
        theirs = moments.ask([moments.Request("snapshot", text) for text in texts])
        ours = error_of(lambda text: parse_snapshot(text, NOW), REFUSED_WISHES[case])
        assert ours == theirs[texts.index(REFUSED_WISHES[case])]

    @pytest.mark.parametrize("secure", [False, True])
    def test_libvirts_dump_comes_back_to_the_character(self, secure: bool) -> None:
        """A whole dump with both its domains, with passwords and without."""
        [dump] = moments.ask([moments.Request("snapshot", BROUGHT_BACK["inactive domain"], REDEFINE, int(secure))])
        assert format_snapshot(parse_redefined_snapshot(str(dump)), secure=secure) == dump

    def test_a_full_domain_comes_back(self) -> None:
        """Line by line, apart from indentation."""
        [dump] = moments.ask([moments.Request("snapshot", snapshot(INTERNAL, domain=FULL_DOMAIN), REDEFINE)])
        assert isinstance(dump, str), dump
        ours = format_snapshot(parse_redefined_snapshot(dump))
        assert [line.strip() for line in ours.splitlines()] == [line.strip() for line in dump.splitlines()]

    def test_only_the_stored_form_has_cookie_and_currency_and_passwords(self) -> None:
        """What getXMLDesc gives is without them; what we keep has them."""
        text = snapshot(f"{INTERNAL}<parent><name>p</name></parent><cookie><cpu><a b='c'/></cpu></cookie>"
                        "<active>1</active>", "running")
        made = parse_redefined_snapshot(text)
        shown, stored = format_snapshot(made), format_snapshot(made, stored=True)
        assert "cookie" not in shown
        assert "<active>" not in shown
        assert "secret" not in shown
        assert "passwd='secret'" in stored
        assert "<parent>\n    <name>p</name>\n  </parent>" in stored
        assert parse_redefined_snapshot(stored) == made
        assert made.active == 1

    def test_errors_name_the_place(self) -> None:
        """The path of the disk, of the memory, of a number, and of what is inside the domain."""
        cache = "<driver type='qcow2'><metadata_cache><max_size>x</max_size></metadata_cache></driver>"
        for text, path in ((disk("<source file='x'/>"), "/domainsnapshot/disks/disk[1]"),
                           (disk(cache), "/domainsnapshot/disks/disk/driver/metadata_cache/max_size"),
                           (snapshot("<memory file='/m'/>"), "/domainsnapshot/memory"),
                           (snapshot("", domain=DOMAIN.replace("'vnc'", "'foo'")),
                            "/domainsnapshot/domain/devices/graphics")):
            with pytest.raises(LibvirtError, match=re.escape(f"(at {path})")):
                parse_redefined_snapshot(text)

    @pytest.mark.parametrize("case", BROUGHT_BACK)
    def test_our_document_is_valid(self, case: str) -> None:
        """libvirt's schema takes what we write of a document that it takes."""
        ours = format_snapshot(parse_redefined_snapshot(BROUGHT_BACK[case]))
        if not schema_errors(BROUGHT_BACK[case], "domainsnapshot"):
            assert schema_errors(ours, "domainsnapshot") == []

    @every_document("domainsnapshot")
    def test_real_documents_keep_their_meaning(self, document: Path) -> None:
        """A wish and what it is written as mean the same; so does a whole document, if it has a state of libvirt's."""
        text = document.read_text()
        wish = parse_snapshot(text, NOW)
        again = parse_snapshot(format_snapshot(wish), NOW)
        assert again == wish
        if "<state>" in text:
            with pytest.raises(LibvirtError, match="Invalid state 'somestate' in domain snapshot XML"):
                parse_redefined_snapshot(text)
            whole = parse_redefined_snapshot(text.replace("somestate", "running"))
            assert parse_redefined_snapshot(format_snapshot(whole, stored=True)) == whole

    def test_nothing_is_lost_in_the_store(self) -> None:
        """A new snapshot, completed as a driver completes it, is the same after it was stored."""
        made = parse_snapshot(ASKED_FOR["words"], NOW)
        made.state, made.memory_snapshot, made.active = "running", "internal", 0
        made.domain = parse_redefined_snapshot(BROUGHT_BACK["least"]).domain
        assert parse_redefined_snapshot(format_snapshot(made, stored=True)) == made


# -- checkpoints -----------------------------------------------------------------------------------------------------


def checkpoint(body: str, domain: str = DOMAIN) -> str:
    """A checkpoint's document as a client brings it back."""
    return f"<domaincheckpoint><name>c</name><creationTime>12</creationTime>{body}{domain}</domaincheckpoint>"


CHECKPOINTS_BACK = {
    "least": checkpoint("<disks><disk name='vda' bitmap='b'/></disks>"),
    "words": checkpoint("<description>l1\n l2</description><disks><disk name='vda' checkpoint='no'/></disks>"),
    "size": checkpoint("<disks><disk name='vda' checkpoint='bitmap' bitmap='' size='12'/></disks>"),
    "no domain": checkpoint("", domain=""),
}

REFUSED_CHECKPOINTS_BACK = {
    "no name": "<domaincheckpoint/>",
    "no time": "<domaincheckpoint><name>a</name></domaincheckpoint>",
}

# What libvirt's schema is asked about; our rules must agree with it on every one.
CHECKPOINT_WISHES = [f"<domaincheckpoint>{body}</domaincheckpoint>" for body in (
    "", "<name>a.b-c_</name>", "<name>.a</name>", "<name>a/b</name>", "<name> a</name>", "<name/>", "<name>é</name>",
    "<name>a\n</name>", "<name>a</name><name>b</name>", "<name x='y'>a</name>", "<description><a/></description>",
    "<description/>", "<creationTime>1</creationTime>", "<creationTime>x</creationTime>", "<creationTime/>",
    "<parent/>", "<parent><name>a</name></parent>", "<parent><name>..</name></parent>",
    "<parent><name>a</name><b/></parent>",
    "<disks/>", "<disks><foo/></disks>", "<disks x='y'><disk name='vda'/></disks>", "<foo/>", "text", "<domain/>",
    *(f"<disks><disk {name} {kind} {bitmap}>{content}</disk></disks>"
      for name in ("", "name='vda'", "name='zz'", "name='/a'", "name='vda&#10;'")
      for kind in ("", "checkpoint='no'", "checkpoint='bitmap'", "checkpoint='foo'", "checkpoint=''")
      for bitmap in ("", "bitmap='x'", "size='1'", "size='x'", "foo='x'")
      for content in ("", "<a/>")),
)]


class TestCheckpoint:
    """``domaincheckpoint``."""

    @pytest.mark.parametrize("case", CHECKPOINTS_BACK)
    def test_metadata_that_is_brought_back_is_libvirts(self, case: str) -> None:
        """What libvirt's test driver dumps of a redefined checkpoint is what we write, the domain aside."""
        [theirs] = moments.ask([moments.Request("checkpoint", CHECKPOINTS_BACK[case], REDEFINE)])
        assert isinstance(theirs, str), theirs
        ours = format_checkpoint(parse_redefined_checkpoint(CHECKPOINTS_BACK[case]))
        assert without_domain(ours) == without_domain(theirs)

    @pytest.mark.parametrize("case", REFUSED_CHECKPOINTS_BACK)
    def test_metadata_that_libvirt_refuses_is_refused(self, case: str) -> None:
        """With its code, domain and words."""
        [theirs] = moments.ask([moments.Request("checkpoint", REFUSED_CHECKPOINTS_BACK[case], REDEFINE)])
        assert error_of(parse_redefined_checkpoint, REFUSED_CHECKPOINTS_BACK[case]) == theirs

    def test_our_rules_are_the_schemas(self) -> None:
        """libvirt holds this document to its schema always; we refuse the same ones with the same code, without it."""
        for text in CHECKPOINT_WISHES:
            refusal = refusal_of(lambda text: parse_checkpoint(text, NOW), text)
            assert bool(refusal) == bool(schema_errors(text, "domaincheckpoint")), f"{text}: {refusal}"
            if refusal:
                assert (refusal.code, refusal.domain) == (c.VIR_ERR_XML_INVALID_SCHEMA, c.VIR_FROM_XML)
                assert "(at /domaincheckpoint" in refusal.message

    def test_a_new_checkpoint_has_what_the_client_decides_on(self) -> None:
        """Time and domain are not the client's to say, and a disk takes part by being named."""
        text = ("<domaincheckpoint><description>d</description><creationTime>5</creationTime>"
                "<disks><disk name='vda' size='7'/><disk name='vdb' checkpoint='no'/></disks></domaincheckpoint>")
        assert parse_checkpoint(text, NOW) == Checkpoint(
            name=str(NOW), description="d", creation_time=NOW,
            disks=[CheckpointDisk(name="vda", checkpoint="bitmap"), CheckpointDisk(name="vdb", checkpoint="no")])

    @pytest.mark.parametrize("flags", [0, c.VIR_DOMAIN_CHECKPOINT_XML_SECURE, c.VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN])
    def test_libvirts_dump_comes_back_to_the_character(self, flags: int) -> None:
        """A whole dump: with passwords, without, and without the domain."""
        [dump] = moments.ask([moments.Request("checkpoint", CHECKPOINTS_BACK["least"], REDEFINE, flags)])
        made = parse_redefined_checkpoint(str(dump))
        assert format_checkpoint(made, secure=bool(flags & c.VIR_DOMAIN_CHECKPOINT_XML_SECURE)) == dump
        if not flags:
            assert format_checkpoint(made, with_domain=False) == without_domain(str(dump))

    def test_sizes_are_written_when_known(self) -> None:
        """VIR_DOMAIN_CHECKPOINT_XML_SIZE of a running domain."""
        made = parse_checkpoint("<domaincheckpoint><disks><disk name='vda'/></disks></domaincheckpoint>", NOW)
        made.disks[0].size = 65536
        assert "<disk name='vda' checkpoint='bitmap' size='65536'/>" in format_checkpoint(made)

    @every_document("domaincheckpoint")
    def test_real_documents_keep_their_meaning(self, document: Path) -> None:
        """A wish and what it is written as mean the same, or the schema and we refuse it alike."""
        text = document.read_text()
        if schema_errors(text, "domaincheckpoint"):
            assert error_of(lambda text: parse_checkpoint(text, NOW), text)[0] == c.VIR_ERR_XML_INVALID_SCHEMA
            return
        wish = parse_checkpoint(text, NOW)
        written = format_checkpoint(wish)
        assert parse_checkpoint(written, NOW) == wish
        assert schema_errors(written, "domaincheckpoint") == []
