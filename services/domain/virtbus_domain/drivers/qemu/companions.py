"""Processes that serve one guest beside its QEMU: swtpm, which is its TPM, and virtiofsd, which serves a directory.

Each listens on a socket that we make before it is started, so nobody has to wait for it, and ends by itself when QEMU
does: like QEMU it outlives this service. When a start fails before QEMU has connected, it is killed.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from socket import socket

from virtbus_domain.drivers.qemu.command.filesystem import virtiofs_socket
from virtbus_domain.drivers.qemu.command.misc import tpm_socket
from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.lookups import Lookups, SecretName
from virtbus_domain.drivers.qemu.monitor import listen
from virtbus_domain.drivers.qemu.process import QemuProcess
from virtbus_domain.drivers.qemu.secrets import write_secret
from virtbus_domain.drivers.qemu.tools import find_program, run_tool
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.filesystem import Filesystem
from virtbus_domain.xml.tpm import PcrBanks, Tpm, TpmBackend
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml_lines import lines_of

_CIPHER = "aes-256-cbc"  # of a TPM's memory
# Where programs that serve QEMU over vhost-user are described: docs/interop/vhost-user.json in QEMU's source.
_VHOST_USER = Path("/usr/share/qemu/vhost-user")


async def start_companions(model: Domain, paths: GuestPaths, state_dir: Path, lookups: Lookups,
                           stack: AsyncExitStack) -> None:
    """Start what the guest's TPMs and shared directories need. Raises ``LibvirtError``."""
    assert model.devices is not None
    for tpm in model.devices.tpms:
        if tpm.backend is not None and tpm.backend.type == "emulator":
            state = state_dir / "tpm" / str(model.uuid) / ("tpm1.2" if tpm.backend.version == "1.2" else "tpm2")
            _make_directory(state)
            key = await _tpm_key(tpm, tpm.backend, paths, lookups)
            await _choose_banks(tpm.backend, state, key)
            await _start(_swtpm(tpm, tpm.backend, state, key, paths), tpm_socket(paths.directory, tpm), paths,
                         str(tpm.alias), stack)
    for filesystem in model.devices.filesystems:
        if filesystem.driver_type == "virtiofs" and not filesystem.source_socket:
            await _start(_virtiofsd(filesystem), virtiofs_socket(paths.directory, filesystem), paths,
                         str(filesystem.alias), stack)


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LibvirtError(c.VIR_ERR_SYSTEM_ERROR, f"Could not create TPM directory {path}: {error.strerror}",
                           domain=c.VIR_FROM_NONE, int1=error.errno or -1) from error


async def _tpm_key(tpm: Tpm, backend: TpmBackend, paths: GuestPaths, lookups: Lookups) -> Path | None:
    """Where the key is that the TPM's memory is encrypted with."""
    if backend.encryption_secret is None:
        return None
    value = await lookups.secret(SecretName(uuid=backend.encryption_secret, type="vtpm"))
    return write_secret(paths.directory / "secrets", f"{tpm.alias}-key", value)


async def _choose_banks(backend: TpmBackend, state: Path, key: Path | None) -> None:
    """Make the TPM measure by the hashes of the document; without a word, it does so by those that it likes."""
    banks = backend.active_pcr_banks
    chosen = [name for name in lines_of(PcrBanks) if banks is not None and getattr(banks, name)]
    if not chosen:
        return
    words = ["--tpm2", "--tpm-state", f"dir://{state}", "--pcr-banks", ",".join(chosen)]
    words += ["--pwdfile", str(key), "--cipher", _CIPHER] if key else []
    await run_tool("swtpm_setup", *words, *(["--reconfigure"] if _has_memory(state) else []))


def _has_memory(state: Path) -> bool:
    return (state / "tpm2-00.permall").exists()


def _swtpm(tpm: Tpm, backend: TpmBackend, state: Path, key: Path | None, paths: GuestPaths) -> list[str]:
    """The command; ``{fd}`` stands for the listening socket."""
    version = [] if backend.version == "1.2" else ["--tpm2"]
    encrypted = ["--key", f"pwdfile={key},mode={_CIPHER}"] if key else []
    return [find_program("swtpm"), "socket", *version, "--tpmstate", f"dir={state},mode=0600", *encrypted, "--ctrl",
            "type=unixio,fd={fd}", "--terminate", "--log",
            f"file={paths.directory / f'{tpm.alias}.log'},level=1"]


def _virtiofsd(filesystem: Filesystem) -> list[str]:
    source = filesystem.source_dir or ""
    if "," in source:
        raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, f"virtiofsd takes no directory with a comma: '{source}'",
                           domain=c.VIR_FROM_QEMU)
    options = [f"source={source}"]
    if filesystem.binary_cache:
        options.append(f"cache={filesystem.binary_cache}")
    if filesystem.binary_sandbox:
        options.append(f"sandbox={filesystem.binary_sandbox}")
    for name, on in (("xattr", filesystem.binary_xattr), ("flock", filesystem.binary_lock_flock),
                     ("posix_lock", filesystem.binary_lock_posix)):
        if on is not None:
            options.append(name if on else f"no_{name}")
    threads = filesystem.binary_thread_pool
    return [filesystem.binary_path or _vhost_user_program("fs"), "--fd={fd}", "-o", ",".join(options),
            *([f"--thread-pool-size={threads}"] if threads is not None else [])]


async def _start(command: list[str], path: Path, paths: GuestPaths, name: str, stack: AsyncExitStack) -> None:
    listener: socket = listen(path)
    argv = [word.replace("{fd}", str(listener.fileno())) for word in command]
    try:
        process = QemuProcess.spawn(argv, paths.directory / f"{name}.log", [listener.fileno()])
    except OSError as error:
        raise LibvirtError(c.VIR_ERR_SYSTEM_ERROR, f"Cannot run '{argv[0]}': {error.strerror}",
                           domain=c.VIR_FROM_QEMU, int1=error.errno or -1) from error
    finally:
        listener.close()

    async def end(kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        del error, trace
        if kind is None:
            process.release()
        else:
            await process.kill()

    stack.push_async_exit(end)


def _vhost_user_program(kind: str) -> str:
    """The first installed program of a kind, by its description."""
    for path in sorted(_VHOST_USER.glob("*.json")):
        try:
            description = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if description.get("type") == kind and Path(str(description.get("binary"))).exists():
            return str(description["binary"])
    raise LibvirtError(c.VIR_ERR_OPERATION_FAILED, "Unable to find a satisfying virtiofsd", domain=c.VIR_FROM_QEMU)
