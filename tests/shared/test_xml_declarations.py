"""What a line may say beyond place and shape: that it must be there, that models nest, what picks a model, secrets."""

from __future__ import annotations

import pytest
from lxml import etree

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import Document, attr, choice, element, nested, sub, subs, text
from virtbus_shared.service.xml_lines import Element, Output
from virtbus_shared.service.xml_values import ORDER, UINT, words


@element
class Doll(Element):
    """Something with one of its own kind inside."""

    size: int | None = attr("@size", UINT)
    inner: Doll | None = nested("doll")


@element
class Steam(Element):
    """An engine that burns something."""

    fuel: str | None = attr("@fuel")


@element
class Electric(Element):
    """An engine that needs a wire."""

    volts: int | None = attr("@volts", UINT)


@element
class Key(Element):
    """What opens something."""

    code: str | None = text(".")


def _kind_around(engine: etree._Element) -> str | None:
    around = engine.getparent()
    return around.get("kind") if around is not None else None


@element
class Toy(Element):
    """Something that declares all of it."""

    name: str | None = attr("@name", required=True)
    kind: str | None = attr("@kind")
    turn: int | None = attr("@turn", ORDER)
    maker: str | None = attr("origin/@maker", required=(c.VIR_ERR_NO_SOURCE, "no maker"))
    land: str | None = attr("origin/@land", words("a", "b"),
                            error=(c.VIR_ERR_XML_ERROR, "no land '{value}'", c.VIR_FROM_STORAGE))
    doll: Doll | None = sub("doll", Doll)
    engine: Steam | Electric | None = choice("engine", _kind_around, {"steam": Steam, "electric": Electric})
    keys: list[Key] = subs("key", Key, secret=True)


TOYS = Document(Toy, "toy", "toy", c.VIR_FROM_DOMAIN)

REFUSED = {
    "<toy/>": (c.VIR_ERR_XML_ERROR, c.VIR_FROM_XML,
               "XML error: Missing required attribute 'name' in element 'toy' (at /toy)"),
    "<toy name='x'><origin/></toy>": (
        c.VIR_ERR_NO_SOURCE, c.VIR_FROM_DOMAIN, "missing source information for device no maker (at /toy/origin)"),
    "<toy name='x'><origin maker='m' land='z'/></toy>": (
        c.VIR_ERR_XML_ERROR, c.VIR_FROM_STORAGE, "XML error: no land 'z' (at /toy/origin)"),
    "<toy name='x' turn='0'/>": (
        c.VIR_ERR_XML_ERROR, c.VIR_FROM_XML,
        "XML error: Invalid value for attribute 'turn' in element 'toy': Zero is not permitted (at /toy)"),
}


@pytest.mark.parametrize("document", REFUSED)
def test_refusal_has_its_own_words_and_domain(document: str) -> None:
    """What is missing or wrong is refused in the usual words, or with the code, words and error domain of its line."""
    with pytest.raises(LibvirtError) as refused:
        TOYS.parse(document)
    assert (refused.value.code, refused.value.domain, refused.value.message) == REFUSED[document]


def test_required_attribute_may_stand_in_an_absent_element() -> None:
    """Only an element that is there must have its required attributes."""
    assert TOYS.parse("<toy name='x'/>") == Toy(name="x")


def test_models_nest_to_any_depth() -> None:
    """A model may contain one of its own kind, which may as well be empty."""
    toy = TOYS.parse("<toy name='x'><doll size='3'><doll size='2'><doll/></doll></doll></toy>")
    assert toy.doll == Doll(size=3, inner=Doll(size=2, inner=Doll()))
    assert TOYS.parse(TOYS.format(toy)) == toy


def test_model_is_picked_by_what_stands_elsewhere() -> None:
    """A function finds the word that picks a model; here it stands in the element around."""
    assert TOYS.parse("<toy name='x' kind='steam'><engine fuel='coal'/></toy>").engine == Steam(fuel="coal")
    assert TOYS.parse("<toy name='x' kind='electric'><engine volts='9'/></toy>").engine == Electric(volts=9)


def test_secret_elements_are_written_on_request_only() -> None:
    """Elements that are secrets appear in the secure form, and in no other."""
    toy = TOYS.parse("<toy name='x'><key>1234</key></toy>")
    assert "1234" in TOYS.format(toy, Output.SECURE)
    assert "key" not in TOYS.format(toy, Output.LIVE)
