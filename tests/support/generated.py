"""Documents made up from the models: every declared line may occur, with values it takes and some it does not.

Two kinds. ``documents`` walks the declared lines of a model, so most results are nonsense as a whole that a parser must
still deal with. ``guests`` puts plausible devices together, with strings of any kind wherever a user chooses one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import quoteattr

from hypothesis import strategies as st
from lxml import etree

from virtbus_domain.xml.domain import Domain
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml_lines import Element, Line, lines_of

OWN = Path(__file__).parents[1] / "data" / "xml" / "domain"
# What must not matter to anybody behind the parser: separators, quotes, line ends, other scripts, look-alike options.
HOSTILE = (",", ",,", "a,b=c", "'", '"', "a\nb", "\t", "-device", "$(id)", "`id`", "{}", '{"driver":"x"}', "../../etc",
           "日本語", "🂡", "\u202egnp.exe", "%s%n", "a b", "=", "fd=3", "file=/etc/passwd", "x" * 300)
_NUMBERS = ("0", "1", "2", "7", "16", "255", "4096", "1048576", "4294967295", "18446744073709551615", "-1", "0x10")
_DEPTH = 4


@functools.cache
def _vocabulary() -> tuple[str, ...]:
    """All attribute values and texts of our own documents."""
    words: dict[str, None] = {}
    for path in sorted(OWN.glob("*.xml")):
        for element in etree.parse(path).iter(etree.Element):
            words |= dict.fromkeys(map(str, element.attrib.values()))
            if element.text and element.text.strip():
                words[element.text.strip()] = None
    return (*words, *_NUMBERS)


@functools.cache
def _taken(read: Callable[[str], object]) -> tuple[str, ...]:
    """The words that a kind of value takes."""
    taken = []
    for word in _vocabulary():
        try:
            read(word)
        except (ValueError, LibvirtError):
            continue
        taken.append(word)
    return tuple(taken)


def _values(line: Line) -> st.SearchStrategy[str]:
    """Mostly what the line takes, sometimes anything."""
    free = st.one_of(st.sampled_from(HOSTILE), st.sampled_from(_vocabulary()),
                     st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12))
    if line.shape == "size":
        return st.one_of(st.sampled_from(_NUMBERS), free)
    if line.kind.read is None:
        return free
    taken = _taken(line.kind.read)
    if not taken:
        return free
    usual = st.sampled_from(taken)
    return st.one_of(usual, usual, usual, free)


@st.composite
def _element(draw: st.DrawFn, tag: str, model: type[Element], depth: int) -> etree._Element:
    """An element of a model: a few of its lines, each where it belongs."""
    root = etree.Element(tag.rpartition(":")[2])
    names = list(lines_of(model))
    chosen = draw(st.lists(st.sampled_from(names), max_size=6, unique=True)) if names else []
    for name in chosen:
        line = lines_of(model)[name]
        if ":" in line.path:
            continue
        *parents, last = line.path.split("/")
        place = root
        for parent in parents if not (line.shape == "each" and last.startswith("@")) else parents[:-1]:
            found = place.find(parent)
            place = etree.SubElement(place, parent) if found is None else found
        _add(draw, place, parents, last, line, depth)
    return root


def _add(draw: st.DrawFn, place: etree._Element, parents: list[str], last: str, line: Line, depth: int) -> None:
    if line.shape in ("sub", "subs"):
        models = line.models
        if depth and models:
            for _ in range(draw(st.integers(1, 2 if line.shape == "subs" else 1))):
                model = draw(st.sampled_from(models))
                child = draw(_element(last, model, depth - 1))
                kind = next((case for case, found in line.cases.items() if found is model), None)
                if isinstance(line.by, str) and line.by and kind is not None:
                    child.set(line.by, kind)
                place.append(child)
    elif line.shape == "flag" or line.shape in ("raw", "block"):
        etree.SubElement(place, last)
    elif last.startswith("@"):
        target = etree.SubElement(place, parents[-1]) if line.shape == "each" else place
        target.set(last[1:], draw(_values(line)))
    elif last == ".":
        place.text = draw(_values(line))
    else:
        etree.SubElement(place, last).text = draw(_values(line))


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A domain document with any of the declared lines; mostly with what every domain must have."""
    root = draw(_element("domain", Domain, _DEPTH))
    if draw(st.integers(0, 4)):
        root.set("type", draw(st.sampled_from(("qemu", "test", "kvm"))))
        for tag, text in (("name", "made-up"), ("memory", "65536")):
            if root.find(tag) is None:
                etree.SubElement(root, tag).text = text
        os = root.find("os")
        os = etree.SubElement(root, "os") if os is None else os
        kind = os.find("type")
        kind = etree.SubElement(os, "type") if kind is None else kind
        kind.text = "hvm"
        kind.set("arch", "x86_64")
        kind.set("machine", draw(st.sampled_from(("q35", "pc"))))
    return etree.tostring(root, encoding="unicode")


# --- plausible guests -----------------------------------------------------------------------------------------------

_STRINGS = st.one_of(st.sampled_from(HOSTILE), st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12))

_SERIALS = st.text("AZaz09_-. +:@/()[]", min_size=1, max_size=20)  # what libvirt takes for one


@st.composite
def guests(draw: st.DrawFn) -> str:
    """A guest that QEMU could run: devices of most families, strings of any kind for what users name."""
    def path() -> str:
        return quoteattr("/srv/" + draw(_STRINGS).replace("/", "_").replace("\n", " ").replace("\t", " "))

    devices: list[str] = []
    letters = iter("abcdefghijklmnop")
    for _ in range(draw(st.integers(0, 5))):
        bus, prefix = draw(st.sampled_from((("virtio", "vd"), ("scsi", "sd"), ("sata", "sd"), ("usb", "sd"))))
        image = draw(st.sampled_from(("raw", "qcow2")))
        devices.append(
            f"<disk type='file'><driver name='qemu' type='{image}'/><source file={path()}/>"
            f"<target dev='{prefix}{next(letters)}' bus='{bus}'/><serial>{draw(_SERIALS)}</serial>"
            "</disk>")
    models = st.sampled_from(("virtio", "e1000e", "rtl8139", "e1000"))
    devices += [f"<interface type='user'><model type='{draw(models)}'/></interface>"
                for _ in range(draw(st.integers(0, 4)))]
    if draw(st.booleans()):
        devices.append(f"<serial type='file'><source path={path()}/></serial>")
    devices += [f"<channel type='unix'><target type='virtio' name={_quoted(name)}/></channel>"
                for name in draw(st.lists(_STRINGS, max_size=3, unique_by=_quoted))]
    extra = ("<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>",
             "<input type='tablet' bus='usb'/>", "<input type='keyboard' bus='virtio'/>", "<hub type='usb'/>",
             "<watchdog model='i6300esb'/>", "<sound model='ich9'/>", "<sound model='ac97'/>",
             "<controller type='scsi' model='virtio-scsi'/>", "<controller type='usb' model='qemu-xhci'/>",
             "<controller type='usb' model='ich9-ehci1'/>", "<panic model='isa'/>",
             "<graphics type='vnc'><listen type='socket'/></graphics>",
             "<video><model type='virtio'/></video>", "<controller type='virtio-serial'/>")
    devices += draw(st.lists(st.sampled_from(extra), max_size=6, unique=True))
    machine = draw(st.sampled_from(("q35", "pc")))
    name = draw(_STRINGS).replace("/", "_").replace("\n", " ") or "x"
    features = draw(st.sampled_from(("<features><acpi/><apic/></features>", "<features><pae/></features>", "")))
    return (f"<domain type='qemu'><name>{_escaped(name)}</name><memory>{draw(st.integers(1, 2**22))}</memory>"
            f"<vcpu>{draw(st.integers(1, 8))}</vcpu><os><type arch='x86_64' machine='{machine}'>hvm</type>"
            f"<kernel>/srv/kernel</kernel><cmdline>{_escaped(draw(_STRINGS))}</cmdline></os>{features}"
            f"<devices>{''.join(devices)}</devices></domain>")


def _quoted(text: str) -> str:
    return quoteattr(text.replace("\n", " ").replace("\t", " "))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
