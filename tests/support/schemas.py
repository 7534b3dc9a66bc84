"""libvirt's RelaxNG schemas where its packages are installed: what our own documents are held to."""

from __future__ import annotations

import functools
from pathlib import Path

from lxml import etree

from tests.support.components import missing
from virtbus_domain.xml.validate import Kind, schema_path


def require_schemas() -> Path:
    """The directory of the schemas; skips the running test, or fails it in CI, when they are not installed."""
    path = schema_path("domain")
    if not path.is_file():
        missing("libvirt's schemas", "not installed (Debian: libvirt0)")
    return path.parent


@functools.cache
def _schema(path: Path) -> etree.RelaxNG:
    return etree.RelaxNG(file=str(path))


def schema_errors(text: str, kind: Kind) -> list[str]:
    """What the schema has against a document; nothing when it is valid."""
    require_schemas()
    schema = _schema(schema_path(kind))
    return [] if schema.validate(etree.fromstring(text.encode())) else [entry.message for entry in schema.error_log]
