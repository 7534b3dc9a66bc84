"""No string of a document can become an option, or another property of one.

Every attribute and text of every document of ours is replaced in turn by what QEMU, JSON or a shell would take apart.
The document is then refused, or its command has the same options with the same names inside, and where the string is
said to QEMU it is itself. Real QEMUs with such strings are in ``test_command_accepted.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from lxml import etree

from tests.conformance.documents import own_documents
from tests.support.command_line import command, domain_xml, keyed, options, setup_of, shape, texts
from virtbus_domain.drivers.qemu.command import build
from virtbus_domain.drivers.qemu.command.arguments import Arguments
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

# Each holds the mark, by which it is found again.
MARK = "QmarkQ"
NASTY = (f"{MARK},id=x,,readonly=on,'`;$(x)日本\u202e", f'-S {MARK}"}},"driver":"x\n-device x')


def replaced(document: str) -> Iterator[tuple[str, str, str]]:
    """A document with one of its strings replaced: where, the new string, and the document."""
    root = etree.fromstring(document.encode())
    tree = root.getroottree()
    for node in root.iter(etree.Element):
        for name in (*node.attrib, None):
            old = node.text if name is None else node.get(name)
            if old and old.strip():
                for nasty in NASTY:
                    _put(node, name, nasty)
                    yield f"{tree.getpath(node)}/@{name}", nasty, etree.tostring(root, encoding="unicode")
                _put(node, name, old)


def _put(node: etree._Element, name: str | None, value: str) -> None:
    if name is None:
        node.text = value
    else:
        node.set(name, value)


@pytest.mark.parametrize("name", own_documents())
def test_every_string(name: str) -> None:
    """One at a time, all of them; the user's own arguments are his own."""
    document = own_documents()[name]
    try:
        usual = shape(command(document))
    except LibvirtError as error:
        if error.code not in (c.VIR_ERR_CONFIG_UNSUPPORTED, c.VIR_ERR_SYSTEM_ERROR):
            raise
        return  # it is for another machine, or has a device that no guest is started with
    for where, nasty, text in replaced(document):
        if "commandline" in where:
            continue
        try:
            argv = command(text)
        except LibvirtError:
            continue
        said = [word for word in argv if MARK in word]
        assert not said or shape(argv) == usual, where
        assert [part for part in texts(argv) if MARK in part and nasty not in part] == [], where
        assert not said or any(nasty in part for part in texts(argv)), where


class TestKeyedValues:
    """The few options that have no JSON syntax."""

    def test_read_back(self) -> None:
        """Whatever stands in a value, QEMU's rules give it back."""
        made = Arguments("qemu")
        values = {"a": "x,y", "b": ",", "c": ",,", "d": "=,=", "e": "", "f": "a\nb \"'\\日本"}
        made.keyed("-chardev", "file", **values)
        assert keyed(made.list[-1]) == [("file", ""), *values.items()]

    def test_words_are_ours(self) -> None:
        """What is no value must be a word: a key with "=" or "," in it would be two."""
        made = Arguments("qemu")
        for pairs, first in (([("file=/etc/passwd,x", "v")], None), ([("a", "b")], "password=on"),
                             ([("a", "b")], "x,password=on")):
            with pytest.raises(LibvirtError) as error:
                made.pairs("-smbios", pairs, first)
            assert error.value.code == c.VIR_ERR_INTERNAL_ERROR
        assert made.list == ["qemu"]

    def test_nul(self) -> None:
        """NUL, which would cut an argument short, is refused wherever it comes from, and is no NUL in JSON."""
        made = Arguments("qemu")
        for write in (lambda: made.plain("-append", "a\0b"), lambda: made.keyed("-name", guest="a\0b"),
                      lambda: Arguments("qe\0mu")):
            with pytest.raises(LibvirtError, match="NUL"):
                write()
        made.json("-device", driver="x", id="a\0b")
        assert "\0" not in made.list[-1]

    def test_listening_address(self) -> None:
        """An address that looks like an option of the display is an address."""
        [value] = options(command(domain_xml(
            "<graphics type='vnc' port='5901'><listen type='address' address='password=off,x'/></graphics>")), "-vnc")
        assert keyed(value)[0] == ("vnc", "password=off,x:1")


class TestOwnArguments:
    """What a user may add himself."""

    def test_last_and_untouched(self) -> None:
        """They come last and as they are, and the variables go into QEMU's environment."""
        document = domain_xml(
            attributes=" xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'",
            top="<qemu:commandline><qemu:arg value='-device'/><qemu:arg value='edu,id=a,,b'/>"
                "<qemu:env name='QEMU_AUDIO' value='a b'/><qemu:env name='EMPTY'/></qemu:commandline>")
        line = build(setup_of(document), monitor="fd=3")
        assert line.argv[-2:] == ["-device", "edu,id=a,,b"]
        assert line.argv[-4:-2] == ["-msg", "timestamp=on"]
        assert line.environment == {"QEMU_AUDIO": "a b", "EMPTY": ""}

    def test_json_is_whole(self) -> None:
        """Every JSON value of a command can be read, and names no key twice."""
        def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
            assert len(dict(pairs)) == len(pairs)
            return dict(pairs)

        for name in ("graphics-q35", "disks-chain-q35", "shared-memory-q35", "numa-q35"):
            values = [word for word in command(own_documents()[name]) if word.startswith("{")]
            assert values
            for value in values:
                json.loads(value, object_pairs_hook=once)
