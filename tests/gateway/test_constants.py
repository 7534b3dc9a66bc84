"""``import virtbus as libvirt`` finds every constant that libvirt-python has, with its value."""

from __future__ import annotations

from tests.support.oracle_scripts import ask_oracle, needs_oracle
from virtbus import constants

LISTING = 'import json, libvirt; print(json.dumps({n: v for n, v in vars(libvirt).items() if n.startswith("VIR_")}))'


@needs_oracle
def test_constants_are_those_of_libvirt() -> None:
    """Names and values are exactly the binding's."""
    ours = {name: value for name, value in vars(constants).items() if name.startswith("VIR_")}
    assert ours == ask_oracle(LISTING)


def test_a_few_by_heart() -> None:
    """Numbers and names that no release will change, checked where libvirt is not installed too."""
    assert constants.VIR_DOMAIN_RUNNING == 1
    assert constants.VIR_ERR_NO_DOMAIN == 42
    assert constants.VIR_DOMAIN_EVENT_ID_LIFECYCLE == 0
    assert constants.VIR_MIGRATE_PARAM_URI == "migrate_uri"
