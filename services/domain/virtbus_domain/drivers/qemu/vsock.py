"""Sockets between host and guest: the kernel's device, opened for QEMU, and the number by which the guest is called."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable
from contextlib import AsyncExitStack

from virtbus_domain.xml.domain import Devices
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_DEVICE = "/dev/vhost-vsock"
_SET_GUEST_CID = 0x4008AF60  # VHOST_VSOCK_SET_GUEST_CID of linux/vhost.h
_FIRST = 3  # vsock(7): 0 to 2 have a meaning of their own
_LAST = 2**32 - 2

SetNumber = Callable[[int, int], None]
"""Gives the guest of an open device a number; ``OSError`` (EADDRINUSE) when another guest has it."""


def open_vsock(devices: Devices, stack: AsyncExitStack) -> dict[str, list[str]]:
    """Open the device if the guest has one; its open file by its alias. Raises ``LibvirtError``."""
    vsock = devices.vsock
    if vsock is None:
        return {}
    try:
        descriptor = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise LibvirtError(c.VIR_ERR_SYSTEM_ERROR, f"unable to open vhost-vsock device: {error.strerror}",
                           domain=c.VIR_FROM_QEMU, int1=error.errno or -1) from error
    stack.callback(os.close, descriptor)
    wanted = None if vsock.cid_auto or vsock.cid_address is None else vsock.cid_address
    vsock.cid_address = acquire_number(descriptor, wanted)
    return {str(vsock.alias): [str(descriptor)]}


def _set_number(descriptor: int, number: int) -> None:
    fcntl.ioctl(descriptor, _SET_GUEST_CID, struct.pack("Q", number))


def acquire_number(descriptor: int, wanted: int | None, set_number: SetNumber = _set_number) -> int:
    """Take the number that is wanted for the guest, or the first one that is free. Raises ``LibvirtError``.

    It is taken as long as the device is open, so that no two guests that start at once get the same.
    """
    for number in [wanted] if wanted is not None else range(_FIRST, _LAST + 1):
        try:
            set_number(descriptor, number)
        except OSError as error:
            if wanted is None and error.errno == errno.EADDRINUSE:
                continue
            detail = "failed to set guest cid" if wanted is not None else "failed to acquire guest cid"
            raise LibvirtError(c.VIR_ERR_SYSTEM_ERROR, f"{detail}: {error.strerror}", domain=c.VIR_FROM_NONE,
                               int1=error.errno or -1) from error
        return number
    raise LibvirtError(c.VIR_ERR_SYSTEM_ERROR, "could not find free guest cid", domain=c.VIR_FROM_NONE)
