"""The passes of ``normalise``: what each fills in or refuses, that it is this one that does, and that libvirt agrees.

What they make of whole documents is compared in tests/conformance/test_domain_documents.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from tests.support import embed, oracle
from tests.support.definitions import Answer, Case, cases, guest
from tests.support.embed import Refusal, Request
from virtbus_domain.normalise import PASSES, Context, Pass, checks
from virtbus_domain.xml import format_domain, parse_domain
from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

NAMES = {f"{rule.__module__.rpartition('.')[2]}.{rule.__name__}": rule for rule in PASSES}
MACHINES = {"q35": "pc-q35-7.2", "pc": "pc-i440fx-7.2"}
FLAGS = c.VIR_DOMAIN_XML_SECURE | c.VIR_DOMAIN_XML_INACTIVE

QEMU = Context("qemu", machine=lambda arch, machine: MACHINES.get(machine or "pc", machine))
CONTEXTS = {"qemu": QEMU, "test": Context("test")}


def _defined(document: str, context: Context, passes: Sequence[Pass] = PASSES) -> Answer:
    """The stored document of a definition, or its refusal."""
    try:
        domain = parse_domain(document)
        for apply in passes:
            apply(domain, context)
    except LibvirtError as error:
        return Refusal(error.code, error.domain, error.message)
    return format_domain(domain, live=False)


def _asked(driver: str) -> list[Case]:
    """The cases that libvirt's driver of this name is asked."""
    return [case for case in cases().values() if case.driver == driver and not case.unasked]


@pytest.mark.parametrize("case", cases().values(), ids=lambda case: case.name)
def test_rule_holds(case: Case) -> None:
    """The definition is completed, or refused, as the case says."""
    assert case.seen(_defined(case.document, CONTEXTS[case.driver])) == case.expected()


@pytest.mark.parametrize("case", cases().values(), ids=lambda case: case.name)
def test_rule_is_of_its_pass(case: Case) -> None:
    """Without its pass the case comes out otherwise, so that every pass is one that the tests would miss."""
    others = [rule for rule in PASSES if rule is not NAMES[case.rule]]
    try:
        answer = _defined(case.document, CONTEXTS[case.driver], others)
    except (AssertionError, AttributeError, TypeError):  # a later pass counts on this one
        return
    assert case.seen(answer) != case.expected()


def test_every_pass_has_a_case() -> None:
    """No pass is left out; what an emulator lacks is the driver's to say, and has a test of its own."""
    assert {case.rule for case in cases().values()} | {"checks.check_emulator"} == set(NAMES)


def test_emulator_has_the_first_say() -> None:
    """When all is filled in, what the emulator lacks is told before what else is wrong with a device."""
    seen = []

    def refuse(domain: Domain) -> None:
        seen.append(domain.vcpu)
        raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, "no such machine", domain=c.VIR_FROM_QEMU)

    document = guest("<disk type='file'><target dev='vda'/></disk>")
    answer = _defined(document, dataclasses.replace(QEMU, check=refuse))
    assert answer == Refusal(67, 10, "unsupported configuration: no such machine")
    assert seen == [1]
    without = _defined(document, QEMU, [rule for rule in PASSES if rule is not checks.check_emulator])
    assert without == Refusal(19, 20, "missing source information for device vda")


@pytest.mark.parametrize("case", _asked("qemu"), ids=lambda case: case.name)
def test_libvirt_has_the_same_rule(case: Case) -> None:
    """libvirt's QEMU driver completes or refuses the definition in the same way."""
    assert case.seen(embed.ask([Request("define", case.document, FLAGS)])[0]) == case.expected()


@pytest.mark.parametrize("case", _asked("test"), ids=lambda case: case.name)
def test_libvirts_test_driver_has_the_same_rule(case: Case) -> None:
    """libvirt's test driver completes or refuses the definition in the same way."""
    answer = oracle.dump_domain(case.document, FLAGS)
    assert case.seen(answer if isinstance(answer, str) else Refusal(*answer)) == case.expected()
