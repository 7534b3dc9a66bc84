"""Every method libvirt-python has, and the C function behind it, so that none is ever missing from our classes.

Programs find out what a connection can do by calling and catching code 3, "this function is not supported by the
connection driver"; an AttributeError in its place would break them. So each class is completed at import: what it does
not define exists and answers with code 3. The same table says which part of libvirt (``VIR_FROM_*``) speaks for
a function. Names: libvirt-python 9.0.0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

from virtbus.errors import api_call
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError, no_support

T = TypeVar("T")

# Class -> prefix of the C function -> methods. A method is "name" where the C function is the prefix and the name with
# a capital ("virDomain" + "Create"), or "name=Rest" where the C function is the prefix and that rest. A "!" after the
# name marks what a read-only connection is refused before any driver is asked.
METHODS: dict[str, dict[str, str]] = {
    "virConnect": {
        "virNode": (
            "allocPages! getCellsFreeMemory getCPUMap getCPUStats getFreeMemory getFreePages getInfo "
            "getMemoryParameters getMemoryStats getSecurityModel getSEVInfo! listDevices numOfDevices "
            "setMemoryParameters! suspendForDuration!"),
        "virConnect": (
            "baselineCPU baselineHypervisorCPU close compareCPU compareHypervisorCPU! domainEventDeregister "
            "domainEventDeregisterAny domainEventRegister domainEventRegisterAny domainXMLFromNative! "
            "domainXMLToNative! findStoragePoolSources! getAllDomainStats getCapabilities getCPUModelNames "
            "getDomainCapabilities! getHostname getLibVersion getMaxVcpus getStoragePoolCapabilities getSysinfo "
            "getType getURI getVersion isAlive isEncrypted isSecure listAllDevices=ListAllNodeDevices listAllDomains "
            "listAllInterfaces listAllNetworks listAllNWFilterBindings listAllNWFilters listAllSecrets "
            "listAllStoragePools listDefinedDomains listDefinedInterfaces listDefinedNetworks listDefinedStoragePools "
            "listDomainsID=ListDomains listInterfaces listNetworks listNWFilters listSecrets listStoragePools "
            "networkEventDeregisterAny networkEventRegisterAny nodeDeviceEventDeregisterAny "
            "nodeDeviceEventRegisterAny numOfDefinedDomains numOfDefinedInterfaces numOfDefinedNetworks "
            "numOfDefinedStoragePools numOfDomains numOfInterfaces numOfNetworks numOfNWFilters numOfSecrets "
            "numOfStoragePools registerCloseCallback secretEventDeregisterAny secretEventRegisterAny setIdentity "
            "setKeepAlive storagePoolEventDeregisterAny storagePoolEventRegisterAny unregisterCloseCallback"),
        "vir": (
            "changeBegin!=InterfaceChangeBegin changeCommit!=InterfaceChangeCommit "
            "changeRollback!=InterfaceChangeRollback domainListGetStats interfaceDefineXML! "
            "interfaceLookupByMACString interfaceLookupByName networkCreateXML! networkCreateXMLFlags! "
            "networkDefineXML! networkDefineXMLFlags! networkLookupByName networkLookupByUUID "
            "networkLookupByUUIDString newStream=StreamNew nodeDeviceCreateXML! nodeDeviceDefineXML! "
            "nodeDeviceLookupByName nodeDeviceLookupSCSIHostByWWN nwfilterBindingCreateXML!=NWFilterBindingCreateXML "
            "nwfilterBindingLookupByPortDev=NWFilterBindingLookupByPortDev nwfilterDefineXML!=NWFilterDefineXML "
            "nwfilterDefineXMLFlags!=NWFilterDefineXMLFlags nwfilterLookupByName=NWFilterLookupByName "
            "nwfilterLookupByUUID=NWFilterLookupByUUID nwfilterLookupByUUIDString=NWFilterLookupByUUIDString "
            "secretDefineXML! secretLookupByUsage secretLookupByUUID secretLookupByUUIDString storagePoolCreateXML! "
            "storagePoolDefineXML! storagePoolLookupByName storagePoolLookupByTargetPath storagePoolLookupByUUID "
            "storagePoolLookupByUUIDString storageVolLookupByKey storageVolLookupByPath "
            "virConnGetLastError=ConnGetLastError virConnResetLastError=ConnResetLastError"),
        "virDomain": (
            "createLinux! createXML! createXMLWithFiles! defineXML! defineXMLFlags! lookupByID lookupByName "
            "lookupByUUID lookupByUUIDString restore! restoreFlags! restoreParams! saveImageDefineXML! "
            "saveImageGetXMLDesc!"),
    },
    "virDomain": {
        "virDomain": (
            "abortJob! abortJobFlags! addIOThread! agentSetResponseTimeout! attachDevice! attachDeviceFlags! "
            "authorizedSSHKeysGet! authorizedSSHKeysSet! autostart=GetAutostart backupBegin! backupGetXMLDesc "
            "blkioParameters=GetBlkioParameters blockCommit! blockCopy! blockInfo=GetBlockInfo "
            "blockIoTune=GetBlockIoTune blockJobAbort! blockJobInfo=GetBlockJobInfo blockJobSetSpeed! blockPeek! "
            "blockPull! blockRebase! blockResize! blockStats blockStatsFlags checkpointCreateXML! "
            "checkpointLookupByName connect=GetConnect controlInfo=GetControlInfo coreDump! coreDumpWithFormat! "
            "create! createWithFiles! createWithFlags! delIOThread! destroy! destroyFlags! detachDevice! "
            "detachDeviceAlias! detachDeviceFlags! diskErrors=GetDiskErrors emulatorPinInfo=GetEmulatorPinInfo "
            "FDAssociate! fsFreeze!=FSFreeze fsInfo!=GetFSInfo fsThaw!=FSThaw fSTrim! getCPUStats getTime! "
            "guestInfo!=GetGuestInfo guestVcpus=GetGuestVcpus hasCurrentSnapshot hasManagedSaveImage "
            "hostname!=GetHostname ID=GetID info=GetInfo injectNMI! interfaceAddresses "
            "interfaceParameters=GetInterfaceParameters interfaceStats ioThreadInfo=GetIOThreadInfo isActive "
            "isPersistent isUpdated jobInfo=GetJobInfo jobStats=GetJobStats launchSecurityInfo!=GetLaunchSecurityInfo "
            "listAllCheckpoints listAllSnapshots managedSave! managedSaveDefineXML! managedSaveGetXMLDesc "
            "managedSaveRemove! maxMemory=GetMaxMemory maxVcpus=GetMaxVcpus memoryParameters=GetMemoryParameters "
            "memoryPeek! memoryStats messages=GetMessages metadata=GetMetadata migrate! migrate2! migrate3! "
            "migrateGetCompressionCache migrateGetMaxDowntime migrateGetMaxSpeed! migrateSetCompressionCache! "
            "migrateSetMaxDowntime! migrateSetMaxSpeed! migrateStartPostCopy! migrateToURI! migrateToURI2! "
            "migrateToURI3! name=GetName numaParameters=GetNumaParameters openChannel! openConsole! openGraphics! "
            "openGraphicsFD! OSType=GetOSType perfEvents=GetPerfEvents pinEmulator! pinIOThread! pinVcpu! "
            "pinVcpuFlags! pMSuspendForDuration! pMWakeup! reboot! rename! reset! resume! revertToSnapshot! save! "
            "saveFlags! saveParams! schedulerParameters=GetSchedulerParameters "
            "schedulerParametersFlags=GetSchedulerParametersFlags schedulerType=GetSchedulerType screenshot! "
            "securityLabel=GetSecurityLabel securityLabelList=GetSecurityLabelList sendKey! sendProcessSignal! "
            "setAutostart! setBlkioParameters! setBlockIoTune! setBlockThreshold! setGuestVcpus! "
            "setInterfaceParameters! setIOThreadParams! setLaunchSecurityState! setLifecycleAction! setMaxMemory! "
            "setMemory! setMemoryFlags! setMemoryParameters! setMemoryStatsPeriod! setMetadata! setNumaParameters! "
            "setPerfEvents setSchedulerParameters! setSchedulerParametersFlags! setTime! setUserPassword! setVcpu! "
            "setVcpus! setVcpusFlags! shutdown! shutdownFlags! snapshotCreateXML! snapshotCurrent snapshotListNames "
            "snapshotLookupByName snapshotNum startDirtyRateCalc! state=GetState suspend! undefine! undefineFlags! "
            "updateDeviceFlags! UUID=GetUUID UUIDString=GetUUIDString vcpuPinInfo=GetVcpuPinInfo vcpus=GetVcpus "
            "vcpusFlags=GetVcpusFlags XMLDesc=GetXMLDesc"),
    },
    "virDomainCheckpoint": {
        "virDomainCheckpoint": (
            "connect=GetConnect delete! domain=GetDomain getConnect getDomain getName getParent getXMLDesc "
            "listAllChildren"),
    },
    "virDomainSnapshot": {
        "virDomainSnapshot": (
            "connect=GetConnect delete! domain=GetDomain getConnect getDomain getName getParent getXMLDesc "
            "hasMetadata isCurrent listAllChildren listChildrenNames numChildren"),
    },
    "virInterface": {
        "virInterface": (
            "connect=GetConnect create! destroy! isActive MACString=GetMACString name=GetName undefine! "
            "XMLDesc=GetXMLDesc"),
    },
    "virNWFilter": {
        "virNWFilter": (
            "connect=GetConnect name=GetName undefine! UUID=GetUUID UUIDString=GetUUIDString XMLDesc=GetXMLDesc"),
    },
    "virNWFilterBinding": {
        "virNWFilterBinding": (
            "connect=GetConnect delete! filterName=GetFilterName portDev=GetPortDev XMLDesc=GetXMLDesc"),
    },
    "virNetwork": {
        "virNetwork": (
            "autostart=GetAutostart bridgeName=GetBridgeName connect=GetConnect create! destroy! "
            "DHCPLeases=GetDHCPLeases isActive isPersistent listAllPorts name=GetName portCreateXML! portLookupByUUID "
            "portLookupByUUIDString setAutostart! undefine! update! UUID=GetUUID UUIDString=GetUUIDString "
            "XMLDesc=GetXMLDesc"),
    },
    "virNetworkPort": {
        "virNetworkPort": (
            "connect=GetConnect delete! network=GetNetwork parameters=GetParameters setParameters! UUID=GetUUID "
            "UUIDString=GetUUIDString XMLDesc=GetXMLDesc"),
    },
    "virNodeDevice": {
        "virNodeDevice": (
            "autostart!=GetAutostart connect=GetConnect create! destroy! detachFlags! dettach! isActive isPersistent "
            "listCaps name=GetName numOfCaps parent=GetParent reAttach! reset! setAutostart! undefine! "
            "XMLDesc=GetXMLDesc"),
    },
    "virSecret": {
        "virSecret": (
            "connect=GetConnect setValue! undefine! usageID=GetUsageID usageType=GetUsageType UUID=GetUUID "
            "UUIDString=GetUUIDString value!=GetValue XMLDesc=GetXMLDesc"),
    },
    "virStoragePool": {
        "virStoragePool": (
            "autostart=GetAutostart build! connect=GetConnect create! delete! destroy! info=GetInfo isActive "
            "isPersistent listAllVolumes listVolumes name=GetName numOfVolumes refresh! setAutostart! undefine! "
            "UUID=GetUUID UUIDString=GetUUIDString XMLDesc=GetXMLDesc"),
        "virStorage": (
            "createXML!=VolCreateXML createXMLFrom!=VolCreateXMLFrom storageVolLookupByName=VolLookupByName"),
    },
    "virStorageVol": {
        "virStorageVol": (
            "connect=GetConnect delete! download! info=GetInfo infoFlags=GetInfoFlags key=GetKey name=GetName "
            "path=GetPath resize! upload! wipe! wipePattern! XMLDesc=GetXMLDesc"),
        "virStorage": (
            "storagePoolLookupByVolume=PoolLookupByVolume"),
    },
    "virStream": {
        "virStream": (
            "abort connect=GetConnect eventAddCallback eventRemoveCallback eventUpdateCallback finish recv recvAll "
            "recvFlags recvHole send sendAll sendHole sparseRecvAll sparseSendAll"),
    },
}

# The origin that libvirt names is that of the source file which holds the function; the first match decides.
ORIGINS: tuple[tuple[re.Pattern[str], int], ...] = tuple((re.compile(pattern), origin) for pattern, origin in (
    (r"vir(Connect\w*?)?NWFilter", c.VIR_FROM_NWFILTER),
    (r"vir(Connect\w*?)?NodeDevice|virNode(NumOf|List)Devices", c.VIR_FROM_NODEDEV),
    (r"vir(Connect\w*?)?Storage(Pool|Vol)", c.VIR_FROM_STORAGE),
    (r"vir(Connect\w*?)?Secret", c.VIR_FROM_SECRET),
    (r"vir(Connect\w*?)?(Defined)?Interface", c.VIR_FROM_INTERFACE),
    (r"vir(Connect\w*?)?(Defined)?Network", c.VIR_FROM_NETWORK),
    (r"virStream", c.VIR_FROM_STREAMS),
    (r"virDomain\w*Snapshot", c.VIR_FROM_DOMAIN_SNAPSHOT),
    (r"virDomain\w*Checkpoint", c.VIR_FROM_DOMAIN_CHECKPOINT),
    (r"virConnect(Open\w*|Close|Ref)$", c.VIR_FROM_NONE),
))


def c_names(class_name: str) -> Iterator[tuple[str, str]]:
    """Each method of a libvirt-python class with its C function: ``("XMLDesc", "virDomainGetXMLDesc")``."""
    for prefix, row in METHODS[class_name].items():
        for entry in row.split():
            name, _, rest = entry.replace("!", "").partition("=")
            yield name, prefix + (rest or name[0].upper() + name[1:])


def _writes(class_name: str) -> set[str]:
    """The methods of a class that a read-only connection is refused."""
    entries = " ".join(METHODS[class_name].values()).split()
    return {entry.partition("!")[0] for entry in entries if "!" in entry}


def denied(c_name: str, detail: str = "") -> LibvirtError:
    """A read-only connection may not do that."""
    return LibvirtError(c.VIR_ERR_OPERATION_DENIED, detail or f"read only access prevents {c_name}",
                        domain=origin_of(c_name))


def origin_of(c_name: str) -> int:
    """The ``VIR_FROM_*`` number under which libvirt reports errors found before a driver is asked."""
    return next((origin for pattern, origin in ORIGINS if pattern.match(c_name)), c.VIR_FROM_DOMAIN)


def complete(cls: type[T]) -> type[T]:
    """Add to ``cls`` each method of the libvirt-python class of that name which it lacks; they fail with code 3."""
    writes = _writes(cls.__name__)
    for name, c_name in c_names(cls.__name__):
        if not hasattr(cls, name):
            setattr(cls, name, _unsupported(cls.__name__, name, c_name, changes=name in writes))
    return cls


def _unsupported(class_name: str, name: str, c_name: str, *, changes: bool) -> Callable[..., NoReturn]:
    @api_call
    def method(self: object, *args: object, **kwargs: object) -> NoReturn:
        if changes and getattr(getattr(self, "_channel", None), "read_only", False):
            raise denied(c_name)
        raise no_support(c_name, origin_of(c_name))

    method.__name__ = name
    method.__qualname__ = f"{class_name}.{name}"
    method.__doc__ = f"Not supported by any driver yet: raises libvirtError with code 3 ({c_name})."
    return method
