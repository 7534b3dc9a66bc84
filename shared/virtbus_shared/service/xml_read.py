"""Readers: from an lxml element to a model, by the lines that the model's class declares.

A reader walks the attributes and children of an element once and looks each name up. It knows nothing of error
domains: it raises ``Refused``, which the document turns into libvirt's error with the path of the offending element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, cast

from lxml import etree

from virtbus_shared import constants as c
from virtbus_shared.service.xml_lines import MAX_DEPTH, PLANS, Element, Line, Node, Raw, Refused, Rest
from virtbus_shared.service.xml_values import read_size

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
    children = tuple([read_raw(child, scope, depth + 1) for child in element if isinstance(child.tag, str)])
    return Raw(tag, tuple(declared + attrs), "" if children else text_of(element), children)


def _refuse_attribute(line: Line, element: etree._Element, name: str, value: str, hint: str) -> NoReturn:
    if line.error:
        raise Refused((line.error[0], line.error[1].replace("{value}", value)), element, general=False) from None
    detail = f"Invalid value for attribute '{name}' in element '{element.tag}': '{value}'. {hint}".rstrip()
    raise Refused((c.VIR_ERR_XML_ERROR, detail), element, general=True) from None


def _refuse_text(line: Line, element: etree._Element, value: str) -> NoReturn:
    if line.error:
        raise Refused((line.error[0], line.error[1].replace("{value}", value)), element, general=False) from None
    detail = f"Invalid value '{value}' for element or attribute './{element.tag}[1]'"
    raise Refused((c.VIR_ERR_XML_ERROR, detail), element, general=True) from None


def _missing(element: etree._Element, attribute: str) -> Refused:
    detail = f"Missing required attribute '{attribute}' in element '{element.tag}'"
    return Refused((c.VIR_ERR_XML_ERROR, detail), element, general=True)


Values = dict[str, Any]
Read = Callable[[etree._Element, Values], None]

_READERS: dict[type[Element], Callable[[etree._Element], Element]] = {}


def read_model(model: type[Element], element: etree._Element) -> Element:
    """The object that an element describes. Raises ``Refused``, or ``LibvirtError`` for units."""
    reader = _READERS.get(model)
    if reader is None:
        plan = PLANS[model]
        reader = _READERS[model] = _model_reader(model, _node_reader(plan.root, dict(plan.namespaces.items())))
    return reader(element)


def _model_reader(model: type[Element], read: Read) -> Callable[[etree._Element], Element]:
    def read_into_model(element: etree._Element) -> Element:
        values: Values = {}
        read(element, values)
        return model(**values)

    return read_into_model


def _rest(values: Values, key: str) -> Rest:
    by_key: dict[str, Rest] = values.setdefault("rest", {})
    return by_key.setdefault(key, Rest())


def _node_reader(node: Node, scope: Namespaces) -> Read:
    """A reader of the lines at and below one element. Of two elements where one belongs, the first counts."""
    attrs = {xml_name: (name, line.kind.read, line) for xml_name, name, line in node.attrs}
    items: dict[object, Read] = {}
    for item in node.items:
        if isinstance(item, Node):
            items[item.tag] = _node_reader(item, scope)
        else:
            prefix, colon, local = item[0].partition(":")
            items[f"{{{scope[prefix]}}}{local}" if colon else item[0]] = _READ[item[2].shape](item[1], item[2], scope)
    key = node.key
    read_own_text = _read_text(*node.text, scope) if node.text else None

    def read(element: etree._Element, values: Values) -> None:
        pairs: list[tuple[str, str]] = element.items()  # type: ignore[assignment]  # the stubs allow for bytes
        for xml_name, value in pairs:
            found = attrs.get(xml_name)
            if found is None:
                if xml_name[0] != "{":
                    _rest(values, key).attrs.append((xml_name, value))
                continue
            name, convert, line = found
            if name not in values:
                try:
                    values[name] = convert(value) if convert else value
                except ValueError as wrong:
                    _refuse_attribute(line, element, xml_name, value, str(wrong))
        if read_own_text:
            read_own_text(element, values)
        elif len(element):  # asking is cheaper than an iterator over nothing
            for child in element:
                tag = child.tag
                item = items.get(tag)
                if item:
                    item(child, values)
                elif isinstance(tag, str):
                    _rest(values, key).elements.append(read_raw(child, scope))

    return read


def _read_text(name: str, line: Line, scope: Namespaces) -> Read:
    convert = line.kind.read

    def read(element: etree._Element, values: Values) -> None:
        content = text_of(element)
        if content and name not in values:
            try:
                values[name] = convert(content) if convert else content
            except ValueError:
                _refuse_text(line, element, content)

    return read


def _read_size(name: str, line: Line, scope: Namespaces) -> Read:
    def read(element: etree._Element, values: Values) -> None:
        content = "" if line.output_only else text_of(element)
        if content and name not in values:
            try:
                values[name] = read_size(content, element.get("unit") or line.unit, line.unit)
            except ValueError:
                _refuse_text(line, element, content)

    return read


def _read_flag(name: str, line: Line, scope: Namespaces) -> Read:
    def read(element: etree._Element, values: Values) -> None:
        values[name] = True

    return read


def _read_sub(name: str, line: Line, scope: Namespaces) -> Read:
    def model_of(element: etree._Element) -> type[Element]:
        chosen = element.get(line.by) if line.by else None
        if chosen is None:
            if line.model is Element:
                raise _missing(element, line.by)
            return line.model
        if chosen not in line.cases:
            _refuse_attribute(line, element, line.by, chosen, "")
        return line.cases[chosen]

    def read(element: etree._Element, values: Values) -> None:
        if name not in values:
            values[name] = read_model(model_of(element), element)

    return read


def _read_subs(name: str, line: Line, scope: Namespaces) -> Read:
    model = line.model

    def read(element: etree._Element, values: Values) -> None:
        values.setdefault(name, []).append(read_model(model, element))

    return read


def _read_each(name: str, line: Line, scope: Namespaces) -> Read:
    attribute = line.path.rpartition("/@")[2] if "@" in line.path else None
    convert = line.kind.read

    def read(element: etree._Element, values: Values) -> None:
        content = element.get(attribute) if attribute else text_of(element)
        if content is None:
            raise _missing(element, attribute or "")
        try:
            values.setdefault(name, []).append(convert(content) if convert else content)
        except ValueError as wrong:
            if attribute:
                _refuse_attribute(line, element, attribute, content, str(wrong))
            _refuse_text(line, element, content)

    return read


def _read_raw(name: str, line: Line, scope: Namespaces) -> Read:
    def read(element: etree._Element, values: Values) -> None:
        values[name] = (*values.get(name, ()), read_raw(element, scope))

    return read


def _read_block(name: str, line: Line, scope: Namespaces) -> Read:
    def read(element: etree._Element, values: Values) -> None:
        if name not in values and line.block is not None:
            values[name] = line.block.read(element)

    return read


_READ: dict[str, Callable[[str, Line, Namespaces], Read]] = {
    "text": _read_text, "size": _read_size, "flag": _read_flag, "sub": _read_sub, "subs": _read_subs,
    "each": _read_each, "raw": _read_raw, "block": _read_block,
}
