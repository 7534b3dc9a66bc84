"""Readers: from an lxml element to a model, by the lines that the model's class declares.

A reader walks the attributes and children of an element once and looks each name up. It knows nothing of error
domains: it raises ``Refused``, which the document turns into libvirt's error with the path of the offending element.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NoReturn, cast

from lxml import etree

from virtbus_shared import constants as c
from virtbus_shared.service.xml_lines import MAX_DEPTH, PLANS, Element, Line, Node, Plan, Raw, Refused, Rest
from virtbus_shared.service.xml_values import ZERO, AnyRefusal, read_size

Namespaces = dict[str | None, str]


def text_of(element: etree._Element) -> str:
    """All text below an element, comments left out: what XPath's string() gives to libvirt."""
    if len(element) == 0:
        return element.text or ""
    return str(element.xpath("string()"))


def too_deep(element: etree._Element) -> Refused:
    """The refusal of a document nested deeper than any format of libvirt."""
    return Refused((c.VIR_ERR_XML_ERROR, f"Excessive depth in document: {MAX_DEPTH}"), element, general=True)


def read_raw(element: etree._Element, scope: Namespaces, depth: int = 0) -> Raw:
    """An element kept whole; ``scope`` holds the namespaces that are declared around it in our output."""
    if depth > MAX_DEPTH:
        raise too_deep(element)
    declared: list[tuple[str, str]] = []
    tag = str(element.tag)
    if tag[0] == "{" or None in scope:
        prefix, uri = element.prefix, element.nsmap.get(element.prefix, "")
        if scope.get(prefix, "") != uri:
            scope = {**scope, prefix: uri}
            declared.append((f"xmlns:{prefix}" if prefix else "xmlns", uri))
        local = tag.rpartition("}")[2]
        tag = f"{prefix}:{local}" if prefix else local
    attrs: list[tuple[str, str]] = []
    for name, value in cast(list[tuple[str, str]], element.items()):
        if name[0] == "{":
            uri, _, local = name[1:].partition("}")
            prefix = next((p for p, u in element.nsmap.items() if u == uri and p), "xml")
            if prefix != "xml" and scope.get(prefix) != uri:
                scope = {**scope, prefix: uri}
                declared.append((f"xmlns:{prefix}", uri))
            name = f"{prefix}:{local}"  # noqa: PLW2901
        attrs.append((name, value))
    if len(element) == 0:
        return Raw(tag, tuple(declared + attrs), element.text or "")
    children = tuple([read_raw(child, scope, depth + 1) for child in element if isinstance(child.tag, str)])
    return Raw(tag, tuple(declared + attrs), "" if children else text_of(element), children)


def _worded(error: AnyRefusal, value: str) -> AnyRefusal:
    detail = error[1].replace("{value}", value)
    return (error[0], detail, error[2]) if len(error) == 3 else (error[0], detail)


def _refuse_attribute(line: Line, element: etree._Element, name: str, value: str, hint: str) -> NoReturn:
    if line.error:
        raise Refused(_worded(line.error, value), element, general=False) from None
    said = hint if hint == ZERO else f"'{value}'. {hint}".rstrip()
    detail = f"Invalid value for attribute '{name}' in element '{element.tag}': {said}"
    raise Refused((c.VIR_ERR_XML_ERROR, detail), element, general=True) from None


def _refuse_text(line: Line, element: etree._Element, value: str) -> NoReturn:
    if line.error:
        raise Refused(_worded(line.error, value), element, general=False) from None
    detail = f"Invalid value '{value}' for element or attribute './{element.tag}[1]'"
    raise Refused((c.VIR_ERR_XML_ERROR, detail), element, general=True) from None


def _missing(element: etree._Element, attribute: str, error: AnyRefusal | None = None) -> Refused:
    if error:
        return Refused(error, element, general=False)
    detail = f"Missing required attribute '{attribute}' in element '{element.tag}'"
    return Refused((c.VIR_ERR_XML_ERROR, detail), element, general=True)


Reader = Callable[[etree._Element], Any]

_READERS: dict[type[Element], Reader] = {}


def read_model(model: type[Element], element: etree._Element) -> Element:
    """The object that an element describes. Raises ``Refused``, or ``LibvirtError`` for units."""
    return cast(Element, _reader_of(model)(element))


def _reader_of(model: type[Element]) -> Reader:
    reader = _READERS.get(model)
    if reader is None:
        reader = _READERS[model] = _Source(PLANS[model]).function()
    return reader


class _Source:
    """The source of one reader function; ``xml_write.py`` tells why there is source at all.

    Each declared line is a local variable until the object is made. Attributes and children are looked at in the
    document's order, once; of two elements where one belongs, the first counts.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.scope: Namespaces = dict(plan.namespaces.items())
        self.lines: list[str] = []
        self.names: dict[str, object] = {"refuse": _refuse_attribute, "missing": _missing,
                                         "keep_attribute": _keep_attribute,
                                         "keep_element": _keep_element, "scope": self.scope}

    def named(self, value: object) -> str:
        """A name by which the source can use a value."""
        name = f"_{len(self.names)}"
        self.names[name] = value
        return name

    def function(self) -> Reader:
        """The finished function."""
        fields = dataclasses.fields(self.plan.model)
        for field in fields:
            default = "[]" if field.default_factory is list else repr(field.default)
            self.lines.append(f"f_{field.name} = {default}")
        self.node(self.plan.root, "element", "")
        self.names["new"] = functools.partial(object.__new__, self.plan.model)
        self.lines += ["model = new()", *(f"model.{field.name} = f_{field.name}" for field in fields), "return model"]
        exec("def read(element):\n" + "\n".join("    " + line for line in self.lines), self.names)  # noqa: S102
        return cast(Reader, self.names["read"])

    def node(self, node: Node, element: str, pad: str) -> None:
        """Lines that take in an element without a model of its own, or the model's own."""
        first = "if"
        self.lines.append(f"{pad}for key, value in {element}.items():")
        for xml_name, name, line in node.attrs:
            self.lines.append(f"{pad}    {first} key == {xml_name!r}:")
            self.attribute(name, line, element, pad + "        ", repeatable=bool(node.key))
            first = "elif"
        keep = f"f_rest = keep_attribute(f_rest, {node.key!r}, key, value)"
        self.lines += [f"{pad}    else:", f"{pad}        {keep}"] if node.attrs else [f"{pad}    {keep}"]
        for xml_name, _, line in node.attrs:
            if line.required:
                error = self.named(None if line.required is True else line.required)
                self.lines += [f"{pad}if {element}.get({xml_name!r}) is None:",
                               f"{pad}    raise missing({element}, {xml_name!r}, {error})"]
        if node.text:
            name, line = node.text
            read = self.named(_read_text(line, self.scope))
            self.lines.append(f"{pad}if f_{name} is None: f_{name} = {read}({element})")
            return
        child = f"child{len(pad)}"
        self.lines += [f"{pad}if len({element}):",  # asking is cheaper than an iterator over nothing
                       f"{pad}    for {child} in {element}:", f"{pad}        tag = {child}.tag"]
        first = "if"
        for item in node.items:
            tag = item.tag if isinstance(item, Node) else item[0]
            prefix, colon, local = tag.partition(":")
            qualified = f"{{{self.scope[prefix]}}}{local}" if colon else tag
            self.lines.append(f"{pad}        {first} tag == {qualified!r}:")
            first = "elif"
            if isinstance(item, Node):
                self.node(item, child, pad + "            ")
            else:
                self.item(item[1], item[2], child, pad + "            ")
        keep = f"f_rest = keep_element(f_rest, {node.key!r}, {child}, scope)"
        self.lines += [f"{pad}        else:", f"{pad}            {keep}"] if node.items else [f"{pad}        {keep}"]

    def attribute(self, name: str, line: Line, element: str, pad: str, *, repeatable: bool) -> None:
        """Lines that take in one attribute."""
        if repeatable:
            self.lines.append(f"{pad}if f_{name} is not None: continue")
        if line.kind.read is None:
            self.lines.append(f"{pad}f_{name} = value")
            return
        self.lines += [f"{pad}try: f_{name} = {self.named(line.kind.read)}(value)", f"{pad}except ValueError as wrong:",
                       f"{pad}    refuse({self.named(line)}, {element}, key, value, str(wrong))"]

    def item(self, name: str, line: Line, child: str, pad: str) -> None:
        """A line that takes in one child element that is a value, a model, or kept whole."""
        if line.shape == "flag":
            self.lines.append(f"{pad}f_{name} = True")
            return
        read = self.named(_READ[line.shape](line, self.scope))
        if line.shape in ("subs", "each"):
            self.lines.append(f"{pad}f_{name}.append({read}({child}))")
        elif line.shape == "raw":
            self.lines.append(f"{pad}f_{name} += ({read}({child}),)")
        else:
            self.lines.append(f"{pad}if f_{name} is None: f_{name} = {read}({child})")


def _keep_attribute(rest: dict[str, Rest] | None, path: str, name: str, value: str) -> dict[str, Rest] | None:
    if name[0] == "{":
        return rest
    rest = {} if rest is None else rest
    rest.setdefault(path, Rest()).attrs.append((name, value))
    return rest


def _keep_element(rest: dict[str, Rest] | None, path: str, element: etree._Element,
                  scope: Namespaces) -> dict[str, Rest] | None:
    if not isinstance(element.tag, str):
        return rest
    rest = {} if rest is None else rest
    rest.setdefault(path, Rest()).elements.append(read_raw(element, scope))
    return rest


def _read_text(line: Line, scope: Namespaces) -> Reader:
    convert = line.kind.read

    def read(element: etree._Element) -> Any:
        content = text_of(element)
        if not content or convert is None:
            return content or None
        try:
            return convert(content)
        except ValueError:
            _refuse_text(line, element, content)

    return read


def _read_size(line: Line, scope: Namespaces) -> Reader:
    def read(element: etree._Element) -> int | None:
        content = "" if line.output_only else text_of(element)
        if not content:
            return None
        try:
            return read_size(content, element.get("unit") or line.unit, line.unit)
        except ValueError:
            _refuse_text(line, element, content)

    return read


def _read_sub(line: Line, scope: Namespaces) -> Reader:
    by, default = line.by, line.model
    if line.nested:
        return lambda element: read_model(default, element)
    if not by:
        return _reader_of(default)
    cases = {value: _reader_of(model) for value, model in line.cases.items()}
    name = by if isinstance(by, str) else ""

    def read(element: etree._Element) -> Element:
        chosen = element.get(by) if isinstance(by, str) else by(element)
        if chosen is None:
            if default is Element:
                raise _missing(element, name, None if isinstance(line.required, bool) else line.required)
            return read_model(default, element)
        if chosen not in cases:
            _refuse_attribute(line, element, name, chosen, "")
        return cast(Element, cases[chosen](element))

    return read


def _read_each(line: Line, scope: Namespaces) -> Reader:
    attribute = line.path.rpartition("/@")[2] if "@" in line.path else None
    convert = line.kind.read

    def read(element: etree._Element) -> Any:
        content = element.get(attribute) if attribute else text_of(element)
        if content is None:
            raise _missing(element, attribute or "")
        try:
            return convert(content) if convert else content
        except ValueError as wrong:
            if attribute:
                _refuse_attribute(line, element, attribute, content, str(wrong))
            _refuse_text(line, element, content)

    return read


def _read_raw(line: Line, scope: Namespaces) -> Reader:
    return lambda element: read_raw(element, scope)


def _read_block(line: Line, scope: Namespaces) -> Reader:
    assert line.block
    return line.block.read


_READ: dict[str, Callable[[Line, Namespaces], Reader]] = {
    "text": _read_text, "size": _read_size, "sub": _read_sub, "subs": _read_sub, "each": _read_each,
    "raw": _read_raw, "block": _read_block,
}
