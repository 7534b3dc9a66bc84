"""Documents meant to harm: refused early, with libvirt's error, in bounded time and memory."""

from __future__ import annotations

import gc
import resource
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import MAX_CHARACTERS, Document, block, element, parse_root, subs, text
from virtbus_shared.service.xml_lines import MAX_DEPTH, Element, Partial
from virtbus_shared.service.xml_metadata import Metadata, read_metadata, write_metadata


@element
class Leaf(Element):
    """A part with a name."""

    name: str | None = text("name")


@element
class Tree(Element):
    """A model without room for strangers."""

    name: str | None = text("name")
    leaves: list[Leaf] = subs("leaf", Leaf)


@element
class Shrub(Partial):
    """A model with room for strangers."""

    name: str | None = text("name")


@element
class Note(Element):
    """A model with content of its clients."""

    metadata: Metadata | None = block("metadata", read_metadata, write_metadata)


NOTE = Document(Note, "note", "note_definition", c.VIR_FROM_NETWORK)
SHRUB = Document(Shrub, "tree", "tree_definition", c.VIR_FROM_NETWORK)
TREE = Document(Tree, "tree", "tree_definition", c.VIR_FROM_NETWORK)

BOMB = "<!DOCTYPE t [<!ENTITY a0 'ha'>" + "".join(
    f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12)) + "]><tree><name>&a11;</name></tree>"


@pytest.mark.parametrize(("document", "says"), [
    ("", "(tree_definition):1: Document is empty"),
    ("<", "(tree_definition):1: StartTag: invalid element name\n<\n-^"),
    ("<tree>\n<name>x</nme></tree>", "(tree_definition):2: Opening and ending tag mismatch: name line 2 and nme\n"
                                     "<name>x</nme></tree>\n-------------^"),
    ("<tree><name>\x00</name></tree>", "(tree_definition):1: "),
    ("<tree>\ud800</tree>", "(tree_definition):1: "),
    ("<tree a='1' a='2'/>", "Attribute a redefined"),
    ("<tree>&undefined;</tree>", "(tree_definition):1: "),
    (BOMB, "(tree_definition):1: "),
    ("<!DOCTYPE tree><tree/>", "document type declarations are not accepted"),
    ("<!DOCTYPE t [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><tree><name>&x;</name></tree>", "not accepted"),
    ("<!DOCTYPE t SYSTEM 'http://192.0.2.1/x.dtd'><tree/>", "not accepted"),
])
def test_malformed_documents_are_refused(document: str, says: str) -> None:
    """What is not plain well-formed XML is one error with the place, in the words and shape of libvirt."""
    with pytest.raises(LibvirtError) as refused:
        TREE.parse(document)
    assert (refused.value.code, refused.value.domain) == (c.VIR_ERR_XML_DETAIL, c.VIR_FROM_NETWORK)
    assert says in refused.value.message


def test_size_is_refused_before_parsing() -> None:
    """A hundred megabytes cost no second hundred: the length is looked at first."""
    huge = "<tree>" + "<a/>" * (25 * 1024 * 1024) + "</tree>"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(LibvirtError, match=f"larger than the {MAX_CHARACTERS} permitted"):
        TREE.parse(huge)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10 * 1024


@pytest.mark.parametrize("depth", [MAX_DEPTH + 2, 2000, 500_000])
def test_depth_is_bounded(depth: int) -> None:
    """Deep nesting is an error, not a stack that overflows."""
    with pytest.raises(LibvirtError) as refused:
        TREE.parse("<tree>" + "<a>" * depth + "</a>" * depth + "</tree>")
    assert refused.value.code in (c.VIR_ERR_XML_DETAIL, c.VIR_ERR_XML_ERROR)


def test_permitted_depth_is_kept() -> None:
    """What is just within the bound is read and written."""
    shrub = SHRUB.parse("<tree>" + "<a>" * 200 + "</a>" * 200 + "</tree>")
    assert SHRUB.parse(SHRUB.format(shrub)) == shrub


def test_many_attributes_and_elements_are_linear() -> None:
    """A document at the size limit, full of strangers, is read and kept whole."""
    strangers = 20_000
    document = "<tree>" + "".join(f"<a{n} b{n}='1'/>" for n in range(strangers)) + "</tree>"
    assert TREE.parse(document) == Tree()
    rest = SHRUB.parse(document).rest
    assert rest is not None
    assert len(rest[""].elements) == strangers


def test_repeated_identifiers_are_data() -> None:
    """xml:id and id twice mean nothing to us, as to libvirt: no attribute is taken for an identity."""
    leaf = "<leaf id='1' xml:id='z'><name>{}</name></leaf>"
    tree = TREE.parse(f"<tree>{leaf.format('a')}{leaf.format('b')}</tree>")
    assert [leaf.name for leaf in tree.leaves] == ["a", "b"]


def full(unit: str, around: str = "<tree>{}</tree>") -> str:
    """As many units as a document at the size limit holds; "#" in a unit stands for its number."""
    count = (MAX_CHARACTERS - len(around)) // (len(unit) + 6)
    return around.format("".join([unit.replace("#", str(number)) for number in range(count)]))


BIG = {
    "elements of a model": full("<leaf/>"),
    "elements of no model": full("<a/>"),
    "elements of as many names": full("<a#/>"),
    "identifiers": full("<leaf xml:id='i#'/>"),
    "repeated identifiers": full("<leaf xml:id='i'/>"),
    "comments in a text": full("x<!---->", "<tree><name>{}</name></tree>"),
    "elements in a text": full("x<a/>", "<tree><name>{}</name></tree>"),
    "references to characters": full("&lt;", "<tree><name>{}</name></tree>"),
    "a text": full("x", "<tree><name>{}</name></tree>"),
    "an attribute": full("x", "<tree a='{}'/>"),
    "lines": full("\n", "<tree><name>{}</name></tree>"),
    "words of a document type": full("x", "<tree><!-- <!DOCTYPE tree [<!ENTITY a 'b'>]> --><name>{}</name></tree>"),
}


@pytest.mark.parametrize("what", BIG)
def test_big_documents_are_answered_in_seconds(what: str) -> None:
    """Four megabytes of whatever are read and written in time that grows with them, not with their square."""
    began = time.process_time()
    TREE.format(TREE.parse(BIG[what]))
    assert time.process_time() - began < 20


@pytest.mark.parametrize("what", ["elements of no model", "elements of as many names"])
def test_big_rests_are_kept_in_seconds(what: str) -> None:
    """The same where a model keeps all of it."""
    began = time.process_time()
    shrub = SHRUB.parse(BIG[what])
    assert SHRUB.format(shrub).count("\n") == BIG[what].count("<a") + 2
    assert time.process_time() - began < 20


@pytest.mark.parametrize(("markup", "says"), [
    (full(" a#=''", "<tree{}/>"), "more than 1000 attributes"),
    (full(" a#=''", "<tree><name{}/></tree>"), "more than 1000 attributes"),
    (full(" xmlns:a#='u'", "<tree{}/>"), "more than 1000 declarations"),
    (full("<a xmlns='u#'/>"), "more than 1000 declarations"),
    (full("<leaf>"), "Excessive depth"),
    (full("<leaf/>", "<tree>{}</leaf>"), "tag mismatch"),
])
def test_what_libxml2_would_take_too_long_for_is_refused(markup: str, says: str) -> None:
    """Numbers that cost their square, and faults at the end of a long document, are errors at once."""
    began = time.process_time()
    with pytest.raises(LibvirtError, match=says):
        SHRUB.parse(markup)
    assert time.process_time() - began < 10


def test_names_of_large_documents_do_not_stay() -> None:
    """The process does not grow with the names that strangers give their elements."""
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    def parse(number: int) -> None:
        TREE.parse("<tree>" + "".join([f"<a{number}-{n}-{'x' * 40}/>" for n in range(20_000)]) + "</tree>")

    for number in range(4):
        parse(number)
    before = resident()
    for number in range(4, 24):  # their names are 20 MB
        parse(number)
    assert resident() - before < 8 * 1024 * 1024


def test_large_metadata_survives_its_document() -> None:
    """What was parsed aside is moved, written and read again after its document is gone."""
    parts = "".join(f"<p:part number='{number}'>x</p:part>" for number in range(3000))
    markup = f"<note><metadata><p:all xmlns:p='urn:p'>{parts}</p:all></metadata></note>"
    note = NOTE.parse(markup)
    gc.collect()
    assert note.metadata is not None
    assert str(note.metadata.get("urn:p")).count("<p:part ") == 3000
    assert NOTE.parse(NOTE.format(note)) == note


def test_declared_encoding_does_not_matter() -> None:
    """The text arrives decoded; what its declaration says of bytes is history."""
    assert TREE.parse("<?xml version='1.0' encoding='ISO-8859-1'?><tree><name>é</name></tree>").name == "é"


@given(st.text(st.sampled_from("<>/='\"& \n!-[]?:abtrename\x00\ud800é"), max_size=60))
def test_random_markup_is_answered(markup: str) -> None:
    """Whatever the bytes, the answer is a model or a libvirt error."""
    try:
        answer: Tree | LibvirtError = TREE.parse(f"<tree>{markup}</tree>")
    except LibvirtError as refused:
        answer = refused
    assert isinstance(answer, Tree) or answer.code in (c.VIR_ERR_XML_DETAIL, c.VIR_ERR_XML_ERROR)


def test_nothing_is_fetched(tmp_path: object) -> None:
    """An external entity's file is not read even where it exists."""
    with pytest.raises(LibvirtError):
        parse_root(f"<!DOCTYPE t [<!ENTITY x SYSTEM '{tmp_path}/x'>]><tree>&x;</tree>", "t", c.VIR_FROM_NONE)
