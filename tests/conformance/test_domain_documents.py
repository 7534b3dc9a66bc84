"""Domain documents mean to us what they mean to libvirt 9.0.0: what is stored of them, and the command they become.

Compared by value with libvirt's own QEMU driver (``qemu:///embed`` in a child process) and its test driver, for our own
documents and, where a collection lies beside the checkout, for real ones. Differences that are meant are on record in
``domain/*.toml``; one that no longer shows is a failure too. ``comparisons.py`` tells what is compared.
"""

from __future__ import annotations

import pytest

from tests.conformance.comparisons import COMPARISONS, found, left, summary
from tests.conformance.documents import all_documents
from tests.support.corpus import require_corpus
from tests.support.difference_table import report

NAMES = list(COMPARISONS)


@pytest.mark.parametrize("document", all_documents())
@pytest.mark.parametrize("comparison", NAMES)
def test_same_meaning(comparison: str, document: str) -> None:
    """Whatever libvirt answers, we answer, but for what is on record."""
    differences = left(comparison).get(document)
    assert differences is None, f"\n{report(differences)}"


@pytest.mark.parametrize("comparison", NAMES)
def test_differences_on_record_are_still_there(comparison: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each pattern of the tables explains a difference; it needs all documents to show."""
    require_corpus()
    with capsys.disabled():
        print(f"\n{summary(comparison)}")
    idle = [f"{pattern} ({entry.reason})" for entry in COMPARISONS[comparison].table
            for pattern in entry.idle(found(comparison))]
    assert not idle, "on record as different, but alike by now:\n" + "\n".join(idle)
