"""Checking a document against libvirt's own RelaxNG schemas, where a client asks for it.

The schemas belong to libvirt and are not ours to ship: they are read from where its packages put them. They decide
nothing on their own: many documents that libvirt takes fail them, so only a flag of the caller leads here. Checking a
large document takes seconds, without Python's lock: event loops call this in a thread.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Literal, NamedTuple, cast

from lxml import etree

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import parse_root

Kind = Literal["domain", "domainsnapshot", "domaincheckpoint", "domainbackup", "capabilities", "domainCapabilities",
               "cpu"]

DIRECTORIES = (Path("/usr/share/libvirt/schemas"), Path("/usr/local/share/libvirt/schemas"))


class _Rules(NamedTuple):
    schema: str  # file name
    label: str  # of the document in syntax errors
    domain: int  # VIR_FROM_* of these


_RULES: dict[Kind, _Rules] = {
    "domain": _Rules("domain.rng", "domain_definition", c.VIR_FROM_DOMAIN),
    "domainsnapshot": _Rules("domainsnapshot.rng", "domain_snapshot", c.VIR_FROM_DOMAIN_SNAPSHOT),
    "domaincheckpoint": _Rules("domaincheckpoint.rng", "domain_checkpoint", c.VIR_FROM_DOMAIN_CHECKPOINT),
    "domainbackup": _Rules("domainbackup.rng", "domain_backup", c.VIR_FROM_DOMAIN),
    "capabilities": _Rules("capability.rng", "capabilities", c.VIR_FROM_CAPABILITIES),
    "domainCapabilities": _Rules("domaincaps.rng", "domainCapabilities", c.VIR_FROM_DOMAIN),
    "cpu": _Rules("cpu.rng", "CPU_definition", c.VIR_FROM_CPU),
}

class _Schemas(threading.local):
    """The compiled schemas of a thread: the error log of one tells of its last use."""

    def __init__(self) -> None:
        self.by_path: dict[Path, etree.RelaxNG] = {}


_schemas = _Schemas()


def validate(text: str, kind: Kind) -> None:
    """Refuse a document that libvirt's schema for its kind (the name of its root element) does not allow.

    Raises ``LibvirtError``: not well formed, another root element, ``VIR_ERR_XML_INVALID_SCHEMA`` with the schema's
    reasons and the path of the first element that one names, or an internal error when there is no schema to use.
    """
    rules = _RULES[kind]
    root = parse_root(text, rules.label, rules.domain)
    if root.tag != kind:
        raise LibvirtError(c.VIR_ERR_XML_ERROR, f"expecting root element of '{kind}', not '{root.tag}'",
                           domain=c.VIR_FROM_XML)
    path = schema_path(kind)
    schema = _schema(path)
    if schema.validate(root):
        return
    reasons = "\n".join(entry.message for entry in schema.error_log)
    element = next((entry.path for entry in schema.error_log if entry.path), root.getroottree().getpath(root))
    raise LibvirtError(c.VIR_ERR_XML_INVALID_SCHEMA, f"Unable to validate doc against {path}\n{reasons} (at {element})",
                       domain=c.VIR_FROM_XML)


def schema_path(kind: Kind) -> Path:
    """Where the schema for a kind of document is, or would be."""
    candidates = [directory / _RULES[kind].schema for directory in DIRECTORIES]
    return next((path for path in candidates if path.is_file()), candidates[0])


def _schema(path: Path) -> etree.RelaxNG:
    """The compiled schema: some 30 ms for each thread that needs one."""
    if path not in _schemas.by_path:
        _schemas.by_path[path] = _load(path)
    return _schemas.by_path[path]


def _load(path: Path) -> etree.RelaxNG:
    try:
        return etree.RelaxNG(file=str(path))
    except etree.LxmlError as wrong:
        log = cast("etree._ListErrorLog", wrong.error_log)
        reasons = "\n".join(entry.message for entry in log) or str(wrong)
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, f"Unable to parse RNG {path}: {reasons}\n"
                           "(libvirt's schemas are in its package libvirt0 or libvirt-libs)",
                           domain=c.VIR_FROM_XML) from None
