"""Every constant of ``import virtbus as libvirt``: those of the contract, and two that only the Python binding has.

The contract leaves out libvirt's ``..._LAST`` sentinels. libvirt-python does so too, but these two slipped through
its filter, because they are aliases rather than sentinels; programs may name them, so they are here.
"""

from virtbus_shared.constants import *  # noqa: F403

VIR_DOMAIN_MEMORY_STAT_LAST = 13
VIR_NETWORK_UPDATE_COMMAND_ADD_LAST = 3
