"""libvirt's Python API over a message bus: ``import virtbus as libvirt``.

This file only names what there is; each module says what it holds. Without a URI that names a bus nothing is
connected: ``test:///default`` is a whole node inside the process.
"""

from virtbus.absent import (
    virDomainCheckpoint,
    virDomainSnapshot,
    virInterface,
    virNetworkPort,
    virNWFilter,
    virNWFilterBinding,
    virSecret,
    virStream,
)
from virtbus.connect import open as open  # noqa: A004, PLC0414 - libvirt's name
from virtbus.connect import openAuth, openReadOnly, virConnect
from virtbus.constants import *  # noqa: F403
from virtbus.domain import virDomain
from virtbus.errors import (
    getVersion,
    libvirtError,
    registerErrorHandler,
    virGetLastError,
    virGetLastErrorCode,
    virGetLastErrorDomain,
    virGetLastErrorMessage,
    virInitialize,
    virResetLastError,
)
from virtbus.eventloop import (
    virEventAddHandle,
    virEventAddTimeout,
    virEventInvokeFreeCallback,
    virEventRegisterDefaultImpl,
    virEventRegisterImpl,
    virEventRemoveHandle,
    virEventRemoveTimeout,
    virEventRunDefaultImpl,
    virEventUpdateHandle,
    virEventUpdateTimeout,
)
from virtbus.extras import Outcome
from virtbus.network import virNetwork
from virtbus.nodedev import virNodeDevice
from virtbus.storage import virStoragePool, virStorageVol
from virtbus_shared import __version__
