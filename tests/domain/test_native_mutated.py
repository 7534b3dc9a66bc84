"""Commands that no service wrote: each is read or refused in so many words, whatever it is, and in good time."""

from __future__ import annotations

import functools
import json
import shlex
import time
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.generated import HOSTILE, guests
from tests.support.native import backward, family_documents, forward, words
from virtbus_domain.drivers.qemu.native import from_arguments
from virtbus_domain.xml import parse_domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

many = settings(max_examples=300, deadline=timedelta(seconds=5),
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

_REFUSALS = (c.VIR_ERR_INVALID_ARG, c.VIR_ERR_CONFIG_UNSUPPORTED)
_ANYTHING = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=20), st.sampled_from(
    ("", "on", "off", "0", "-1", "18446744073709551616", "1" * 5000, "\ud800", "\x01", "pci.0", "iothread9", "k")))
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _ANYTHING),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_ANYTHING, inner, max_size=3)), max_leaves=6)


@functools.cache
def _commands() -> tuple[tuple[str, ...], ...]:
    """One command for each kind of device and setting, as words."""
    return tuple(tuple(shlex.split(forward(document))) for _, document in family_documents())


def _read_or_refused(command: str) -> None:
    """A domain whose document can be read, or a refusal that tells what is wrong."""
    answer = _answer(command)
    if isinstance(answer, LibvirtError):
        assert answer.code in _REFUSALS
        assert answer.message
    else:
        parse_domain(answer)


def _answer(command: str) -> str | LibvirtError:
    try:
        return backward(command)
    except LibvirtError as error:
        return error


@many
@given(st.lists(_ANYTHING, max_size=12))
def test_any_words(parts: list[str]) -> None:
    """Words at random, quoted for a shell or not."""
    _read_or_refused(" ".join(parts))
    _read_or_refused(shlex.join(parts))


@st.composite
def _mutated(draw: st.DrawFn) -> str:
    """A command of ours with a few words or members left out, said twice, moved, or changed."""
    command = list(draw(st.sampled_from(_commands())))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(command) - 1))
        match draw(st.sampled_from(("drop", "twice", "move", "replace", "member", "member", "member"))):
            case "drop":
                del command[place:place + draw(st.integers(1, 2))]
            case "twice":
                command[place:place] = command[place:place + 2]
            case "move":
                command.insert(draw(st.integers(0, len(command) - 1)), command.pop(place))
            case "replace":
                command[place] = draw(_ANYTHING)
            case "member":
                command[place] = _with_other_member(draw, command[place])
        if not command:
            break
    return shlex.join(command)


def _with_other_member(draw: st.DrawFn, word: str) -> str:
    if not word.startswith("{"):
        parts = word.split(",")
        names = st.sampled_from([part.partition("=")[0] for part in parts])
        parts[draw(st.integers(0, len(parts) - 1))] = draw(st.one_of(
            _ANYTHING, st.builds("{}={}".format, names, _ANYTHING)))
        return ",".join(parts)
    try:
        members: dict[str, Any] = json.loads(word)
    except ValueError:
        return word
    name = draw(st.sampled_from([*members, "id", "addr", "bus"]))
    if draw(st.booleans()):
        members.pop(name, None)
    else:
        members[name] = draw(_JSON)
    return json.dumps(members)


@many
@given(_mutated())
def test_a_command_that_somebody_edited(command: str) -> None:
    """Whatever was edited, it is read or refused."""
    _read_or_refused(command)


@many
@given(guests())
def test_a_guest_of_any_strings(document: str) -> None:
    """Strings of any kind, wherever a user chooses one, come back as they were."""
    command = forward(document)
    assert words(forward(backward(command))) == words(command)


def _with(*extra: str, without: str = "") -> str:
    command = [word for word in _commands()[0] if not without or without not in word]
    return shlex.join([*command[:-2], *extra, *command[-2:]])


def _chain(length: int, *, turning: bool = False) -> list[str]:
    """A disk whose image has a long chain of layers below, which may lead back to the first one."""
    options = ["-device", '{"driver":"virtio-blk-pci","id":"virtio-disk25","drive":"n0","bus":"pcie.0","addr":"0x1d"}']
    for number in range(length):
        below = 0 if turning and number == length - 1 else number + 1
        options += ["-blockdev", json.dumps({
            "driver": "file", "node-name": f"s{number}", "filename": "/x", "auto-read-only": True, "discard": "unmap"}),
            "-blockdev", json.dumps({
                "driver": "qcow2", "node-name": f"n{number}", "read-only": bool(number), "file": f"s{number}",
                "backing": None if below == length else f"n{below}"})]
    return options


@pytest.mark.parametrize(("command", "refusal"), [
    ("", "the command names no program"),
    ("X=1 Y=2", "the command names no program"),
    ("/usr/bin/qemu 'open", "the command is no list of shell words: No closing quotation"),
    ("/usr/bin/qemu -machine", "option '-machine' lacks its value"),
    ("/usr/bin/qemu -name \x07", "character 0x7 cannot be part of a document"),
    ("x" * 2**20, "command of 1048576 characters is longer than the 524288 permitted")])
def test_what_is_no_command_is_an_invalid_argument(command: str, refusal: str) -> None:
    """The text is wrong as such."""
    with pytest.raises(LibvirtError) as refused:
        from_arguments(command)
    assert refused.value.code == c.VIR_ERR_INVALID_ARG
    assert refused.value.message == f"invalid argument: {refusal}"


@pytest.mark.parametrize(("extra", "refusal"), [
    (["stray"], "'stray'"),
    (["-incoming", "defer"], "option -incoming defer"),
    (["-device", "virtio-rng-pci"], "-device virtio-rng-pci"),
    (["-device", '{"driver":"edu","id":"e"}'], "-device edu e"),
    (["-device", '{"driver":"virtio-rng-pci","id":"r"}'], "-device virtio-rng-pci r, without 'rng'"),
    (["-device", '{"driver":"virtio-rng-pci","id":"r","rng":"none"}'],
     "-object with the name 'none', which is not there"),
    (["-device", '{"driver":"virtio-balloon-pci","id":"b","bus":"pcie.0","addr":"zz"}'],
     "-device virtio-balloon-pci b, the second of its kind"),
    (["-device", '{"driver":"usb-hub","id":"h","bus":"nowhere.0","port":"1"}'], "-device usb-hub h: bus=nowhere.0"),
    (["-device", '{"driver":"pvpanic","id":"p","ioport":"0x505"}'], "-device pvpanic p: ioport=0x505"),
    (["-object", '{"qom-type":"rng-builtin","id":"r"}'], "-object rng-builtin r, which nothing uses"),
    (["-object", '{"qom-type":"secret","id":"s","file":"/x"}'],
     "-object secret s: which secret it is, the command does not say"),
    (["-global", "a.b=c"], "-global a.b=c"),
    (["-rtc", "base=utc"], "-rtc, which comes 2 times"),
    (["-display", "gtk"], "-display gtk"),
    (["-smbios", "type=17,speed=1"], "-smbios: type=17"),
    (_chain(300), "-blockdev qcow2 n200: more than 200 layers"),
    (_chain(3, turning=True), "-blockdev qcow2 n0: read-only=False")])
def test_what_a_document_cannot_say_is_refused_by_name(extra: list[str], refusal: str) -> None:
    """The option, the part and the member that has no place in a document."""
    with pytest.raises(LibvirtError) as refused:
        from_arguments(_with(*extra))
    assert refused.value.code == c.VIR_ERR_CONFIG_UNSUPPORTED
    assert refused.value.message == f"unsupported configuration: cannot be expressed as a domain: {refusal}"


def test_a_value_that_no_document_has_is_refused_in_the_documents_words() -> None:
    """Readers look at kinds of values only; what a value may be, the document knows."""
    command = shlex.join("no-uuid" if word.count("-") == 4 and "/" not in word else word for word in _commands()[0])
    with pytest.raises(LibvirtError, match=r"cannot be expressed as a domain: .* malformed uuid element"):
        from_arguments(command)


@pytest.mark.parametrize("extra", [
    _chain(199), ["-device", '{"a":' * 20000], ["-device", f'{{"driver":{"9" * 100000}}}'],
    ["-name", "," * 200000], ["-smp", "a=b," * 50000], ["-cpu", "x,a=on" * 30000],
    [word for number in range(3000) for word in ("-device", f'{{"driver":"usb-hub","id":"ua-{number}"}}')]],
    ids=["layers", "brackets", "digits", "commas", "members", "properties", "devices"])
def test_long_commands_are_done_in_seconds(extra: list[str]) -> None:
    """Nothing in a command makes the work grow faster than the command."""
    begin = time.monotonic()
    _read_or_refused(_with(*extra))
    assert time.monotonic() - begin < 5  # a guard against quadratic work, with room for a busy machine
