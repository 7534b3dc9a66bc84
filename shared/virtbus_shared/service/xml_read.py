"""Readers: from an lxml element to a model, by the lines that the model's class declares.

A reader knows nothing of error domains: it raises ``Refused``, which the document turns into libvirt's error with the
path of the offending element.

Readers are generated as source, one function for each class when it is first met, as ``dataclasses`` makes
``__init__``: most of the time of a read goes into Python's own steps, and straight-line code takes the fewest. Nothing
of a document enters the source: only names that our own models declare. ``reader_source`` shows it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NoReturn, cast

from lxml import etree

from virtbus_shared import constants as c
from virtbus_shared.service.xml_lines import (
    PLANS,
    Element,
    Line,
    Node,
    Partial,
    Plan,
    Raw,
    Refused,
    Rest,
    blank,
)
from virtbus_shared.service.xml_values import ZERO, AnyRefusal, Memo, read_size

Namespaces = dict[str | None, str]
Reader = Callable[[etree._Element], Any]


def text_of(element: etree._Element) -> str:
    """All text below an element, comments left out: what XPath's string() gives to libvirt."""
    if len(element) == 0:
        return element.text or ""
    return str(element.xpath("string()"))


def read_raw(element: etree._Element, scope: Namespaces) -> Raw:
    """An element kept whole; ``scope`` holds the namespaces that are declared around it in our output."""
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
    children = tuple([read_raw(child, scope) for child in element if isinstance(child.tag, str)])
    return Raw(tag, tuple(declared + attrs), "" if children else text_of(element), children)


def read_model(model: type[Element], element: etree._Element) -> Element:
    """The object that an element describes. Raises ``Refused``, or ``LibvirtError`` for units."""
    return cast(Element, _READERS[model](element))


def reader_source(model: type[Element]) -> str:
    """The source of a model's reader, for those who want to see it."""
    return _Source(PLANS[model]).text


class _Readers(dict[type[Element], Reader]):
    """The readers by class, each made when first asked for."""

    def __missing__(self, model: type[Element]) -> Reader:
        source = _Source(PLANS[model])
        exec(compile(source.text, f"<reader of {model.__name__}>", "exec"), source.names)  # noqa: S102  # see above
        reader = self[model] = cast(Reader, source.names["read"])
        return reader


_READERS = _Readers()

# With so many declared attributes, listing those that are there is cheaper than asking for each.
_MANY_ATTRIBUTES = 4
# With so many cases, a table and a halving search are cheaper than comparing with each.
_MANY_CASES = 12


class _Source:
    """The source of one reader.

    The model is made first, with every field at its default; attributes and children then set what they hold. Of two
    elements where one belongs, the first counts.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.scope: Namespaces = dict(plan.namespaces.items())
        self.names: dict[str, Any] = {
            "new": functools.partial(object.__new__, plan.model), "readers": _READERS, "scope": self.scope,
            "text_of": text_of, "read_raw": read_raw, "refuse_attribute": _refuse_attribute,
            "refuse_attributes": _refuse_attributes, "refuse_text": _refuse_text, "refuse_child": _refuse_child,
            "missing": _missing, "keep_attribute": _keep_attribute, "keep_element": _keep_element,
        }
        self.met_names: dict[str, str] = {}
        self.lines = ["def read(element):", "    model = new()"]
        asked = set() if self.lists_attributes(plan.root) else {name for _, name, _ in plan.root.attrs}
        unasked = {name: default for name, default in plan.defaults.items() if name not in asked}
        self.lines += [f"    {line}" for line in blank("model", unasked)]
        self.node(plan.root, "element", "    ")
        self.lines.append("    return model")
        self.text = "\n".join(self.lines)

    def named(self, value: object, hint: str) -> str:
        """A name by which the source can use a value."""
        name = f"{hint}_{len(self.names)}"
        self.names[name] = value
        return name

    def node(self, node: Node, element: str, pad: str) -> None:
        """Lines that take in the model's own element, or one without a model of its own."""
        if node is self.plan.root:
            self.values(node, element, pad)
        elif len(node.attrs) == 1 and not node.text and not self.plan.partial:
            self.lines.append(f"{pad}if model.{node.attrs[0][1]} is None:")
            self.asked_attributes(node, element, pad + "    ")
        elif node.attrs or node.text or self.plan.partial:
            met = self.met(node)
            self.lines += [f"{pad}if not {met}:", f"{pad}    {met} = True"]
            self.values(node, element, pad + "    ")
        refusing = self.plan.unknown_child is not None and node is self.plan.root
        if node.items or refusing or (self.plan.partial and not node.text):
            self.children(node, element, pad)

    def met(self, node: Node) -> str:
        """The variable that tells whether an element of its kind was met: the first counts."""
        return self.met_names.setdefault(node.key, f"met_{len(self.met_names)}")

    def lists_attributes(self, node: Node) -> bool:
        """Its attributes are listed, not asked for."""
        return self.plan.partial or len(node.attrs) >= _MANY_ATTRIBUTES

    def values(self, node: Node, element: str, pad: str) -> None:
        """Lines that take in the attributes and the text of an element."""
        if self.lists_attributes(node):
            self.listed_attributes(node, element, pad)
        else:
            self.asked_attributes(node, element, pad)
        if node.text:
            self.take_text(*node.text, element, pad)

    def asked_attributes(self, node: Node, element: str, pad: str) -> None:
        """Lines that ask for each declared attribute."""
        for xml_name, _, line in node.attrs:
            if line.required:
                self.lines.append(f"{pad}if {element}.get({xml_name.encode()!r}) is None: "
                                  f"raise missing({self.missing(xml_name, line, element)})")
        plain = [case for case in node.attrs if case[2].kind.read is None]
        converted = [case for case in node.attrs if case[2].kind.read is not None]
        for xml_name, name, line in plain:
            ask = f"{element}.get({xml_name.encode()!r}"
            if line.shape == "size":
                value = f"{self.named(_Size(line), 'size')}({element}, {ask}), {xml_name!r})"
            else:
                value = f"{ask})" if line.default is None else f"{ask}, {line.default!r})"
            self.lines.append(f"{pad}model.{name} = {value}")
        if converted:
            self.lines.append(f"{pad}try:")
            for xml_name, name, line in converted:
                known = f"{line.default!r} if value is None else {self.known(line)}[value]"
                self.lines += [f"{pad}    value = {element}.get({xml_name.encode()!r})",
                               f"{pad}    model.{name} = {known}"]
            self.refusals(node, element, pad)

    def refusals(self, node: Node, element: str, pad: str) -> None:
        """Lines that close a ``try`` around values of attributes."""
        lines = {xml_name: line for xml_name, _, line in node.attrs if line.kind.read is not None}
        self.lines += [f"{pad}except ValueError:",
                       f"{pad}    refuse_attributes({self.named(lines, 'lines')}, {element})"]

    def missing(self, xml_name: str, line: Line, element: str) -> str:
        """The arguments for refusing an element that lacks an attribute."""
        return f"{element}, {xml_name!r}, {self.named(line.required, 'required')}"

    def known(self, line: Line) -> str:
        """The name of what a line's texts mean."""
        assert line.kind.read
        return self.named(Memo(line.kind.read), "known")

    def listed_attributes(self, node: Node, element: str, pad: str) -> None:
        """Lines that go through the attributes that are there."""
        def take(case: tuple[str, str, Line], deeper: str) -> None:
            xml_name, name, line = case
            if line.shape == "size":
                size = self.named(_Size(line), "size")
                self.lines.append(f"{deeper}model.{name} = {size}({element}, value, {xml_name!r})")
            elif line.kind.read is None:
                self.lines.append(f"{deeper}model.{name} = value")
            else:
                self.lines.append(f"{deeper}model.{name} = {self.known(line)}[value]")

        keep = f"keep_attribute(model, {node.key!r}, key, value)" if self.plan.partial else ""
        self.lines += [f"{pad}try:", f"{pad}    for key, value in {element}.items():"]
        self.cases("key", [(case[0], case) for case in node.attrs], take, keep, pad + "        ")
        self.refusals(node, element, pad)
        self.lines += [f"{pad}if {element}.get({xml_name.encode()!r}) is None: "
                       f"raise missing({self.missing(xml_name, line, element)})"
                       for xml_name, _, line in node.attrs if line.required]

    def children(self, node: Node, element: str, pad: str) -> None:
        """Lines that go through the child elements."""
        child = f"child{len(pad)}"
        otherwise = ""
        if self.plan.partial:
            otherwise = f"keep_element(model, {node.key!r}, {child}, scope)"
        elif self.plan.unknown_child and node is self.plan.root:
            otherwise = f"refuse_child({self.named(self.plan.unknown_child, 'refusal')}, {child})"

        def take(item: Node | tuple[str, str, Line], deeper: str) -> None:
            if isinstance(item, Node):
                self.node(item, child, deeper)
            else:
                self.take_child(item[1], item[2], child, deeper)

        self.lines += [f"{pad}{self.met(item)} = False" for item in node.items
                       if isinstance(item, Node) and (len(item.attrs) > 1 or item.text or self.plan.partial)]
        self.lines += [f"{pad}if len({element}):",  # asking is cheaper than a list of nothing
                       f"{pad}    for {child} in {element}[:]:", f"{pad}        tag = {child}.tag"]
        cases = [(self.qualified(item.tag if isinstance(item, Node) else item[0]), item) for item in node.items]
        lists = {tag: (attrgetter(item[1]), item[2].model) for tag, item in cases
                 if not isinstance(item, Node) and item[2].shape == "subs" and not item[2].by}
        if len(lists) >= _MANY_CASES:
            cases = [case for case in cases if case[0] not in lists]
            self.lines += [f"{pad}        found = {self.named(lists, 'lists')}.get(tag)",
                           f"{pad}        if found is not None:",
                           f"{pad}            get, made = found",
                           f"{pad}            get(model).append(readers[made]({child}))", f"{pad}            continue"]
        self.cases("tag", cases, take, otherwise, pad + "        ")

    def qualified(self, tag: str) -> str:
        """A tag as lxml spells it."""
        prefix, colon, local = tag.partition(":")
        return f"{{{self.scope[prefix]}}}{local}" if colon else tag

    def cases(self, subject: str, cases: Sequence[tuple[str, Any]], take: Callable[[Any, str], None], otherwise: str,
              pad: str) -> None:
        """Lines that do what belongs to the string in ``subject``, or ``otherwise``."""
        if len(cases) < _MANY_CASES:
            for number, (text, case) in enumerate(cases):
                self.lines.append(f"{pad}{'elif' if number else 'if'} {subject} == {text!r}:")
                take(case, pad + "    ")
            if otherwise:
                self.lines += [f"{pad}else:", f"{pad}    {otherwise}"] if cases else [f"{pad}{otherwise}"]
            return
        table = self.named({text: number for number, (text, _) in enumerate(cases)}, "table")
        self.lines += [f"{pad}number = {table}.get({subject})", f"{pad}if number is None:",
                       f"{pad}    {otherwise or 'continue'}", f"{pad}else:"]
        self.halves(0, [case for _, case in cases], take, pad + "    ")

    def halves(self, first: int, cases: Sequence[Any], take: Callable[[Any, str], None], pad: str) -> None:
        """Lines that search for ``number`` among cases that are numbered from ``first``."""
        if len(cases) == 1:
            take(cases[0], pad)
            return
        middle = len(cases) // 2
        self.lines.append(f"{pad}if number < {first + middle}:")
        self.halves(first, cases[:middle], take, pad + "    ")
        self.lines.append(f"{pad}else:")
        self.halves(first + middle, cases[middle:], take, pad + "    ")

    def take_text(self, name: str, line: Line, element: str, pad: str) -> None:
        """Lines that take in the text of an element."""
        if line.output_only:
            self.lines.append(f"{pad}pass")
            return
        self.lines.append(f"{pad}value = text_of({element}) if len({element}) else {element}.text")
        if line.shape == "size":
            self.lines.append(f"{pad}if value: model.{name} = {self.named(_Size(line), 'size')}({element}, value)")
        elif line.kind.read is None:
            self.lines.append(f"{pad}if value: model.{name} = value")
        else:
            self.lines.append(f"{pad}if value:")
            self.converted(f"model.{name} = ", line, "", pad + "    ", f"refuse_text({{line}}, {element}, value)")

    def converted(self, before: str, line: Line, after: str, pad: str, refuse: str) -> None:
        """Lines that make of the text in ``value`` what the line's kind does, or refuse it."""
        self.lines += [f"{pad}try: {before}{self.known(line)}[value]{after}",
                       f"{pad}except ValueError as wrong: {refuse.format(line=self.named(line, 'line'))}"]

    def take_child(self, name: str, line: Line, child: str, pad: str) -> None:
        """Lines that take in one child element that is a value, a model, or kept whole."""
        shape = line.shape
        if shape == "flag":
            self.lines.append(f"{pad}model.{name} = True")
        elif shape == "raw":
            self.lines.append(f"{pad}model.{name} += (read_raw({child}, scope),)")
        elif shape == "subs":
            self.lines.append(f"{pad}model.{name}.append({self.model(line, child)})")
        elif shape == "each":
            self.take_each(name, line, child, pad)
        elif shape == "sub":
            self.lines.append(f"{pad}if model.{name} is None: model.{name} = {self.model(line, child)}")
        elif shape == "block":
            assert line.block
            self.lines.append(f"{pad}if model.{name} is None: "
                              f"model.{name} = {self.named(line.block.read, 'block')}({child})")
        else:
            self.lines.append(f"{pad}if model.{name} is None:")
            self.take_text(name, line, child, pad + "    ")

    def model(self, line: Line, child: str) -> str:
        """An expression for the model of a child element."""
        if not line.by:
            return f"readers[{self.named(line.model, 'model')}]({child})"
        other = f"{self.named(_Other(line), 'other')}({child})"
        if callable(line.by):
            return f"readers[{other}]({child})"
        known = f"{self.named(line.cases, 'cases')}.get({child}.get({line.by.encode()!r}))"
        return f"readers[{known} or {other}]({child})"

    def take_each(self, name: str, line: Line, child: str, pad: str) -> None:
        """Lines that take in one of a list of texts, or of elements with an attribute."""
        attribute = line.path.rpartition("/@")[2] if "@" in line.path else ""
        if attribute:
            self.lines += [f"{pad}value = {child}.get({attribute.encode()!r})",
                           f"{pad}if value is None: raise missing({child}, {attribute!r})"]
            refuse = f"refuse_attribute({{line}}, {child}, {attribute!r}, value, str(wrong))"
        else:
            self.lines.append(f"{pad}value = text_of({child})")
            refuse = f"refuse_text({{line}}, {child}, value)"
        if line.kind.read is None:
            self.lines.append(f"{pad}model.{name}.append(value)")
        else:
            self.converted(f"model.{name}.append(", line, ")", pad, refuse)


class _Size:
    """A number with a unit beside it, in the unit of its line."""

    def __init__(self, line: Line) -> None:
        self.line = line

    def __call__(self, element: etree._Element, text: str | None, attribute: str = "") -> int | None:
        line = self.line
        if text is None or line.output_only:
            return None
        try:
            return read_size(text, element.get("unit") or line.unit, line.unit)
        except ValueError:
            _refuse_text(line, element, text, f"@{attribute}" if attribute else "")


class _Other:
    """The class of a child element that the table of a choice does not tell."""

    def __init__(self, line: Line) -> None:
        self.line = line

    def __call__(self, element: etree._Element) -> type[Element]:
        line = self.line
        chosen = line.by(element) if callable(line.by) else element.get(line.by)
        by = line.by if isinstance(line.by, str) else "type"
        if chosen is None:
            if line.model is Element:
                raise _missing(element, by, line.required)
            return line.model
        if chosen not in line.cases:
            _refuse_attribute(line, element, by, chosen, "")
        return line.cases[chosen]


def _worded(error: AnyRefusal, value: str) -> AnyRefusal:
    detail = error[1].replace("{value}", value)
    return (error[0], detail, error[2]) if len(error) == 3 else (error[0], detail)


def _refuse_attribute(line: Line, element: etree._Element, name: str, value: str, hint: str) -> NoReturn:
    if line.error:
        raise Refused(_worded(line.error, value), element, general=False) from None
    said = hint if hint == ZERO else f"'{value}'. {hint}".rstrip()
    detail = f"Invalid value for attribute '{name}' in element '{element.tag}': {said}"
    raise Refused((c.VIR_ERR_XML_ERROR, detail), element, general=True) from None


def _refuse_attributes(lines: Mapping[str, Line], element: etree._Element) -> None:
    """Refuse the first attribute that does not fit."""
    for name, line in lines.items():
        value = element.get(name)
        if value is not None and line.kind.read is not None:
            try:
                line.kind.read(value)
            except ValueError as wrong:
                _refuse_attribute(line, element, name, value, str(wrong))


def _refuse_text(line: Line, element: etree._Element, value: str, place: str = "") -> NoReturn:
    if line.error:
        raise Refused(_worded(line.error, value), element, general=False) from None
    detail = f"Invalid value '{value}' for element or attribute './{place or f'{element.tag}[1]'}'"
    raise Refused((c.VIR_ERR_XML_ERROR, detail), element, general=True) from None


def _refuse_child(refusal: AnyRefusal, child: etree._Element) -> None:
    if isinstance(child.tag, str):
        raise Refused(_worded(refusal, etree.QName(child).localname), child, general=False)


def _missing(element: etree._Element, attribute: str, error: AnyRefusal | bool = True) -> Refused:
    if not isinstance(error, bool):
        return Refused(error, element, general=False)
    detail = f"Missing required attribute '{attribute}' in element '{element.tag}'"
    return Refused((c.VIR_ERR_XML_ERROR, detail), element, general=True)


def _keep_attribute(model: Partial, path: str, name: str, value: str) -> None:
    if name[0] != "{":
        model.rest = {} if model.rest is None else model.rest
        model.rest.setdefault(path, Rest()).attrs.append((name, value))


def _keep_element(model: Partial, path: str, element: etree._Element, scope: Namespaces) -> None:
    if isinstance(element.tag, str):
        model.rest = {} if model.rest is None else model.rest
        model.rest.setdefault(path, Rest()).elements.append(read_raw(element, scope))
