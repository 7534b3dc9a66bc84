"""Domain documents through our own parser, passes and writer: what is read is kept, what is complete stays as it is.

The documents are our own (tests/data/xml/domain) and, where a collection lies beside the checkout, real ones. Whether
the result is libvirt's is another question: tests/conformance/test_domain_documents.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance import ours
from tests.conformance.documents import FIXTURES, all_documents
from tests.conformance.preparation import prepared
from tests.support.components import require_program
from tests.support.document_difference import differing_documents
from tests.support.embed import Refusal
from virtbus_domain.xml import format_domain, parse_domain
from virtbus_shared.errors import LibvirtError

DOCUMENTS = all_documents()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_model_survives_its_document(name: str) -> None:
    """Read, written with all that it holds, and read again, a document that is not refused gives the same model."""
    try:
        model = parse_domain(DOCUMENTS[name])
    except LibvirtError:
        return  # whether rightly, the conformance tests tell
    written = format_domain(model, live=True, secure=True)
    assert parse_domain(written) == model
    assert format_domain(parse_domain(written), live=True, secure=True) == written


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("driver", ["qemu", "test"])
def test_stored_form_is_stable(driver: str, name: str) -> None:
    """What is stored of a definition, unless it is refused, is stored of that too: a backup of it restores it."""
    require_program("qemu-system-x86_64")
    define = {"qemu": ours.stored, "test": ours.stored_by_test_driver}[driver]
    first = define(prepared(DOCUMENTS[name]) if driver == "qemu" else DOCUMENTS[name])
    if isinstance(first, Refusal):
        return
    second = define(first)
    assert isinstance(second, str), second
    assert differing_documents(second, first, first) == {}
    assert define(second) == second


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("live/*.xml")), ids=lambda path: path.stem)
def test_live_documents_come_back_whole(path: Path) -> None:
    """A running domain's document, as libvirt wrote it, is written as it was read."""
    text = path.read_text(encoding="utf-8")
    assert format_domain(parse_domain(text), live=True, secure=True) == text
