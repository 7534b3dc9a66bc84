"""Every attribute of a domain document is looked at by a start, refused, or listed with the reason why not."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.documents import own_documents
from tests.support.attribute_documents import DOCUMENTS
from tests.support.attribute_effects import Fields, definable, looked_at, refused_or_below
from virtbus_domain.drivers.qemu import certificates
from virtbus_domain.drivers.qemu.supported import REFUSED
from virtbus_domain.xml.domain import Domain
from virtbus_shared.service.xml_lines import declared, lines_of

Names = set[tuple[str, str]]  # a model and its field

TABLE: list[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "command_attributes.toml").read_text())["attributes"]


def names(fields: Fields) -> Names:
    """The same by name."""
    return {(model.__name__, field) for model, found in fields.items() for field in found}


def listed(*, depends: bool | None = None) -> Iterator[tuple[str, str]]:
    """What the table lists."""
    for entry in TABLE:
        if depends is None or bool(entry.get("depends")) is depends:
            yield from ((model, field) for model, fields in entry["models"].items() for field in fields)


@pytest.fixture(scope="module")
def every() -> Names:
    """All attributes that a domain document can have."""
    return names({model: set(lines_of(model)) for model in declared(Domain)})


@pytest.fixture(scope="module")
def effective(tmp_path_factory: pytest.TempPathFactory) -> Names:
    """Those that make a difference, on a node with certificates."""
    pki = tmp_path_factory.mktemp("pki")
    (pki / "ca-cert.pem").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificates, "_SPICE", pki)
        return names(looked_at([*definable(own_documents()), *DOCUMENTS]))


def test_none_is_passed_over(every: Names, effective: Names) -> None:
    """What is declared makes a difference, or is refused, or is listed."""
    unexplained = every - effective - names(refused_or_below(Domain)) - set(listed())
    assert sorted(unexplained) == []


def test_what_is_done_is_not_refused(effective: Names) -> None:
    """Nothing is refused before a start that the start would carry out."""
    assert sorted(names({model: set(fields) for model, fields in REFUSED.items()}) & effective) == []


def test_table_is_true(every: Names, effective: Names) -> None:
    """The table lists only what there is, and nothing that does make a difference; each entry has a reason."""
    assert sorted(set(listed()) - every) == []
    assert sorted(set(listed(depends=False)) & effective) == []
    for entry in TABLE:
        assert entry["reason"].endswith(".")
