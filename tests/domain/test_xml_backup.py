"""Backup jobs: read as libvirt reads them, refused as its schema refuses them, written as it writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.corpus import every_document
from tests.support.refusals import error_of, refusal_of
from tests.support.schemas import schema_errors
from virtbus_domain.xml.backup import format_backup, parse_backup
from virtbus_shared import constants as c

_IMAGES = [f"{driver}<{tag} {image}/>" for tag in ("target", "scratch")
           for driver in ("", "<driver type='qcow2'/>", "<driver type='raw'/>")
           for image in ("", "file='/a.b'", "file='a'", "dev='/dev/x'", "file='/a.b' x='y'")]
_CONTENTS = ["", "<driver/>", "<driver type='foo'/>", "<driver type='qcow2'/>", "<foo/>", *_IMAGES,
             "<target file='/a.b'><seclabel model='dac' relabel='no'/></target>", "<scratch file='/a.b'><x/></scratch>"]
_SERVERS = [f"<server {transport} {name} {rest}/>" for transport in ("", "transport='tcp'", "transport='unix'",
                                                                     "transport='rdma'")
            for name in ("", "name='a.b'", "name='::1'", "name='a_b'", "socket='/a/b'", "socket='a'")
            for rest in ("", "port='1'", "port='x'", "tls='yes'", "tls='foo'", "foo='x'")]

# What libvirt's schema is asked about; our rules must agree with it on every one.
BACKUPS = [
    *(f"<domainbackup {mode}>{body}</domainbackup>" for mode in ("", "mode='push'", "mode='pull'", "mode='x'", "x='y'")
      for body in ("", "<incremental>x</incremental>", "<incremental/>", "<incremental><a/></incremental>",
                   "<incremental/><incremental/>", "<foo/>", "<disks/>", "text", "<disks><foo/></disks>", *_SERVERS)),
    *(f"<domainbackup {server}<disks><disk {name} {attributes}>{content}</disk></disks></domainbackup>"
      for server in (">", "mode='pull'><server name='a'/>")
      for name in ("name='vda'", "name='/abc'")
      for attributes in ("", "type='file'", "type='block'", "type='network'", "backup='no'", "backup='no' type='file'",
                         "backup='yes'", "backup='yes' type='file'", "backup='x'", "type='file' backupmode='full'",
                         "type='file' backupmode='x'", "type='file' incremental='a'", "type='file' exportname='a'",
                         "type='file' backupmode='full' incremental='a'", "type='file' exportbitmap='a'",
                         "type='file' index='1'")
      for content in _CONTENTS),
]

# Documents, and what libvirt 9.0.0's QEMU driver dumps of the job that they start, what it chooses itself left out.
JOBS = [
    ("<domainbackup/>", "<domainbackup mode='push'/>\n"),
    ("""<domainbackup mode='pull'>
  <incremental>old</incremental>
  <server name='localhost' tls='no' port='10809'/>
  <disks>
    <disk name='vdb' backup='no'/>
    <disk name='vda' exportname='e' exportbitmap='b' incremental='older'>
      <scratch file='/s'><seclabel model='dac' relabel='no'/></scratch><driver type='qcow2'/>
    </disk>
  </disks>
</domainbackup>""", """<domainbackup mode='pull'>
  <incremental>old</incremental>
  <server transport='tcp' tls='no' name='localhost' port='10809'/>
  <disks>
    <disk name='vdb' backup='no'/>
    <disk name='vda' backup='yes' type='file' incremental='older' exportname='e' exportbitmap='b'>
      <driver type='qcow2'/>
      <scratch file='/s'>
        <seclabel model='dac' relabel='no'/>
      </scratch>
    </disk>
  </disks>
</domainbackup>
"""),
    ("""<domainbackup mode='pull'><server transport='unix' socket='/sock'/></domainbackup>""",
     """<domainbackup mode='pull'>
  <server transport='unix' socket='/sock'/>
</domainbackup>
"""),
    ("""<domainbackup><disks><disk name='vda' type='block' backupmode='full'><target dev='/dev/x'/></disk>
     <disk name='vdb' backup='no' backupmode='incremental' incremental='a'/></disks></domainbackup>""",
     """<domainbackup mode='push'>
  <disks>
    <disk name='vda' backup='yes' type='block' backupmode='full'>
      <target dev='/dev/x'/>
    </disk>
    <disk name='vdb' backup='no'/>
  </disks>
</domainbackup>
"""),
]


class TestBackup:
    """``domainbackup``."""

    @pytest.mark.parametrize(("text", "expected"), JOBS)
    def test_a_job_is_written_as_libvirt_writes_it(self, text: str, expected: str) -> None:
        """With the defaults of its parser: pushed, by TCP, every named disk, into files."""
        job = parse_backup(text)
        assert format_backup(job) == expected
        assert parse_backup(expected) == job

    def test_an_images_number_is_written_while_it_runs(self) -> None:
        """libvirt numbers the images of the job as it numbers those of disks."""
        job = parse_backup(JOBS[1][0])
        job.disks[1].index = 4
        assert " exportbitmap='b' index='4'>" in format_backup(job)

    def test_our_rules_are_the_schemas(self) -> None:
        """libvirt holds this document to its schema always; we refuse the same ones with the same code, without it."""
        for text in BACKUPS:
            refusal = refusal_of(parse_backup, text)
            assert bool(refusal) == bool(schema_errors(text, "domainbackup")), f"{text}: {refusal}"
            if refusal:
                assert (refusal.code, refusal.domain) == (c.VIR_ERR_XML_INVALID_SCHEMA, c.VIR_FROM_XML)
                assert "(at /domainbackup" in refusal.message
            else:
                assert schema_errors(format_backup(parse_backup(text)), "domainbackup") == [], text

    @pytest.mark.parametrize(("text", "error"), [
        ("<domainbackup", (c.VIR_ERR_XML_DETAIL, c.VIR_FROM_DOMAIN)),
        ("<domain/>", (c.VIR_ERR_XML_ERROR, c.VIR_FROM_XML)),
    ])
    def test_other_documents_are_refused(self, text: str, error: tuple[int, int]) -> None:
        """Ill-formed and foreign ones."""
        assert error_of(parse_backup, text)[:2] == error

    @every_document("domainbackup")
    def test_real_documents_keep_their_meaning(self, document: Path) -> None:
        """What is read, and what that is written as, mean the same and are valid."""
        job = parse_backup(document.read_text())
        written = format_backup(job)
        assert parse_backup(written) == job
        assert schema_errors(written, "domainbackup") == []
