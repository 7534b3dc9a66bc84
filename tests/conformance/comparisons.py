"""What is compared between libvirt and us about domain documents, and what came of it; asked once a test run.

Each comparison has a table of the differences that are meant, ``domain/NAME.toml``; see
``tests/support/difference_table.py``. To look at one: ``python -m tests.conformance.comparisons stored [DOCUMENT]``
prints the differences that are not on record.
"""

from __future__ import annotations

import functools
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conformance import ours
from tests.conformance.documents import all_documents, own_documents
from tests.conformance.preparation import FOR_ARGUMENTS, FOR_THIS_HOST, Rewrite, prepared
from tests.support import embed, oracle
from tests.support.argument_difference import differing_commands, from_shell
from tests.support.difference_table import Entry, load, report, unexplained
from tests.support.document_difference import ABSENT, Differences, differing_documents, made_up
from tests.support.embed import DIED, Answer, Refusal, Request
from virtbus_shared import constants as c

FOLDER = Path(__file__).parent / "domain"
STORED = c.VIR_DOMAIN_XML_INACTIVE | c.VIR_DOMAIN_XML_SECURE
NO_ANSWER = "(no answer)"  # libvirt could not be asked
VERDICT = "(verdict)"  # one of the two refuses
CRASH = "(crash)"  # ours raised what is no LibvirtError: on no table

# A guest's own folder, which libvirt has two of.
_FOLDERS = {rf"{ours.RUN}/qemu/[0-9]+-[0-9a-f-]{{36}}": "/GUEST",
            rf"{embed.ROOT}/lib/qemu/(channel/target/)?domain--1-[^/]+": "/GUEST"}
_PATH = re.compile(r" \(at /[^)]*\)$")  # what our messages have beyond libvirt's: the path of the wrong element
# The argument list of a document with volumes, or host networks, needs daemons beside the one driver.
_UNANSWERED = "Failed to connect socket to '/var/run/libvirt/"


@dataclass(frozen=True)
class Comparison:
    """Answers to the same documents, and how two of them are compared."""

    name: str
    documents: Callable[[], Mapping[str, str]]
    theirs: Callable[[Sequence[str]], Sequence[Answer]]
    ours: Callable[[str], Answer]
    differing: Callable[[str, str, str], Differences]

    @property
    def table(self) -> list[Entry]:
        """The differences that are meant."""
        return load(FOLDER / f"{self.name}.toml")


def _prepared(rewrites: Sequence[Rewrite]) -> dict[str, str]:
    """All documents as this host can have them; our own are made for it."""
    own = own_documents()
    return {name: text if name in own else prepared(text, rewrites) for name, text in all_documents().items()}


@functools.cache
def _for_this_host() -> dict[str, str]:
    return _prepared(FOR_THIS_HOST)


@functools.cache
def _for_arguments() -> dict[str, str]:
    return _prepared(FOR_ARGUMENTS)


def _defined(documents: Sequence[str]) -> Sequence[Answer]:
    return embed.ask([Request("define", text, STORED) for text in documents])


def _commands(documents: Sequence[str]) -> Sequence[Answer]:
    return embed.ask([Request("argv", text) for text in documents])


def _defined_by_test_driver(documents: Sequence[str]) -> Sequence[Answer]:
    found = oracle.answers("domain", documents, STORED)
    return [answer if isinstance(answer, str) else Refusal(*answer) for answer in found]


@functools.cache
def _dumps() -> dict[str, str]:
    """libvirt's stored form of each document that it takes."""
    documents = _for_this_host()
    answers = zip(documents, _defined(list(documents.values())), strict=True)
    return {name: answer for name, answer in answers if isinstance(answer, str)}


def _nothing(_mine: str, _their: str, _definition: str) -> Differences:
    return {}


def _commands_differ(mine: str, their: str, definition: str) -> Differences:
    found = differing_commands(from_shell(mine, _FOLDERS), from_shell(their, _FOLDERS), made_up(definition))
    # libvirt's conversion makes every interface an anonymous tap.
    return {path: pair for path, pair in found.items() if not path.startswith("-netdev ")}


COMPARISONS = {comparison.name: comparison for comparison in (
    # Documents as they are: does libvirt take them on this host, and do we?
    Comparison("verdict", all_documents, _defined, ours.stored, _nothing),
    Comparison("stored", _for_this_host, _defined, ours.stored, differing_documents),
    # libvirt's own output as input.
    Comparison("redefined", _dumps, _defined, ours.stored, differing_documents),
    Comparison("arguments", _for_arguments, _commands, ours.command, _commands_differ),
    Comparison("test_driver", all_documents, _defined_by_test_driver, ours.stored_by_test_driver, differing_documents),
)}


@functools.cache
def found(name: str) -> Mapping[str, Differences]:
    """The differences of a comparison by document, those on record included."""
    comparison = COMPARISONS[name]
    documents = comparison.documents()
    answers = comparison.theirs(list(documents.values()))
    return {document: _compared(comparison, text, answer)
            for (document, text), answer in zip(documents.items(), answers, strict=True)}


def _compared(comparison: Comparison, text: str, theirs: Answer) -> Differences:
    if theirs is DIED or (isinstance(theirs, Refusal) and theirs.message.startswith(_UNANSWERED)):
        return {NO_ANSWER: (ABSENT, theirs.message)}
    try:
        mine = comparison.ours(text)
        if isinstance(mine, Refusal) and isinstance(theirs, Refusal):
            return _refusals(mine, theirs)
        if isinstance(mine, Refusal) or isinstance(theirs, Refusal):
            return {VERDICT: (_verdict(mine), _verdict(theirs))}
        return comparison.differing(mine, theirs, text)
    except Exception:
        return {CRASH: (traceback.format_exc(limit=-3), _verdict(theirs))}


def _refusals(mine: Refusal, theirs: Refusal) -> Differences:
    pairs = {"refusal/code": (str(mine.code), str(theirs.code)),
             "refusal/domain": (str(mine.domain), str(theirs.domain)),
             "refusal/message": (_PATH.sub("", mine.message), theirs.message)}
    return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}


def _verdict(answer: Answer) -> str:
    return f"refused: {answer.code}, {answer.domain}, {answer.message}" if isinstance(answer, Refusal) else "accepted"


def left(name: str) -> Mapping[str, Differences]:
    """The differences of a comparison that are not on record, of the documents that have any."""
    table = COMPARISONS[name].table
    every = {document: unexplained(document, differences, table) for document, differences in found(name).items()}
    return {document: differences for document, differences in every.items() if differences}


def summary(name: str) -> str:
    """How a comparison stands, on one line."""
    everything, open_ones = found(name), left(name)
    alike = sum(not differences for differences in everything.values())
    recorded = len(everything) - alike - len(open_ones)
    return (f"{name}: of {len(everything)} documents {alike} agree, {recorded} differ as on record, "
            f"{len(open_ones)} differ")


if __name__ == "__main__":
    for wanted in [name for name in COMPARISONS if name in sys.argv[1:2]] or COMPARISONS:
        for document, differences in left(wanted).items():
            if document in (sys.argv[2:] or [document]):
                print(f"\n===== {wanted}: {document}\n{report(differences)}")
        print(summary(wanted))
