"""Every family of the domain format is proved by documents or tests that exist: ``xml_families.toml`` is true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.support.corpus import CORPUS

ROOT = Path(__file__).parents[2]
LISTED_ELSEWHERE = CORPUS.parents[1] / "reference" / "xml-features.md"
DOCUMENTS = ROOT / "tests" / "data" / "xml" / "domain"
FAMILIES: list[dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("xml_families.toml").read_text(encoding="utf-8"))["family"]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family["name"])
def test_family_is_proved(family: dict[str, Any]) -> None:
    """Each element occurs in one of the family's documents, each document has one of its elements, each test exists."""
    documents = {name: etree.parse(DOCUMENTS / f"{name}.xml") for name in family.get("documents", [])}
    elements = family.get("elements", [])
    tests = family.get("tests", [])
    assert (documents and elements) or tests
    for path in elements:
        assert any(document.xpath(path) for document in documents.values()), f"{path} is in none of {[*documents]}"
    for name, document in documents.items():
        assert any(document.xpath(path) for path in elements), f"{name} has none of {elements}"
    for test in tests:
        path, _, function = test.partition("::")
        assert re.search(rf"^(async )?def {function}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), test


def test_documents_all_prove_something() -> None:
    """No document of ours is there for nothing, but for the one that others use."""
    used = {name for family in FAMILIES for name in family.get("documents", [])}
    assert {path.stem for path in DOCUMENTS.glob("*.xml")} - used <= {"rich"}


@pytest.mark.skipif(not LISTED_ELSEWHERE.is_file(), reason=f"no list of families at {LISTED_ELSEWHERE}")
def test_families_are_complete() -> None:
    """Each family that is listed for domains elsewhere, in tier 1 or 2, is one of ours, and of the same tier."""
    rows = domain_rows(LISTED_ELSEWHERE.read_text(encoding="utf-8"))
    assert len(rows) > 50
    wrong = []
    for label, tier in rows:
        found = [family["name"] for family in FAMILIES
                 if family["tier"] == tier and all(_has_word(label, word) for word in family["keywords"])]
        if len(found) != 1:
            wrong.append(f"{label} (tier {tier}): {found or 'missing'}")
    assert not wrong, "\n".join(wrong)
    assert len(FAMILIES) == len(rows)


def domain_rows(page: str) -> list[tuple[str, int]]:
    """Name and tier of the families of tiers 1 and 2 in the page's chapter on domains."""
    chapter = page.partition("\n## Domain\n")[2].partition("\n## ")[0]
    rows = []
    for line in chapter.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) > 3 and cells[3] in ("1", "2"):
            rows.append((cells[0], int(cells[3])))
    return rows


def _has_word(label: str, word: str) -> bool:
    return re.search(rf"(?<![\w=-]){re.escape(word)}(?![\w-])", label) is not None
