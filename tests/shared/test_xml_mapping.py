"""The XML mapping: lines to readers and writers, values, errors, and text that survives the way through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import (
    Document,
    attr,
    block,
    choice,
    each,
    element,
    fixed,
    flag,
    raw,
    size,
    sub,
    subs,
    text,
)
from virtbus_shared.service.xml_lines import Element, Output, Partial, Raw
from virtbus_shared.service.xml_metadata import Metadata, read_metadata, write_metadata
from virtbus_shared.service.xml_values import INT, MAC, OCTAL, ONOFF, ORDER, UINT, UUID, YESNO, hexa, words


@element
class Wheel(Element):
    """A part with a number and a text of its own."""

    number: int | None = attr("@number", UINT)
    name: str | None = text(".")


@element
class Rail(Element):
    """One way to move."""

    type: str = fixed("@type", "rail")
    gauge: int | None = attr("@gauge", hexa(4))


@element
class Road(Element):
    """Another way to move."""

    type: str = fixed("@type", "road")
    lanes: int | None = attr("@lanes", INT)


@element(open_tag=True)
class Cargo(Element):
    """Something that is always written with two tags."""

    items: list[str] = each("item")
    marks: list[str] = each("mark/@word", words("red", "blue"))


@element(namespaces={"x": "urn:x"})
class Train(Element):
    """Every shape of line in one model."""

    kind: str | None = attr("@kind", words("fast", "slow"),
                            error=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown kind '{value}'"))
    id: int | None = attr("@id", UINT, live=True)
    name: str | None = text("name")
    note: str | None = text("note")
    uuid: str | None = text("uuid", UUID)
    extra: Metadata | None = block("metadata", read_metadata, write_metadata)
    weight: int | None = size("weight", "KiB")
    load: int | None = size("load", "bytes", output_only=True)
    driver: str | None = attr("crew/driver/@name")
    alias: str | None = attr("crew/alias/@name", live=lambda name, train: not name.startswith("ua-"))
    mac: str | None = attr("crew/@mac", MAC)
    password: str | None = attr("crew/@password", secret=True)
    lit: bool | None = attr("light/@on", YESNO)
    loud: bool | None = attr("horn/@state", ONOFF)
    order: int | None = attr("horn/@order", ORDER)
    mode: int | None = text("mode", OCTAL)
    empty: bool = flag("empty")
    wheels: list[Wheel] = subs("wheel", Wheel)
    cargo: Cargo | None = sub("cargo", Cargo)
    way: Element | None = choice("way", "type", {"rail": Rail, "road": Road})
    engine: tuple[Raw, ...] = raw("engine")
    foreign: tuple[Raw, ...] = raw("x:foreign")


@element
class Sketch(Partial):
    """A model that is not complete."""

    name: str | None = text("name")
    driver: str | None = attr("crew/driver/@name")


SKETCH = Document(Sketch, "train", "train_definition", c.VIR_FROM_DOMAIN)
TRAIN = Document(Train, "train", "train_definition", c.VIR_FROM_DOMAIN)

FULL = """\
<train kind='fast' id='7' xmlns:x='urn:x'>
  <name>a &lt;b&gt; &amp; &quot;c&quot; &apos;d&apos;</name>
  <uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid>
  <metadata>
    <m:a xmlns:m="urn:m">
      <m:b c="1"/>
    </m:a>
  </metadata>
  <weight unit='KiB'>1024</weight>
  <crew mac='52:54:00:0a:0b:0c' password='s'>
    <driver name='d'/>
    <alias name='gen0'/>
  </crew>
  <light on='yes'/>
  <horn state='off' order='1'/>
  <mode>0644</mode>
  <empty/>
  <wheel number='1'>front</wheel>
  <wheel number='2'/>
  <cargo>
    <item>x</item>
    <item>y</item>
    <mark word='red'/>
  </cargo>
  <way type='rail' gauge='0x059b'/>
  <engine a='1'>
    <part>p</part>
  </engine>
  <x:foreign b='2'/>
</train>
"""


def test_round_trip_of_every_shape() -> None:
    """A document with each shape of line comes back character by character."""
    train = TRAIN.parse(FULL)
    assert TRAIN.format(train, Output.LIVE | Output.SECURE) == FULL
    assert isinstance(train.way, Rail)
    assert (train.weight, train.mode, train.way.gauge, train.loud) == (1024, 0o644, 0x59B, False)


def test_input_order_is_free_and_output_order_fixed() -> None:
    """Children and attributes in any order give the same model."""
    root = etree.fromstring(FULL)
    for node in list(root.iter("*")):
        node[:] = reversed(node)
        pairs = list(reversed(node.items()))
        node.attrib.clear()
        for name, value in pairs:
            node.set(name, value)
    shuffled = TRAIN.parse(etree.tostring(root, encoding="unicode"))
    shuffled.wheels.reverse()
    assert shuffled.cargo is not None
    shuffled.cargo.items.reverse()
    assert TRAIN.format(shuffled, Output.LIVE | Output.SECURE) == FULL


def test_serialisations_differ_by_flags_only() -> None:
    """The stored form has no id and no generated alias; the password shows only when asked for."""
    train = TRAIN.parse(FULL)
    stored = TRAIN.format(train)
    assert "id='7'" not in stored
    assert "gen0" not in stored
    assert "password" not in stored
    assert "password='s'" in TRAIN.format(train, Output.SECURE)
    train.alias = "ua-mine"
    assert "<alias name='ua-mine'/>" in TRAIN.format(train)


def test_absent_is_none_and_written_as_nothing() -> None:
    """Reading adds no defaults, and an element without content is not written unless it says so."""
    train = TRAIN.parse("<train><name/><crew/><cargo/></train>")
    assert train == Train(cargo=Cargo())
    assert TRAIN.format(train) == "<train>\n  <cargo>\n  </cargo>\n</train>\n"


UNKNOWN = "<train new='1'>\n  <crew shift='2'>\n    <cook/>\n  </crew>\n  <later at='9'/>\n</train>\n"


def test_unknown_content_is_dropped() -> None:
    """What no line declares is not there, as in libvirt."""
    assert TRAIN.parse(UNKNOWN) == Train()


def test_unknown_content_of_a_partial_model_is_kept() -> None:
    """Where a model says that it is not complete, what no line declares is written back inside its own element."""
    assert SKETCH.format(SKETCH.parse(UNKNOWN)) == UNKNOWN


def test_first_of_two_counts() -> None:
    """Where one element belongs, libvirt takes the first."""
    train = TRAIN.parse("<train><name>a</name><name>b</name><crew mac='1:2:3:4:5:6'/><crew mac='2:2:3:4:5:6'/></train>")
    assert (train.name, train.mac) == ("a", "01:02:03:04:05:06")


def test_output_only_input_is_ignored() -> None:
    """A figure that only we may state is not taken from a client, not even to complain about it."""
    train = TRAIN.parse("<train><load>nonsense</load></train>")
    assert train.load is None
    train.load = 3
    assert TRAIN.format(train) == "<train>\n  <load unit='bytes'>3</load>\n</train>\n"


@pytest.mark.parametrize(("amount", "unit", "kib"), [
    ("1", None, 1), ("1", "b", 1), ("1025", "bytes", 2), ("5", "KB", 5), ("1", "MB", 977), ("1", "m", 1024),
    ("1", "GiB", 2**20), ("0", "EiB", 0),
])
def test_sizes_are_stored_in_one_unit(amount: str, unit: str | None, kib: int) -> None:
    """All of libvirt's unit names are read, and what is no whole unit is rounded up."""
    given_unit = f" unit='{unit}'" if unit else ""
    assert TRAIN.parse(f"<train><weight{given_unit}>{amount}</weight></train>").weight == kib


@pytest.mark.parametrize(("document", "code", "domain", "message"), [
    ("<train kind='odd'/>", c.VIR_ERR_CONFIG_UNSUPPORTED, c.VIR_FROM_DOMAIN, "unknown kind 'odd' (at /train)"),
    ("<train><wheel/><wheel number='x'/></train>", c.VIR_ERR_XML_ERROR, c.VIR_FROM_XML,
     "Invalid value for attribute 'number' in element 'wheel': 'x'. Expected non-negative integer value"
     " (at /train/wheel[2])"),
    ("<train><light on='maybe'/></train>", c.VIR_ERR_XML_ERROR, c.VIR_FROM_XML,
     "Invalid value for attribute 'on' in element 'light': 'maybe'. (at /train/light)"),
    ("<train><horn order='0'/></train>", c.VIR_ERR_XML_ERROR, c.VIR_FROM_XML, "Zero is not permitted"),
    ("<train><uuid>1</uuid></train>", c.VIR_ERR_XML_ERROR, c.VIR_FROM_XML,
     "Invalid value '1' for element or attribute './uuid[1]' (at /train/uuid)"),
    ("<train><weight>-1</weight></train>", c.VIR_ERR_XML_ERROR, c.VIR_FROM_XML, "(at /train/weight)"),
    ("<train><weight unit='q'>1</weight></train>", c.VIR_ERR_INVALID_ARG, c.VIR_FROM_NONE, "unknown suffix 'q'"),
    ("<train><weight unit='EiB'>99</weight></train>", c.VIR_ERR_OVERFLOW, c.VIR_FROM_NONE, "too large: 99EiB"),
    ("<train><cargo><mark/></cargo></train>", c.VIR_ERR_XML_ERROR, c.VIR_FROM_XML,
     "Missing required attribute 'word' in element 'mark'"),
    ("<train><cargo><mark word='green'/></cargo></train>", c.VIR_ERR_XML_ERROR, c.VIR_FROM_XML, "'green'"),
    ("<train><way/></train>", c.VIR_ERR_XML_ERROR, c.VIR_FROM_XML, "Missing required attribute 'type'"),
    ("<train><way type='air'/></train>", c.VIR_ERR_XML_ERROR, c.VIR_FROM_XML, "'type' in element 'way': 'air'."),
    ("<car/>", c.VIR_ERR_XML_ERROR, c.VIR_FROM_XML, "expecting root element of 'train', not 'car'"),
    ("<train><mode>888</mode></train>", c.VIR_ERR_XML_ERROR, c.VIR_FROM_XML, "'888'"),
])
def test_refusals_name_the_place(document: str, code: int, domain: int, message: str) -> None:
    """A value that does not fit is libvirt's error, with the path of the element."""
    with pytest.raises(LibvirtError) as refused:
        TRAIN.parse(document)
    assert (refused.value.code, refused.value.domain) == (code, domain)
    assert message in refused.value.message


# Every character that XML 1.0 can carry.
XML_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cn"),
                                 exclude_characters="\ufffe\uffff").filter(
    lambda letter: letter >= " " or letter in "\t\n\r"))


@given(name=XML_TEXT.filter(bool), driver=XML_TEXT)
def test_any_text_survives(name: str, driver: str) -> None:
    """Text and attribute values come back as they were, whatever characters they hold."""
    again = TRAIN.parse(TRAIN.format(Train(name=name, driver=driver)))
    assert (again.name, again.driver) == (name, driver)


@given(name=st.text(), driver=st.text())
def test_no_text_breaks_a_document(name: str, driver: str) -> None:
    """Characters that XML cannot carry are left out; the document stays well formed and nothing is injected."""
    document = TRAIN.format(Train(name=name, driver=driver))
    root = etree.fromstring(document.encode())
    assert {node.tag for node in root.iter()} <= {"train", "name", "crew", "driver"}


def test_metadata_is_kept_as_written() -> None:
    """Text, order and comments inside stay; only one element per namespace, and none without, remain at the top."""
    train = TRAIN.parse("<train><metadata><!-- top --><plain/>text<a xmlns='urn:a' b='&lt;'>t<c/> u<!-- in --></a>"
                        "<a xmlns='urn:a'/><z:b xmlns:z='urn:z'><z:c/></z:b></metadata></train>")
    assert train.extra is not None
    assert [uri for uri, _ in train.extra.elements] == ["urn:a", "urn:z"]
    assert train.extra.get("urn:a") == '<a xmlns="urn:a" b="&lt;">t<c/> u<!-- in --></a>'
    assert train.extra.get("urn:z") == '<z:b xmlns:z="urn:z">\n  <z:c/>\n</z:b>'
    assert train.extra.get("urn:none") is None
    assert TRAIN.parse(TRAIN.format(train)) == train


def test_metadata_elements_are_replaced_by_namespace() -> None:
    """Setting one namespace leaves the others alone, and None removes it."""
    metadata = Metadata().replaced("urn:a", etree.fromstring("<a xmlns='urn:a'/>"))
    both = metadata.replaced("urn:b", etree.fromstring("<b xmlns='urn:b'><c/></b>"))
    assert both.replaced("urn:b", None) == metadata
    assert write_metadata(both) == ('  <metadata>\n    <a xmlns="urn:a"/>\n    <b xmlns="urn:b">\n      <c/>\n'
                                    "    </b>\n  </metadata>")
    assert write_metadata(Metadata()) == "  <metadata/>"
