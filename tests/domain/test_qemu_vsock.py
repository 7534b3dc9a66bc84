"""The number of a guest's sockets: taken from the kernel, so that two guests never have the same."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from virtbus_domain.drivers.qemu.vsock import acquire_number, open_vsock
from virtbus_domain.xml.domain import Devices
from virtbus_domain.xml.vsock import Vsock
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


class Kernel:
    """What VHOST_VSOCK_SET_GUEST_CID does: one number for each device, none twice."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}

    def set_number(self, descriptor: int, number: int) -> None:
        """Give a device a number."""
        if any(taken == number for device, taken in self.numbers.items() if device != descriptor):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        if number < 3:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self.numbers[descriptor] = number


def test_first_free_number() -> None:
    """Guests that leave it open get one after the other, around those that have chosen."""
    kernel = Kernel()
    assert acquire_number(10, 4, kernel.set_number) == 4
    assert [acquire_number(device, None, kernel.set_number) for device in (11, 12)] == [3, 5]
    assert kernel.numbers == {10: 4, 11: 3, 12: 5}


@pytest.mark.parametrize(("wanted", "text"), [
    (4, "failed to set guest cid: Address already in use"), (1, "failed to set guest cid: Invalid argument")])
def test_wanted_number(wanted: int, text: str) -> None:
    """A number that cannot be had is libvirt's system error; no other one is taken instead."""
    kernel = Kernel()
    acquire_number(10, 4, kernel.set_number)
    with pytest.raises(LibvirtError, match=text) as error:
        acquire_number(11, wanted, kernel.set_number)
    assert (error.value.code, kernel.numbers) == (c.VIR_ERR_SYSTEM_ERROR, {10: 4})


def test_no_device() -> None:
    """A kernel without vhost-vsock says so, and a guest without such sockets needs none."""
    if Path("/dev/vhost-vsock").exists():
        pytest.skip("this kernel has vhost-vsock")

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            assert open_vsock(Devices(), stack) == {}
            with pytest.raises(LibvirtError, match="unable to open vhost-vsock device: No such file"):
                open_vsock(Devices(vsock=Vsock(cid_auto=True)), stack)

    asyncio.run(scenario())
