"""The document of a backup job: which disks are copied where, or offered to a client that fetches them.

What a client leaves out about disks is found out when the backup meets its domain, not here.
"""

from __future__ import annotations

from virtbus_domain.xml import strict
from virtbus_domain.xml.storage_source import FORMATS, DiskSource
from virtbus_shared import constants as c
from virtbus_shared.service.xml import Document, attr, element, parse_root, sub, subs, text
from virtbus_shared.service.xml_lines import Element, Output
from virtbus_shared.service.xml_values import UINT, YESNO, words

_LABEL = "domain_backup"
_FORMATS = " or ".join(f".='{name}'" for name in FORMATS)
_DISK = ("name", "backup", "type", "backupmode", "incremental", "exportname", "exportbitmap")
_HOST = r"^([a-zA-Z0-9.-]+|[0-9a-fA-F:.]+)\Z"
_PUSH, _PULL = "not(../../@mode='pull')", "../../@mode='pull'"

_RULES = strict.Rules(
    (f"self::*[@*[{strict.only('mode')}] or {strict.TEXT}] | *[{strict.only('incremental', 'server', 'disks')}]",
     "a backup has no such content"),
    ("incremental[2] | server[2] | disks[2]", "there is one of these already"),
    ("self::*[@mode[not(.='push' or .='pull')]]", "a backup's mode is 'push' or 'pull'"),
    ("self::*[@mode='pull' and not(server)]", "a pull backup names its server"),
    ("server[not(../@mode='pull')]", "only a pull backup has a server"),
    (f"server[* or @*[{strict.only('transport', 'tls', 'name', 'port', 'socket')}]]", "a server has no such content"),
    ("server[@transport[not(.='tcp' or .='unix')]]", "a server's transport is 'tcp' or 'unix'"),
    (f"server[not(@transport='unix')][@socket or {strict.unless('@name', _HOST)}]", "a TCP server has a host's name"),
    (f"server[@port[{strict.unless('.', strict.NUMBER)}]]", "a port is a number"),
    (f"server[@transport='unix'][@name or @port or {strict.unless('@socket', strict.ABSOLUTE)}]",
     "a UNIX server has an absolute path"),
    ("server[@tls[not(.='yes' or .='no')]]", "tls is 'yes' or 'no'"),
    ("incremental[* or @*]", "this is a text"),
    (f"disks[not(disk) or @* or {strict.TEXT}] | disks/*[{strict.only('disk')}]",
     "a list of disks has one at least, and nothing else"),
    (f"disks/disk[@*[{strict.only(*_DISK)}] or *[{strict.only('driver', 'target', 'scratch')}]]",
     "a disk has no such content"),
    (f"disks/disk[{strict.unless('@name', strict.TARGET)}]", "a disk is named by its target"),
    ("disks/disk[@backup[not(.='yes' or .='no')]]", "a disk's backup is 'yes' or 'no'"),
    ("disks/disk[@backup='no' and (@type or *)]", "a disk that is left out has no image"),
    ("disks/disk[@backupmode[not(.='full' or .='incremental')]]", "a backup mode is 'full' or 'incremental'"),
    ("disks/disk[@backupmode='full' and @incremental]", "a full backup starts from no checkpoint"),
    ("disks/disk[@type[not(.='file' or .='block')]]", "a disk's type is 'file' or 'block'"),
    (f"disks/disk[{_PUSH}][@exportname or @exportbitmap or scratch]", "only a pull backup exports"),
    (f"disks/disk[{_PUSH}][not(@backup='no') and not(@type)]", "a disk of a push backup has a type"),
    (f"disks/disk[{_PULL}][@backup='yes' and not(@type)]", "a disk that says backup='yes' says its type"),
    (f"disks/disk[{_PULL}][target]", "only a push backup has a target"),
    (f"disks/disk[{_PULL}][(driver or @type='block') and not(scratch)]", "such a disk has a scratch image"),
    ("disks/disk/driver[2] | disks/disk/target[2] | disks/disk/scratch[2]", "there is one of these already"),
    (f"disks/disk/driver[* or @*[{strict.only('type')}] or not(@type[{_FORMATS}])]", "a driver has an image format"),
    ("disks/disk[../../@mode='pull']/driver[not(@type='qcow2')]", "a scratch image is qcow2"),
    (f"disks/disk[not(@type='block')]/*[name()!='driver'][@*[{strict.only('file')}] or "
     f"{strict.unless('@file', strict.ABSOLUTE)}]", "an image in a file has an absolute path"),
    (f"disks/disk[@type='block']/*[name()!='driver'][@*[{strict.only('dev')}] or "
     f"{strict.unless('@dev', strict.ABSOLUTE)}]", "an image on a block device has an absolute path"),
    (f"disks/disk/*/*[{strict.only('seclabel', 'encryption')}]", "an image has no such content"),
)


@element
class BackupServer(Element):
    """Where a pull backup can be fetched: a host and TCP port, or a UNIX socket."""

    transport: str | None = attr("@transport", words("tcp", "unix"))
    tls: bool | None = attr("@tls", YESNO)
    name: str | None = attr("@name")
    port: int | None = attr("@port", UINT)
    socket: str | None = attr("@socket")


@element
class BackupDisk(Element):
    """What becomes of one disk: pushed to ``target``, or exported with ``scratch`` for what is overwritten meanwhile.

    ``incremental`` names the checkpoint since which changes count; ``index`` numbers the image while the job runs.
    """

    name: str | None = attr("@name")
    backup: bool | None = attr("@backup", YESNO)
    type: str | None = attr("@type", words("file", "block"))
    backupmode: str | None = attr("@backupmode", words("full", "incremental"))
    incremental: str | None = attr("@incremental")
    exportname: str | None = attr("@exportname")
    exportbitmap: str | None = attr("@exportbitmap")
    index: int | None = attr("@index", UINT, live=True)
    driver_type: str | None = attr("driver/@type", words(*FORMATS))
    target: DiskSource | None = sub("target", DiskSource)
    scratch: DiskSource | None = sub("scratch", DiskSource)


@element
class Backup(Element):
    """A backup job."""

    mode: str | None = attr("@mode", words("push", "pull"))
    incremental: str | None = text("incremental")
    server: BackupServer | None = sub("server", BackupServer)
    disks: list[BackupDisk] = subs("disks/disk", BackupDisk)


_BACKUP = Document(Backup, "domainbackup", _LABEL, c.VIR_FROM_DOMAIN)


def parse_backup(text: str) -> Backup:
    """The job that a client asks for; without a mode it is pushed.

    Raises ``LibvirtError``: not well formed, another root element, what libvirt's schema forbids; with its path.
    """
    root = parse_root(text, _LABEL, c.VIR_FROM_DOMAIN)
    if root.tag == "domainbackup":  # another one is for the document to refuse
        _RULES.check(root)
    backup = _BACKUP.parse(text)
    backup.mode = backup.mode or "push"
    if backup.server:
        backup.server.transport = backup.server.transport or "tcp"
    for disk in backup.disks:
        if disk.backup is False:  # nothing else of it is read
            disk.backupmode = disk.incremental = disk.exportname = disk.exportbitmap = None
            continue
        disk.backup = True
        disk.type = disk.type or "file"
    return backup


def format_backup(backup: Backup) -> str:
    """The job's document, as it runs."""
    return _BACKUP.format(backup, Output.LIVE)
