"""Placeholder."""
from virtbus_network.drivers.test import TestDriver


class BridgeDriver(TestDriver):
    """x"""

    paths = ()
