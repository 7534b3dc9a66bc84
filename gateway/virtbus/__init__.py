"""libvirt's Python API over a message bus: ``import virtbus as libvirt``.

This file only names what there is; each module says what it holds. Nothing is connected before ``open``:
``test:///default`` is a whole node inside the process, ``qemu+amqp://NODE/system`` one behind a broker.
"""

from virtbus.absent import virDomainCheckpoint as virDomainCheckpoint
from virtbus.absent import virDomainSnapshot as virDomainSnapshot
from virtbus.absent import virInterface as virInterface
from virtbus.absent import virNetworkPort as virNetworkPort
from virtbus.absent import virNWFilter as virNWFilter
from virtbus.absent import virNWFilterBinding as virNWFilterBinding
from virtbus.absent import virSecret as virSecret
from virtbus.absent import virStream as virStream
from virtbus.connect import open as open  # noqa: A004 - libvirt's name
from virtbus.connect import openAuth as openAuth
from virtbus.connect import openReadOnly as openReadOnly
from virtbus.connect import virConnect as virConnect
from virtbus.constants import *  # noqa: F403
from virtbus.domain import virDomain as virDomain
from virtbus.errors import getVersion as getVersion
from virtbus.errors import libvirtError as libvirtError
from virtbus.errors import registerErrorHandler as registerErrorHandler
from virtbus.errors import virGetLastError as virGetLastError
from virtbus.errors import virGetLastErrorCode as virGetLastErrorCode
from virtbus.errors import virGetLastErrorDomain as virGetLastErrorDomain
from virtbus.errors import virGetLastErrorMessage as virGetLastErrorMessage
from virtbus.errors import virInitialize as virInitialize
from virtbus.errors import virResetLastError as virResetLastError
from virtbus.eventloop import virEventAddHandle as virEventAddHandle
from virtbus.eventloop import virEventAddTimeout as virEventAddTimeout
from virtbus.eventloop import virEventInvokeFreeCallback as virEventInvokeFreeCallback
from virtbus.eventloop import virEventRegisterDefaultImpl as virEventRegisterDefaultImpl
from virtbus.eventloop import virEventRegisterImpl as virEventRegisterImpl
from virtbus.eventloop import virEventRemoveHandle as virEventRemoveHandle
from virtbus.eventloop import virEventRemoveTimeout as virEventRemoveTimeout
from virtbus.eventloop import virEventRunDefaultImpl as virEventRunDefaultImpl
from virtbus.eventloop import virEventUpdateHandle as virEventUpdateHandle
from virtbus.eventloop import virEventUpdateTimeout as virEventUpdateTimeout
from virtbus.extras import Outcome as Outcome
from virtbus.network import virNetwork as virNetwork
from virtbus.nodedev import virNodeDevice as virNodeDevice
from virtbus.storage import virStoragePool as virStoragePool
from virtbus.storage import virStorageVol as virStorageVol
from virtbus_shared import __version__ as __version__
