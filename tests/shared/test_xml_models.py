"""What models are beyond their documents: objects to make, compare and copy, and lines that tests can count."""

from __future__ import annotations

import copy

import pytest

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import (
    Document,
    attr,
    choice,
    choices,
    each,
    element,
    fixed,
    flag,
    nested,
    raw,
    size,
    sub,
    subs,
    text,
)
from virtbus_shared.service.xml_lines import Element, Output, Raw, content, declared, is_blank, lines_of
from virtbus_shared.service.xml_read import reader_source
from virtbus_shared.service.xml_values import ONOFF, UINT, Memo, words
from virtbus_shared.service.xml_write import writer_source

SHELVES = "urn:shelves"


@element
class Author(Element):
    """Who wrote a book."""

    name: str | None = text(".")
    born: int | None = attr("@born", UINT, migratable=False)


@element
class Novel(Element):
    """A book that tells a story."""

    kind: str = fixed("@kind", "novel")
    authors: list[Author] = subs("author", Author)
    sequel: Novel | None = nested("sequel")


@element
class Atlas(Element):
    """A book of maps, with more attributes than are asked for one by one."""

    kind: str = fixed("@kind", "atlas")
    a: str | None = attr("@a")
    b: int | None = attr("@b", UINT)
    c: bool | None = attr("@c", ONOFF)
    d: str | None = attr("@d", words("x", "y"))
    e: str | None = attr("@e")
    f: str | None = attr("@f")
    g: str | None = attr("@g")
    h: str | None = attr("@h", required=True)
    maps: int | None = size("@maps", "KiB")


@element(namespaces={"s": SHELVES}, declare=False)
class Mark(Element):
    """Something in a namespace that the element around it declares."""

    signs: list[str] = each("s:sign/@word")


@element(namespaces={"s": SHELVES}, unknown_child=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unexpected thing '{value}'"))
class Shelf(Element):
    """A model that refuses children it does not know."""

    width: int | None = size("width/.", "bytes")
    width_measured: bool | None = attr("width/@measured", ONOFF)
    depth: int | None = size("depth/@value", "KiB")
    first: Novel | Atlas | None = choice("first", "kind", {"novel": Novel, "atlas": Atlas})
    books: list[Novel | Atlas] = choices(
        "book", "kind", {"novel": Novel, "atlas": Atlas}, default=Novel,
        error=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown kind '{value}'"))
    owner: str | None = text("owner", migratable=lambda owner, shelf: owner.isascii())
    new: bool = flag("new", migratable=False)
    mark: Mark | None = sub("s:mark", Mark)
    loose: tuple[Raw, ...] = raw("loose")


SHELF = Document(Shelf, "shelf", "shelf", c.VIR_FROM_STORAGE)

FULL = """\
<shelf xmlns:s='urn:shelves'>
  <width measured='on' unit='bytes'>900</width>
  <depth value='3' unit='KiB'/>
  <first kind='atlas' a='1' b='2' c='on' d='x' e='3' f='4' g='5' h='6' maps='7' unit='KiB'/>
  <book kind='novel'>
    <author born='1775'>Jane</author>
    <sequel kind='novel'/>
  </book>
  <book kind='atlas' h='h'/>
  <owner>Zoë</owner>
  <new/>
  <s:mark>
    <s:sign word='w'/>
  </s:mark>
  <loose/>
</shelf>
"""


def shelf() -> Shelf:
    """The full example."""
    return SHELF.parse(FULL)


def test_everything_comes_back_to_the_character() -> None:
    """Sizes beside other lines and in attributes, lists of picked models, borrowed namespaces: written as read."""
    assert SHELF.format(shelf()) == FULL
    assert (shelf().width, shelf().width_measured, shelf().depth) == (900, True, 3)
    assert [type(book) for book in shelf().books] == [Novel, Atlas]


def test_sizes_are_read_in_their_units_wherever_they_stand() -> None:
    """The unit beside a text, and beside an attribute."""
    read = SHELF.parse("<shelf><width unit='KiB'>1</width><depth value='1' unit='MiB'/></shelf>")
    assert (read.width, read.depth) == (1024, 1024)


@pytest.mark.parametrize(("document", "detail"), [
    ("<shelf><bench/></shelf>", "unexpected thing 'bench' (at /shelf/bench)"),
    ("<shelf xmlns:o='urn:other'><o:mark/></shelf>", "unexpected thing 'mark' (at /shelf/o:mark)"),
    ("<shelf><book kind='map'/></shelf>", "unknown kind 'map' (at /shelf/book)"),
])
def test_unknown_children_can_be_refused(document: str, detail: str) -> None:
    """A model that says so takes no child that it does not declare, and no list a kind that it does not know."""
    with pytest.raises(LibvirtError) as refused:
        SHELF.parse(document)
    assert (refused.value.code, refused.value.domain) == (c.VIR_ERR_CONFIG_UNSUPPORTED, c.VIR_FROM_STORAGE)
    assert refused.value.message == f"unsupported configuration: {detail}"


@pytest.mark.parametrize(("document", "detail"), [
    ("<shelf><first kind='atlas' h='1' d='z'/></shelf>",
     "Invalid value for attribute 'd' in element 'first': 'z'. (at /shelf/first)"),
    ("<shelf><first kind='atlas' b='1'/></shelf>",
     "Missing required attribute 'h' in element 'first' (at /shelf/first)"),
    ("<shelf><first kind='atlas' h='1' maps='many'/></shelf>",
     "Invalid value 'many' for element or attribute './@maps' (at /shelf/first)"),
    ("<shelf><width>wide</width></shelf>",
     "Invalid value 'wide' for element or attribute './width[1]' (at /shelf/width)"),
])
def test_refusals_are_the_same_however_attributes_are_read(document: str, detail: str) -> None:
    """Many attributes are listed, few are asked for: what is wrong with them is said alike."""
    with pytest.raises(LibvirtError) as refused:
        SHELF.parse(document)
    assert refused.value.message == f"XML error: {detail}"


def test_comments_are_no_unknown_children() -> None:
    """Comments and instructions are nothing, also where unknown children are refused."""
    assert SHELF.parse("<shelf><!-- a --><?b c?><new/></shelf>") == Shelf(new=True)


def test_migratable_output_leaves_out_what_the_other_side_could_not_read() -> None:
    """Never, or where a test of the value says so; other outputs have it all."""
    migratable = SHELF.format(shelf(), Output.MIGRATABLE)
    assert "<author>Jane</author>" in migratable
    assert "<new/>" not in migratable
    assert "owner" not in migratable
    assert "<owner>Zoe</owner>" in SHELF.format(Shelf(owner="Zoe"), Output.MIGRATABLE)
    assert SHELF.format(shelf(), Output.LIVE) == FULL


def test_special_characters_deep_inside_are_escaped() -> None:
    """One text that needs escaping is enough for the whole document to be written with care."""
    written = SHELF.format(Shelf(owner="plain", books=[Novel(authors=[Author(name="a<b>&'c\"\ud800\x01")])]))
    assert "<author>a&lt;b&gt;&amp;&apos;c&quot;</author>" in written
    assert "<owner>plain</owner>" in written


def test_objects_are_made_by_keyword_and_differ_by_content() -> None:
    """A line that nobody declared is a fault of the program; what is not given is what absence gives."""
    with pytest.raises(TypeError, match=r"Author\.__init__\(\) got an unexpected keyword argument 'age'"):
        Author(age=3)  # type: ignore[call-arg]
    assert Author(name="x") == Author(name="x", born=None) != Author(name="y")
    assert Novel() != Atlas()
    assert Novel(kind="novel") == Novel()
    assert Novel().authors is not Novel().authors
    assert repr(Author(name="x", born=3)) == "Author(name='x', born=3)"


def test_copies_are_independent() -> None:
    """A deep copy shares nothing that can change."""
    original = shelf()
    twin = copy.deepcopy(original)
    assert twin == original
    assert isinstance(twin.books[0], Novel)
    twin.books[0].authors[0].name = "Anne"
    twin.books.pop()
    assert original == shelf()


def test_lines_can_be_counted() -> None:
    """A test finds every model below a root, each of its lines, and which of them an object has set."""
    assert set(declared(Shelf)) == {Shelf, Novel, Atlas, Author, Mark}
    assert declared(Novel) == [Novel, Author]
    assert {name: line.path for name, line in lines_of(Author).items()} == {"name": ".", "born": "@born"}
    assert content(Shelf(new=False, books=[], width=0)) == {"width": 0}
    unset = {(model, name) for model in declared(Shelf) for name in lines_of(model)}

    def tick(model: Element) -> None:
        for name, value in content(model).items():
            unset.discard((type(model), name))
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, Element):
                    tick(inner)

    tick(shelf())
    assert unset == {(Novel, "kind"), (Atlas, "kind")}  # the same in all objects


def test_blank_models_say_nothing() -> None:
    """An element without content gives a model that is blank; no element gives none."""
    assert is_blank(Novel())
    assert not is_blank(Novel(authors=[Author()]))
    assert not is_blank(None)


def test_memory_of_answers_is_bounded() -> None:
    """What a line remembers is few and short, whatever it is asked."""
    asked: list[str] = []

    def upper(word: str) -> str:
        asked.append(word)
        return word.upper()

    memo = Memo(upper)
    assert [memo["a"], memo["a"], memo["b" * 1000], memo["b" * 1000]] == ["A", "A", "B" * 1000, "B" * 1000]
    assert asked == ["a", "b" * 1000, "b" * 1000]
    for number in range(1000):
        assert memo[f"w{number}"] == f"W{number}"
    assert len(memo) <= 64


def test_generated_code_can_be_read() -> None:
    """The source of readers and writers names the lines of the model, and is shown on request."""
    assert "model.born = None if value is None" in reader_source(Author)
    assert "if model.born is not None:" in writer_source(Author)
    assert "born" not in writer_source(Author, Output.MIGRATABLE)
