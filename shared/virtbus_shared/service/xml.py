"""The mapping between libvirt's XML and typed objects: one line per element or attribute, read and written from it.

Four services speak libvirt's XML. A model is a class under ``@element`` whose fields say where a value stands and
what it may be, in the order libvirt writes them::

    @element
    class Disk(Element):
        type: str | None = attr("@type", words("file", "block"))
        target_dev: str | None = attr("target/@dev")
        readonly: bool = flag("readonly")
        address: Address | None = sub("address", Address)

From these lines one reader and one writer per class are made when it is first used. A path may pass through elements
("target/@dev"); fields below the same element share it. Reading adds no defaults: absent is None, and what libvirt
fills in belongs to separate passes. Output is libvirt's own: two spaces, single quotes, fixed order. What no line
declares is dropped, as libvirt drops it; a model that is not complete derives from ``Partial`` and keeps it. Text comes
from strangers: ``parse_root`` says what is refused early.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar, cast, dataclass_transform, overload

from lxml import etree

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml_lines import PLANS, Block, Element, Line, Output, Plan, Raw, Refused, Test
from virtbus_shared.service.xml_read import read_model
from virtbus_shared.service.xml_values import STR, AnyRefusal, Kind
from virtbus_shared.service.xml_write import write_model

T = TypeVar("T")
M = TypeVar("M", bound=Element)
# What picks a model: an attribute, or a function that finds it elsewhere.
By = str | Callable[[etree._Element], str | None]

# libvirt's own limit of a string in a remote call; the largest real documents have a hundredth of it.
MAX_CHARACTERS = 4 * 1024 * 1024


@overload
def attr(path: str, *, live: Test = False, migratable: Test = True, secret: bool = False,
         error: AnyRefusal | None = None, required: AnyRefusal | bool = False) -> str | None: ...
@overload
def attr(path: str, kind: Kind[T], *, live: Test = False, migratable: Test = True, secret: bool = False,
         error: AnyRefusal | None = None, required: AnyRefusal | bool = False) -> T | None: ...
def attr(path: str, kind: Kind[Any] = STR, *, live: Test = False, migratable: Test = True, secret: bool = False,
         error: AnyRefusal | None = None, required: AnyRefusal | bool = False) -> Any:
    """An attribute: "@type", or "target/@dev" below child elements; None when absent.

    ``live`` keeps it out of the stored form, always or when the given test of value and model says so; ``migratable``
    is the same for what is not sent along; ``secret`` writes it only on request; ``error`` is libvirt's own refusal
    where it differs from the usual one. An element without a ``required`` attribute is refused, in the usual words or
    in those given. These words mean the same for every kind of line.
    """
    return Line("attr", path, kind, live=live, migratable=migratable, secret=secret, error=error,
                required=required)


@overload
def text(path: str, *, live: Test = False, migratable: Test = True, error: AnyRefusal | None = None) -> str | None: ...
@overload
def text(path: str, kind: Kind[T], *, live: Test = False, migratable: Test = True,
         error: AnyRefusal | None = None) -> T | None: ...
def text(path: str, kind: Kind[Any] = STR, *, live: Test = False, migratable: Test = True,
         error: AnyRefusal | None = None) -> Any:
    """The text of a child element, "." for the element's own; an empty one is as good as absent."""
    return Line("text", path, kind, live=live, migratable=migratable, error=error)


def size(path: str, unit: str, *, live: Test = False, migratable: Test = True, output_only: bool = False,
         error: AnyRefusal | None = None) -> int | None:
    """A number with a ``unit`` beside it: without one read as ``unit``, and held and written in it.

    It is the text of a child element ("memory", or "memory/." where other lines declare attributes of it), or an
    attribute ("@size"). What a client writes into an ``output_only`` one is ignored, even nonsense.
    """
    return cast(int | None, Line("size", path, unit=unit, live=live, migratable=migratable, output_only=output_only,
                          error=error))


def flag(path: str, *, live: Test = False, migratable: Test = True, input_only: bool = False) -> bool:
    """An empty child element that means yes by being there; ``input_only``: a wish that no document repeats."""
    return cast(bool, Line("flag", path, default=False, live=live, migratable=migratable, input_only=input_only))


def fixed(path: str, value: str) -> str:
    """An attribute that is the same in every object of a class (the ``type`` that picked it)."""
    return cast(str, Line("attr", path, default=value))


def sub(path: str, model: type[M], *, live: Test = False, migratable: Test = True, secret: bool = False) -> M | None:
    """A child element with a model of its own."""
    return cast(M | None, Line("sub", path, model=model, live=live, migratable=migratable, secret=secret))


def nested(path: str) -> Any:
    """A child element with the same model as the one that it stands in, to any depth."""
    return Line("sub", path, nested=True)


def choice(path: str, by: By, cases: Mapping[str, type[M]], *, default: type[M] | None = None, live: Test = False,
           migratable: Test = True, error: AnyRefusal | None = None, required: AnyRefusal | bool = True) -> M | None:
    """A child element whose attribute ``by`` picks its model; ``default`` serves when the attribute is absent.

    Where what picks it stands elsewhere, ``by`` is a function that finds it. ``required`` is libvirt's refusal of an
    element that has neither.
    """
    return cast(M | None, Line("sub", path, model=default or Element, by=by, cases=cases, live=live,
                               migratable=migratable, error=error, required=required))


def subs(path: str, model: type[M], *, live: Test = False, migratable: Test = True, secret: bool = False) -> list[M]:
    """Child elements of one name, each with a model of its own."""
    return cast(list[M], Line("subs", path, default=list, model=model, live=live, migratable=migratable, secret=secret))


def choices(path: str, by: By, cases: Mapping[str, type[M]], *, default: type[M] | None = None, live: Test = False,
            migratable: Test = True, error: AnyRefusal | None = None,
            required: AnyRefusal | bool = True) -> list[M]:
    """Child elements of one name, for each of which an attribute picks the model: see ``choice``."""
    return cast(list[M], Line("subs", path, default=list, model=default or Element, by=by, cases=cases, live=live,
                              migratable=migratable, error=error, required=required))


@overload
def each(path: str) -> list[str]: ...
@overload
def each(path: str, kind: Kind[T], *, error: AnyRefusal | None = None) -> list[T]: ...
def each(path: str, kind: Kind[Any] = STR, *, error: AnyRefusal | None = None) -> Any:
    """Child elements of one name that hold a text each ("initarg"), or one attribute each ("boot/@dev")."""
    return Line("each", path, kind, default=list, error=error)


def raw(path: str) -> tuple[Raw, ...]:
    """Child elements of one name that are kept whole, in this place of the order."""
    return cast(tuple[Raw, ...], Line("raw", path, default=()))


def block(path: str, read: Callable[[etree._Element], T], write: Callable[[T], str], *, live: Test = False,
          migratable: Test = True) -> T | None:
    """A child element with a reader and a writer of its own; ``write`` gives its lines, indented."""
    return cast(T | None, Line("block", path, block=Block(read, write), live=live, migratable=migratable))


@overload
def element(cls: type[M], /) -> type[M]: ...
@overload
def element(*, open_tag: bool = False, namespaces: Mapping[str, str] | None = None, declare: bool = True,
            unknown_child: AnyRefusal | None = None) -> Callable[[type[M]], type[M]]: ...
@dataclass_transform(kw_only_default=True)
def element(cls: type[M] | None = None, /, *, open_tag: bool = False, namespaces: Mapping[str, str] | None = None,
            declare: bool = True,
            unknown_child: AnyRefusal | None = None) -> type[M] | Callable[[type[M]], type[M]]:
    """Make a model of a class: one with a slot for each line, whose lines are known to the readers and writers.

    ``open_tag`` writes it as an open and a close tag even when empty, as libvirt does with ``devices``; ``namespaces``
    are those of its "prefix:tag" paths, by prefix, and it declares the used ones unless ``declare`` says that an
    element around it does. ``unknown_child`` refuses a child that no line declares ("{value}" is its name).
    """
    def make(plain: type[M]) -> type[M]:
        own = {name: value for name, value in vars(plain).items() if isinstance(value, Line)}
        lines = {name: line for base in reversed(plain.__mro__[1:]) if base in PLANS
                 for name, line in PLANS[base].lines.items()}
        body = {name: value for name, value in vars(plain).items()
                if name not in own and name not in ("__dict__", "__weakref__")}
        body.setdefault("__init__", Element.__init__)  # not what another model's has become
        # A class cannot be given slots after it was made.
        body["__slots__"] = tuple(name for name in own if name not in lines)
        model = cast(type[M], cast(Any, type(plain))(plain.__name__, plain.__bases__, body))
        lines |= {name: line._replace(model=model) if line.nested else line for name, line in own.items()}
        PLANS[model] = Plan(model, lines, open_tag=open_tag, namespaces=namespaces, declare=declare,
                            unknown_child=unknown_child)
        return model

    return make if cls is None else make(cls)


def _parser(is_wary: bool) -> etree.XMLParser:
    # Identifiers are of no interest (two alike are no fault to libvirt), but without an eye on them lxml would load
    # document types from files.
    return etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False,
                           remove_blank_text=True, huge_tree=False, collect_ids=is_wary)


_PARSERS = {is_wary: _parser(is_wary) for is_wary in (False, True)}
# lxml keeps every name that it met in a thread as long as the thread lives: what large documents call their elements
# shall not stay. Common ones are too small to bring much, and a thread for each would cost more than they do.
_LARGE = 32 * 1024
# What libxml2 finds by going through a list, for each entry of the list again, is refused in such numbers: attributes
# of one element, declarations of namespaces. Real documents have a dozen.
_MANY = 1000
_MANY_ATTRIBUTES = etree.XPath(f"boolean(//*[count(@*) > {_MANY}])")


def parse_root(text: str, label: str, domain: int) -> etree._Element:
    """The root element of a document from outside.

    Entities, document types, the network, and more than libvirt itself takes of size or depth are refused before
    anything is built. Raises ``LibvirtError``: XML detail with line and excerpt as libvirt gives it.
    """
    def refused(detail: str) -> LibvirtError:
        return LibvirtError(c.VIR_ERR_XML_DETAIL, f"({label}):{detail}", domain=domain)

    if len(text) > MAX_CHARACTERS:
        raise refused(f" document of {len(text)} characters is larger than the {MAX_CHARACTERS} permitted")
    data = text.encode("utf-8", "surrogatepass")
    is_large = len(data) >= _LARGE
    if is_large and data.count(b"xmlns") > _MANY:
        raise refused(f"1: more than {_MANY} declarations of namespaces")
    is_wary = "<!DOCTYPE" in text
    try:
        root = _parsed_aside(data, is_wary) if is_large else etree.fromstring(data, _PARSERS[is_wary])
    except etree.XMLSyntaxError as wrong:
        raise LibvirtError(c.VIR_ERR_XML_DETAIL, _syntax_detail(text, label, wrong), domain=domain) from None
    if is_wary and root.getroottree().docinfo.internalDTD is not None:  # not only words of a comment
        raise refused("1: document type declarations are not accepted")
    if is_large and _MANY_ATTRIBUTES(root):
        raise refused(f"1: an element with more than {_MANY} attributes")
    return root


def _parsed_aside(data: bytes, is_wary: bool) -> etree._Element:
    """The root element, parsed in a thread of its own."""
    with ThreadPoolExecutor(max_workers=1) as aside:
        return aside.submit(lambda: etree.fromstring(data, _parser(is_wary))).result()


def _syntax_detail(text: str, label: str, wrong: etree.XMLSyntaxError) -> str:
    """libvirt's three lines: what is wrong, the source line, and a pointer to the place."""
    line, column = wrong.lineno or 1, max(wrong.offset or 1, 1)
    lines = text.split("\n", line)
    source = lines[line - 1][:column + 40][-120:] if line <= len(lines) and text else "(null)"
    reason = (wrong.msg or "not well formed").rpartition(", line ")[0] or wrong.msg
    pointer = "-" * min(column, len(source)) if text else ""
    if not text.lstrip().startswith("<"):  # nothing of it was read: libxml2 stands before it, not behind
        pointer = "-" * (len(source) - len(source.lstrip())) if text else ""
    return f"({label}):{line}: {reason}\n{source}\n{pointer}^"


class Document(Generic[M]):
    """A kind of document: its root element, its model, and how libvirt speaks of it when something is wrong.

    ``label`` names the input in syntax errors ("domain_definition"); ``domain`` is the ``VIR_FROM_*`` of its errors.
    """

    def __init__(self, model: type[M], tag: str, label: str, domain: int) -> None:
        self.model = model
        self.tag = tag
        self.label = label
        self.domain = domain

    def parse(self, text: str) -> M:
        """The model of a document. Raises ``LibvirtError`` with the path of what is wrong."""
        root = parse_root(text, self.label, self.domain)
        if root.tag != self.tag:
            detail = f"expecting root element of '{self.tag}', not '{root.tag}'"
            raise LibvirtError(c.VIR_ERR_XML_ERROR, detail, domain=c.VIR_FROM_XML)
        try:
            return cast(M, read_model(self.model, root))
        except Refused as refused:
            code, detail = refused.error
            domain = self.domain if refused.domain is None else refused.domain
            detail = detail.replace("{name}", root.findtext("name") or "(null)")
            raise LibvirtError(code, f"{detail} (at {refused.path})", domain=domain) from None

    def format(self, model: M, output: Output = Output.INACTIVE) -> str:
        """The document's text, as libvirt writes it, with a final line end."""
        out: list[str] = []
        write_model(model, self.tag, "", out, output)
        out.append("")
        return "\n".join(out)
