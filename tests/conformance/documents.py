"""The domain documents that libvirt's answers and ours are compared for: our own, and real ones where found."""

from __future__ import annotations

import functools
from pathlib import Path

from tests.support.corpus import corpus_documents

FIXTURES = Path(__file__).parents[1] / "data" / "xml" / "domain"


@functools.cache
def own_documents() -> dict[str, str]:
    """The project's own documents by name."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(FIXTURES.glob("*.xml"))}


@functools.cache
def real_documents() -> dict[str, str]:
    """Documents of other projects by name; none where the collection is absent."""
    return {path.stem: path.read_text(encoding="utf-8") for path in corpus_documents("domain")}


@functools.cache
def all_documents() -> dict[str, str]:
    """All documents by name."""
    return own_documents() | real_documents()
