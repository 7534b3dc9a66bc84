"""Writers: from a model to libvirt's text, by the lines that the model's class declares.

A writer appends finished lines: two spaces of indentation, single quotes, the declared order. Writing text directly,
not through lxml, is what gives libvirt's quoting, at half the cost. Writers are generated as source, one for each class
and serialisation when it is first met (see ``xml_read.py``), so what belongs to a running object only is decided then,
not at each value. ``writer_source`` shows it.

Hardly any value needs escaping, and looking at each costs as much as all the rest. So a document is written as if none
did, its free texts are looked at together, and where one holds a special character the document is written again, this
time escaping each.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from virtbus_shared.service.xml_lines import PLANS, Element, Line, Node, Output, Plan, Raw, Rest
from virtbus_shared.service.xml_values import Memo

_SPECIAL = re.compile("[<>&'\"\x00-\x1f\ud800-\udfff\ufffe\uffff]")
_TEXT = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "'": "&apos;", '"': "&quot;", "\r": "&#13;", "\n": "\n", "\t": "\t"}
# libvirt writes line ends and tabs in attributes as they are, and so loses them when it reads its own file again.
_ATTRIBUTE = _TEXT | {"\n": "&#10;", "\t": "&#9;"}
# The same characters as bytes, as far as they are ASCII.
_SPECIAL_BYTES = bytes(range(32)) + b"<>&'\""


def escape_text(value: str) -> str:
    """Text between tags; characters that XML cannot carry are left out, as libvirt does."""
    return _SPECIAL.sub(lambda found: _TEXT.get(found[0], ""), value)


def escape_attribute(value: str) -> str:
    """The inside of a single-quoted attribute value; see ``escape_text``."""
    return _SPECIAL.sub(lambda found: _ATTRIBUTE.get(found[0], ""), value)


def is_plain(text: str) -> bool:
    """Nothing in it needs escaping, as far as that is quickly said: other scripts are not looked at closely."""
    return text.isascii() and len(text.encode().translate(None, _SPECIAL_BYTES)) == len(text)


def write_raw(element: Raw, pad: str, out: list[str]) -> None:
    """Append an unmodelled element in libvirt's style, one element per line."""
    head = f"{pad}<{element.tag}" + "".join(f" {name}='{escape_attribute(value)}'" for name, value in element.attrs)
    if element.children:
        out.append(f"{head}>")
        for child in element.children:
            write_raw(child, pad + "  ", out)
        out.append(f"{pad}</{element.tag}>")
    elif element.text:
        out.append(f"{head}>{escape_text(element.text)}</{element.tag}>")
    else:
        out.append(f"{head}/>")


def write_model(model: Element, tag: str, pad: str, out: list[str], output: Output) -> None:
    """Append the lines of one element named ``tag``; ``pad`` is its indentation."""
    lines: list[str] = []
    free: list[str] = []
    _writers(output, escaping=False)[type(model)](model, tag, pad, lines, free)
    if not is_plain("".join(free)):
        lines = []
        _writers(output, escaping=True)[type(model)](model, tag, pad, lines, free)
    out += lines


def writer_source(model: type[Element], output: Output = Output.INACTIVE) -> str:
    """The source of a model's writer, for those who want to see it."""
    return _Source(PLANS[model], _writers(output, escaping=False)).text


# Of a model, its tag, its indentation: its lines appended to one list, its texts that may need escaping to another.
Writer = Callable[[Any, str, str, list[str], list[str]], None]


# Of so many lines, looking whether one is set is cheaper than preparing to write them.
_FEW = 4


class _Writers(dict[type[Element], Writer]):
    """The writers of one serialisation by class, each made when first asked for."""

    def __init__(self, output: Output, *, escaping: bool) -> None:
        super().__init__()
        self.output = output
        self.escaping = escaping

    def __missing__(self, model: type[Element]) -> Writer:
        source = _Source(PLANS[model], self)
        exec(compile(source.text, f"<writer of {model.__name__}>", "exec"), source.names)  # noqa: S102  # see above
        writer = self[model] = cast(Writer, source.names["write"])
        return writer


_WRITERS: dict[tuple[int, bool], _Writers] = {}


def _writers(output: Output, *, escaping: bool) -> _Writers:
    key = (int(output), escaping)
    if key not in _WRITERS:
        _WRITERS[key] = _Writers(output, escaping=escaping)
    return _WRITERS[key]


class _Place(NamedTuple):
    """Where in a model the source is: names of variables, and the indentation of the source itself."""

    tag: str
    pad: str
    depth: int
    code: str

    def inside(self, tag: str) -> _Place:
        """The same for a child element."""
        return _Place(tag, f"pad{self.depth + 1}", self.depth + 1, self.code + "    ")


class _Source:
    """The source of one writer."""

    def __init__(self, plan: Plan, writers: _Writers) -> None:
        self.plan = plan
        self.output = writers.output
        self.escaping = writers.escaping
        self.names: dict[str, Any] = {
            "writers": writers, "write_raw": write_raw, "rest_attributes": _rest_attributes,
            "rest_elements": _rest_elements, "escape_text": escape_text, "escape_attribute": escape_attribute}
        self.lines = ["def write(model, tag, pad0, out, free):"]
        self.element(plan.root, _Place("{tag}", "pad0", 0, "    "))
        self.text = "\n".join(self.lines)

    def named(self, value: object, hint: str) -> str:
        """A name by which the source can use a value."""
        name = f"{hint}_{len(self.names)}"
        self.names[name] = value
        return name

    def element(self, node: Node, place: _Place) -> None:
        """Lines that write an element: the model's own in any case, another one if it has content."""
        tag, pad, depth, code = place
        is_root = node is self.plan.root
        head = self.head(node, place)
        if is_root and self.plan.open_tag:
            self.lines += [f"{code}out.append(f'{{{pad}}}<{tag}{{{head}}}>')", f"{code}pad1 = pad0 + '  '"]
            self.items(node, place)
            self.lines.append(f"{code}out.append(f'{{{pad}}}</{tag}>')")
            return
        if node.items or self.plan.partial:
            self.lines.append(f"{code}start{depth} = len(out)")
            below = [line for item in node.items for line in _lines_of(item)]
            if len(below) <= _FEW and not self.plan.partial:
                self.lines.append(f"{code}if {self.any_of(below) or 'False'}:")
                code += "    "
            self.lines.append(f"{code}pad{depth + 1} = {pad} + '  '")
            self.items(node, place._replace(code=code))
            code = place.code
            self.lines += [f"{code}if len(out) > start{depth}:",
                           f"{code}    out.insert(start{depth}, f'{{{pad}}}<{tag}{{{head}}}>')",
                           f"{code}    out.append(f'{{{pad}}}</{tag}>')", f"{code}else:"]
            code += "    "
        if node.text and self.is_shown(node.text[1]):
            name, line = node.text
            value, free = self.value(line, f"model.{name}", "escape_text")
            self.lines += [f"{code}if {self.is_set(name, line)}:",
                           f"{code}    out.append(f'{{{pad}}}<{tag}{{{head}}}>{value}</{tag}>')", *free(code + "    "),
                           f"{code}else:"]
            code += "    "
        unless_bare = "" if is_root else f"if {head}: "
        self.lines.append(f"{code}{unless_bare}out.append(f'{{{pad}}}<{tag}{{{head}}}/>')")

    def head(self, node: Node, place: _Place) -> str:
        """Lines that put the attributes of an element into a variable, and its name."""
        head, code = f"head{place.depth}", place.code
        self.lines.append(f"{code}{head} = ''")
        before = ""
        for xml_name, name, line in node.attrs:
            if self.is_shown(line):
                value, free = self.value(line, f"model.{name}", "escape_attribute")
                unit = f" unit='{line.unit}'" if line.shape == "size" else ""
                self.lines += [f"{code}if {self.is_set(name, line)}:",
                               f"{code}    {head} = f\"{before} {xml_name}='{value}'{unit}\"", *free(code + "    ")]
                before = f"{{{head}}}"
        if node.text and node.text[1].shape == "size" and self.is_shown(node.text[1]):
            name, line = node.text
            self.lines.append(f"{code}if {self.is_set(name, line)}: {head} += \" unit='{line.unit}'\"")
        if node is self.plan.root and self.plan.declare:
            self.namespaces(head, code)
        if self.plan.partial:
            self.lines.append(f"{code}if model.rest: {head} += rest_attributes(model.rest, {node.key!r})")
        return head

    def namespaces(self, head: str, code: str) -> None:
        """Lines that declare the prefixes of the children that are there."""
        for prefix, uri in self.plan.namespaces.items():
            names = [name for name, line in self.plan.lines.items() if line.path.startswith(f"{prefix}:")]
            self.lines.append(f"{code}if {' or '.join(f'model.{name}' for name in names)}: "
                              f"{head} += \" xmlns:{prefix}='{uri}'\"")

    def items(self, node: Node, place: _Place) -> None:
        """Lines that write the children of an element."""
        inside = place.inside("")
        for item in node.items:
            if isinstance(item, Node):
                if not item.items and not item.text and len(item.attrs) == 1 and not self.plan.partial:
                    self.put_attribute(item.attrs[0], inside._replace(tag=item.tag))
                elif any_of := self.any_of(list(item.lines())):
                    self.lines.append(f"{place.code}if {any_of}:")  # most elements are absent
                    self.element(item, inside._replace(tag=item.tag))
            elif self.is_shown(item[2]):
                tag, name, line = item
                self.lines.append(f"{place.code}if {self.is_set(name, line)}:")
                _PUT[line.shape](self, f"model.{name}", line, inside._replace(tag=tag))
        if self.plan.partial:
            self.lines.append(f"{place.code}if model.rest: rest_elements(model.rest, {node.key!r}, {inside.pad}, out)")

    def put_attribute(self, attribute: tuple[str, str, Line], place: _Place) -> None:
        """Lines for an element that has one attribute and nothing else."""
        xml_name, name, line = attribute
        if self.is_shown(line):
            value, free = self.value(line, f"model.{name}", "escape_attribute")
            unit = f" unit='{line.unit}'" if line.shape == "size" else ""
            element = f"{place.tag} {xml_name}='{value}'{unit}/>"
            self.lines += [f"{place.code[:-4]}if {self.is_set(name, line)}:",
                           f"{place.code}out.append(f\"{{{place.pad}}}<{element}\")", *free(place.code)]

    def any_of(self, lines: list[tuple[str, Line]]) -> str:
        """A condition: something is set, and may be shown, in some line of several; empty when none is shown."""
        found = [_is_there(name, line) for name, line in lines if self.is_shown(line)]
        return " or ".join([*found, "model.rest"] if self.plan.partial else found)

    def is_shown(self, line: Line) -> bool:
        """This serialisation has the line at all."""
        return not (line.input_only or (line.secret and not self.output & Output.SECURE)
                    or (line.live is True and not self.output & Output.LIVE)
                    or (line.migratable is False and self.output & Output.MIGRATABLE))

    def is_set(self, name: str, line: Line) -> str:
        """A condition: there is something to write."""
        is_set = _is_there(name, line)
        if callable(line.live) and not self.output & Output.LIVE:
            is_set += f" and not {self.named(line.live, 'live')}(model.{name}, model)"
        if callable(line.migratable) and self.output & Output.MIGRATABLE:
            is_set += f" and {self.named(line.migratable, 'migratable')}(model.{name}, model)"
        return is_set

    def value(self, line: Line, value: str, escape: str) -> tuple[str, Callable[[str], list[str]]]:
        """What stands for a value in an f-string, and the lines that put it among the free texts."""
        if line.shape == "size" or line.kind.write is str:
            return f"{{{value}}}", lambda code: []
        if line.kind.write is not None:
            return f"{{{self.named(Memo(line.kind.write), 'known')}[{value}]}}", lambda code: []
        if self.escaping:
            return f"{{{escape}({value})}}", lambda code: []
        return f"{{{value}}}", lambda code: [f"{code}free.append({value})"]

    def put_text(self, value: str, line: Line, place: _Place) -> None:
        """Lines for a text, or a number with a unit."""
        written, free = self.value(line, value, "escape_text")
        unit = f" unit='{line.unit}'" if line.shape == "size" else ""
        self.lines += [f"{place.code}out.append(f\"{{{place.pad}}}<{place.tag}{unit}>{written}</{place.tag}>\")",
                       *free(place.code)]

    def put_flag(self, value: str, line: Line, place: _Place) -> None:
        """A line for an empty element."""
        self.lines.append(f"{place.code}out.append(f'{{{place.pad}}}<{place.tag}/>')")

    def put_sub(self, value: str, line: Line, place: _Place) -> None:
        """A line for an element with a model."""
        self.lines.append(f"{place.code}writers[type({value})]({value}, {place.tag!r}, {place.pad}, out, free)")

    def put_subs(self, value: str, line: Line, place: _Place) -> None:
        """Lines for several of them."""
        self.lines.append(f"{place.code}for item in {value}:")
        self.put_sub("item", line, place._replace(code=place.code + "    "))

    def put_each(self, value: str, line: Line, place: _Place) -> None:
        """Lines for texts, or for elements with one attribute."""
        attribute = line.path.rpartition("/@")[2] if "@" in line.path else ""
        written, free = self.value(line, "item", "escape_attribute" if attribute else "escape_text")
        element = f"{place.tag} {attribute}='{written}'/>" if attribute else f"{place.tag}>{written}</{place.tag}>"
        self.lines += [f"{place.code}for item in {value}:",
                       f"{place.code}    out.append(f\"{{{place.pad}}}<{element}\")", *free(place.code + "    ")]

    def put_raw(self, value: str, line: Line, place: _Place) -> None:
        """Lines for elements that were kept whole."""
        self.lines += [f"{place.code}for item in {value}:", f"{place.code}    write_raw(item, {place.pad}, out)"]

    def put_block(self, value: str, line: Line, place: _Place) -> None:
        """A line for what has a writer of its own."""
        assert line.block
        self.lines.append(f"{place.code}out.append({self.named(line.block.write, 'block')}({value}))")


def _lines_of(item: Node | tuple[str, str, Line]) -> list[tuple[str, Line]]:
    return list(item.lines()) if isinstance(item, Node) else [item[1:]]


def _is_there(name: str, line: Line) -> str:
    return f"model.{name}" if line.shape in ("flag", "subs", "each", "raw") else f"model.{name} is not None"


_PUT: dict[str, Callable[[_Source, str, Line, _Place], None]] = {
    "text": _Source.put_text, "size": _Source.put_text, "flag": _Source.put_flag, "sub": _Source.put_sub,
    "subs": _Source.put_subs, "each": _Source.put_each, "raw": _Source.put_raw, "block": _Source.put_block,
}


def _rest_attributes(rest: dict[str, Rest], key: str) -> str:
    found = rest.get(key)
    return "".join([f" {name}='{escape_attribute(value)}'" for name, value in found.attrs]) if found else ""


def _rest_elements(rest: dict[str, Rest], key: str, pad: str, out: list[str]) -> None:
    found = rest.get(key)
    for element in found.elements if found else ():
        write_raw(element, pad, out)
