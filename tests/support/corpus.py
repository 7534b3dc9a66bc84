"""Real documents of other projects, where a checkout of them lies beside this one: reference material, not a component.

They are under licences of their own and so not part of this repository. A test over them is skipped when they are
absent, under CI as well::

    @every_document("domain")
    def test_something(document: Path) -> None:
        ...
"""

from __future__ import annotations

from pathlib import Path

import pytest

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "xml"
ABSENT = f"no collection of XML documents at {CORPUS}"


def corpus_documents(kind: str) -> list[Path]:
    """The documents of a kind (a directory of the collection: "domain", "domaincaps", "fragment"), in a fixed order.

    Empty when the collection is absent; a kind that it lacks is a mistake in the test.
    """
    if not CORPUS.is_dir():
        return []
    found = sorted((CORPUS / kind).glob("*.xml"))
    assert found, f"{CORPUS} has no kind {kind!r}"
    return found


def require_corpus() -> Path:
    """The collection's directory; skips the running test when it is absent."""
    if not CORPUS.is_dir():
        pytest.skip(ABSENT)
    return CORPUS


def every_document(*kinds: str) -> pytest.MarkDecorator:
    """Run a test once for each document of some kinds, as its argument ``document``; its name is in the test's id."""
    found = [pytest.param(path, id=path.stem if len(kinds) == 1 else f"{kind}/{path.stem}")
             for kind in kinds for path in corpus_documents(kind)]
    absent = pytest.param(None, id="absent", marks=pytest.mark.skip(reason=ABSENT))
    return pytest.mark.parametrize("document", found or [absent])
