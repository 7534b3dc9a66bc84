"""The document of a domain's checkpoint: from which moment on the changes of which disks are recorded.

A client that makes a checkpoint says little, and what else it writes counts for nothing: ``parse_checkpoint``. One
that brings back a checkpoint's metadata writes all that libvirt wrote: ``parse_redefined_checkpoint``. Which disks
there are is found out when the checkpoint meets its domain, not here.
"""

from __future__ import annotations

import copy

from virtbus_domain.xml import strict
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.snapshot import TIME
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import Document, attr, element, parse_root, sub, subs, text
from virtbus_shared.service.xml_lines import Element, Output
from virtbus_shared.service.xml_values import ULONG, words

_LABEL = "domain_checkpoint"
_CONTENT = ("name", "description", "creationTime", "disks", "domain", "parent")

_RULES = strict.Rules(
    (f"self::*[@* or {strict.TEXT}] | *[{strict.only(*_CONTENT)}]", "a checkpoint has no such content"),
    ("(name | description | creationTime | parent/name)[* or @*]", "this is a text"),
    ("name[2] | description[2] | creationTime[2] | disks[2] | domain[2] | parent[2]", "there is one of these already"),
    (f"(name | parent/name)[{strict.unless('.', strict.CHECKPOINT_NAME)}]",
     "a checkpoint's name has letters, digits, '_', '-' and '.', and does not start with '.'"),
    (f"parent[not(name) or name[2] or @* or *[{strict.only('name')}]]", "a parent has a name, and nothing else"),
    (f"creationTime[{strict.unless('.', strict.NUMBER)}]", "a time is a number of seconds"),
    ("domain[not(@type)]", "a domain has a type"),
    (f"disks[not(disk) or @* or {strict.TEXT}] | disks/*[{strict.only('disk')}]",
     "a list of disks has one at least, and nothing else"),
    (f"disks/disk[* or @*[{strict.only('name', 'checkpoint', 'bitmap', 'size')}]]", "a disk has no such content"),
    (f"disks/disk[{strict.unless('@name', strict.TARGET)} and {strict.unless('@name', strict.ABSOLUTE)}]",
     "a disk is named by its target or its image"),
    ("disks/disk[@checkpoint[not(.='no' or .='bitmap')]]", "a disk's checkpoint is 'bitmap' or 'no'"),
    ("disks/disk[@checkpoint='no' and (@bitmap or @size)]", "a disk without a checkpoint has no bitmap"),
    (f"disks/disk[@size[{strict.unless('.', strict.NUMBER)}]]", "a size is a number"),
)


@element
class CheckpointDisk(Element):
    """What becomes of one disk; ``size`` is how many bytes have changed since, known while the domain runs."""

    name: str | None = attr("@name")
    checkpoint: str | None = attr("@checkpoint", words("no", "bitmap"))
    bitmap: str | None = attr("@bitmap")
    size: int | None = attr("@size", ULONG)


@element
class CheckpointRequest(Element):
    """The part of the document that a client decides on: no more is read of one that makes a checkpoint."""

    name: str | None = text("name")
    description: str | None = text("description")
    disks: list[CheckpointDisk] = subs("disks/disk", CheckpointDisk)


@element
class Checkpoint(Element):
    """A checkpoint, with the domain as it was."""

    name: str | None = text("name")
    description: str | None = text("description")
    parent: str | None = text("parent/name")
    creation_time: int | None = text("creationTime", TIME, error=(c.VIR_ERR_INTERNAL_ERROR,
                                                                  "missing creationTime from existing checkpoint"))
    disks: list[CheckpointDisk] = subs("disks/disk", CheckpointDisk)
    domain: Domain | None = sub("domain", Domain)


_REQUEST = Document(CheckpointRequest, "domaincheckpoint", _LABEL, c.VIR_FROM_DOMAIN_CHECKPOINT)
_CHECKPOINT = Document(Checkpoint, "domaincheckpoint", _LABEL, c.VIR_FROM_DOMAIN_CHECKPOINT)


def parse_checkpoint(text: str, now: int) -> Checkpoint:
    """A new checkpoint, as a client asks for it at a time; without a name it is called after that.

    Raises ``LibvirtError``: not well formed, another root element, what libvirt's schema forbids; with its path.
    """
    _check(text)
    wish = _REQUEST.parse(text)
    return Checkpoint(name=wish.name or str(now), description=wish.description, creation_time=now,
                      disks=_complete(wish.disks))


def parse_redefined_checkpoint(text: str) -> Checkpoint:
    """A checkpoint whose metadata a client brings back, or that we stored.

    Raises ``LibvirtError`` as ``parse_checkpoint`` does, and for what only such a document must have.
    """
    _check(text)
    checkpoint = _CHECKPOINT.parse(text)
    if checkpoint.name is None:
        raise _wrong(c.VIR_ERR_XML_ERROR, "a redefined checkpoint must have a name")
    if checkpoint.creation_time is None:
        raise _wrong(c.VIR_ERR_INTERNAL_ERROR, "missing creationTime from existing checkpoint")
    _complete(checkpoint.disks)
    return checkpoint


def _check(text: str) -> None:
    root = parse_root(text, _LABEL, c.VIR_FROM_DOMAIN_CHECKPOINT)
    if root.tag == "domaincheckpoint":  # another one is for the document to refuse
        _RULES.check(root)


def _complete(disks: list[CheckpointDisk]) -> list[CheckpointDisk]:
    """A disk is named because it takes part; its size is ours to tell."""
    for disk in disks:
        disk.checkpoint = disk.checkpoint or "bitmap"
        disk.size = None
    return disks


def format_checkpoint(checkpoint: Checkpoint, *, secure: bool = False, with_domain: bool = True) -> str:
    """The checkpoint's document, with passwords if ``secure``."""
    if not with_domain:
        checkpoint = copy.copy(checkpoint)
        checkpoint.domain = None
    return _CHECKPOINT.format(checkpoint, Output.INACTIVE | (Output.SECURE if secure else 0))


def _wrong(code: int, detail: str) -> LibvirtError:
    return LibvirtError(code, f"{detail} (at /domaincheckpoint)", domain=c.VIR_FROM_DOMAIN_CHECKPOINT)
