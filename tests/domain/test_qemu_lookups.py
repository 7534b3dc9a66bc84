"""What a start asks others for: volumes, networks and secrets; what it does with the answers, and without any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import make_image
from tests.support.live_guest import UUID, domain_of, setup_of, x86_capabilities
from virtbus_domain.drivers.qemu.command.disk import disk_parts
from virtbus_domain.drivers.qemu.command.parts import Kind, Part
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.guest import Guest
from virtbus_domain.drivers.qemu.layers import Volume
from virtbus_domain.drivers.qemu.lookups import NO_LOOKUPS, HostNetwork, Lookups, SecretName
from virtbus_domain.drivers.qemu.names import assign_names
from virtbus_domain.drivers.qemu.prepare import prepare
from virtbus_domain.drivers.qemu.start import start_guest
from virtbus_domain.xml import format_domain
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.storage_source import DiskSource, StorageHost
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

SECRET = "6c5a17aa-bccb-4c32-824d-b1e4536d8726"


class Node:
    """The other services of a node, with what they know; a KeyError for anything else."""

    def __init__(self, *, volumes: dict[tuple[str, str], Volume] | None = None,
                 networks: dict[str, HostNetwork] | None = None,
                 secrets: dict[SecretName, bytes] | None = None) -> None:
        self.volumes, self.networks, self.secrets = volumes or {}, networks or {}, secrets or {}

    async def volume(self, pool: str, name: str) -> Volume:
        """What a volume is."""
        return self.volumes[pool, name]

    async def network(self, name: str) -> HostNetwork:
        """What a network is."""
        return self.networks[name]

    async def secret(self, name: SecretName) -> bytes:
        """What a secret is."""
        return self.secrets[name]


def prepared(domain: Domain, folder: Path, lookups: Lookups, look: Callable[[Setup], Any]) -> Any:
    """Prepare a domain for a start; what is seen of it before all is taken back."""
    async def scenario() -> Any:
        paths = GuestPaths(folder, 1, UUID)
        paths.create()
        try:
            async with AsyncExitStack() as stack:
                return look(await prepare(domain, x86_capabilities(), paths, folder, stack, kvm_problem=None,
                                          lookups=lookups))
        finally:
            paths.remove()

    return asyncio.run(scenario())


def started(domain: Domain, folder: Path, lookups: Lookups, *queries: str) -> list[Any]:
    """Start a guest and ask it."""
    async def scenario() -> list[Any]:
        guest = Guest(GuestPaths(folder, 1, UUID), lambda *_: None)
        await start_guest(guest, domain, x86_capabilities(), folder, kvm_problem=None, paused=True, lookups=lookups)
        try:
            return [await guest.execute(query) for query in queries]
        finally:
            await guest.process.kill()
            await guest.ended()
            guest.paths.remove()

    return asyncio.run(scenario())


def refusal(domain: Domain, folder: Path) -> tuple[int, int, str]:
    """How a start is refused while nobody can be asked."""
    with pytest.raises(LibvirtError) as error:
        prepared(domain, folder, NO_LOOKUPS, lambda setup: None)
    return error.value.code, error.value.domain, error.value.message


def image(path: Path, image_format: str, *options: str) -> Path:
    """An image of a mebibyte."""
    make_image(path, image_format, "1M", *options)
    return path


def nodes(domain: Domain, **prepared: Any) -> list[Part]:
    """The block nodes of a domain's first disk, and the objects they need."""
    assert domain.devices is not None
    assign_names(domain.devices, q35=True)
    parts = disk_parts(domain.devices.disks[0], setup_of(domain, x86_capabilities(), **prepared))
    return [part for part in parts if part.kind is not Kind.DEVICE]


VOLUME = "<disk type='volume' device='disk'><driver name='qemu' type='{kind}'/><source pool='p' volume='v'{more}" \
         "<target dev='vda' bus='virtio'/></disk>"


class TestVolumes:
    """Disks that are volumes of pools."""

    def test_file(self, tmp_path: Path) -> None:
        """The volume's file is opened and its layers are found; the live document goes on to name the volume."""
        base = image(tmp_path / "base", "raw")
        path = image(tmp_path / "v", "qcow2", "-b", str(base), "-F", "raw")
        node = Node(volumes={("p", "v"): Volume("file", DiskSource(file=str(path)))})
        domain = domain_of(x86_capabilities(), VOLUME.format(kind="qcow2", more="/>"))
        [found] = started(domain, tmp_path, node, "query-named-block-nodes")
        files = {node["node-name"]: node["file"] for node in found}
        assert files["libvirt-1-storage"] == str(path)
        assert files["libvirt-2-storage"] == str(base)
        live = format_domain(domain, live=True)
        assert "<source pool='p' volume='v' index='1'/>" in live
        assert f"<source file='{base}'/>" in live

    def test_device(self) -> None:
        """A block volume is a device of the host; slices and keys are the disk's own."""
        volumes = {("p", "v"): Volume("block", DiskSource(dev="/dev/vg/v"))}
        domain = domain_of(x86_capabilities(), VOLUME.format(
            kind="raw", more="><slices><slice type='storage' offset='4096' size='1048576'/></slices></source>"))
        storage, formatted = nodes(domain, volumes=volumes)
        assert (storage.properties["driver"], storage.properties["filename"]) == ("host_device", "/dev/vg/v")
        assert (formatted.properties["offset"], formatted.properties["size"]) == (4096, 1048576)

    def test_server(self) -> None:
        """A volume of a pool on a server is reached there."""
        source = DiskSource(protocol="iscsi", name="iqn.2020-01.x:y/3", hosts=[StorageHost(name="h", port=3260)])
        domain = domain_of(x86_capabilities(), VOLUME.format(kind="raw", more=" mode='direct'/>"))
        storage, _ = nodes(domain, volumes={("p", "v"): Volume("network", source)})
        assert {name: storage.properties[name] for name in ("driver", "portal", "target", "lun")} == {
            "driver": "iscsi", "portal": "h:3260", "target": "iqn.2020-01.x:y", "lun": 3}

    def test_below(self) -> None:
        """A layer may be a volume, too."""
        domain = domain_of(x86_capabilities(), (
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/top'/>"
            "<backingStore type='volume'><format type='raw'/><source pool='p' volume='v'/><backingStore/>"
            "</backingStore><target dev='vda'/></disk>"))
        parts = nodes(domain, volumes={("p", "v"): Volume("file", DiskSource(file="/pool/v"))})
        assert [part.properties.get("filename") for part in parts] == ["/pool/v", None, "/top", None]

    def test_nobody_to_ask(self, tmp_path: Path) -> None:
        """As long as the storage service cannot be asked, the refusal says so and names the volume."""
        domain = domain_of(x86_capabilities(), VOLUME.format(kind="raw", more="/>"))
        assert refusal(domain, tmp_path) == (
            c.VIR_ERR_CONFIG_UNSUPPORTED, c.VIR_FROM_QEMU,
            "unsupported configuration: volume 'v' of pool 'p' cannot be found: the storage service cannot be asked "
            "yet")
        with pytest.raises(LibvirtError, match="volume 'v' of pool 'p' is not known"):
            nodes(domain)


class TestNetworks:
    """Screens that are seen on a network; for cards see test_qemu_host_network."""

    SCREEN = "<graphics type='vnc' autoport='yes'><listen type='network' network='default'/></graphics>"

    def test_listen(self, tmp_path: Path) -> None:
        """The server listens at the host's address in the network, which the live document shows."""
        domain = domain_of(x86_capabilities(), self.SCREEN)
        [answer] = started(domain, tmp_path, Node(networks={"default": HostNetwork("br0", "127.0.0.2")}), "query-vnc")
        assert answer["host"] == "127.0.0.2"
        assert "<listen type='network' address='127.0.0.2' network='default'/>" in format_domain(domain, live=True)

    def test_no_address(self, tmp_path: Path) -> None:
        """A network on which the host has no address shows no screen, and no other address is used instead."""
        node = Node(networks={"default": HostNetwork("br0", None)})
        with pytest.raises(LibvirtError, match="network 'default' doesn't have an IP address") as error:
            prepared(domain_of(x86_capabilities(), self.SCREEN), tmp_path, node, lambda setup: None)
        assert error.value.code == c.VIR_ERR_XML_ERROR

    def test_nobody_to_ask(self, tmp_path: Path) -> None:
        """As long as the network service cannot be asked, the refusal says so."""
        assert refusal(domain_of(x86_capabilities(), self.SCREEN), tmp_path) == (
            c.VIR_ERR_CONFIG_UNSUPPORTED, c.VIR_FROM_QEMU,
            "unsupported configuration: the bridge of network 'default' is not known: the network service cannot be "
            "asked yet")


DISK = "<disk type='{kind}' device='disk'><driver name='qemu' type='{format}'/>{source}" \
       "<target dev='vda' bus='virtio'/></disk>"


def network_disk(protocol: str, inner: str, name: str = "p/i") -> str:
    """A disk on a server."""
    return DISK.format(kind="network", format="raw", source=f"<source protocol='{protocol}' name='{name}'>"
                       f"<host name='h' port='1'/>{inner}</source>")


class TestSecrets:
    """Passwords and keys."""

    def test_image_is_opened(self, tmp_path: Path) -> None:
        """QEMU opens an encrypted image with the key that was asked for."""
        path = image(tmp_path / "secret.img", "luks", "--object", "secret,id=k,data=open sesame", "-o",
                     "key-secret=k,iter-time=10")
        domain = domain_of(x86_capabilities(), DISK.format(
            kind="file", format="raw", source=f"<source file='{path}'><encryption format='luks'>"
            f"<secret type='passphrase' uuid='{SECRET}'/></encryption></source>"))
        node = Node(secrets={SecretName(uuid=SECRET, type="volume"): b"open sesame"})
        [found] = started(domain, tmp_path, node, "query-named-block-nodes")
        assert {node["drv"] for node in found} == {"file", "luks"}
        assert "sesame" not in format_domain(domain, live=True, secure=True)

    def test_files(self, tmp_path: Path) -> None:
        """A secret is in a file that nobody else may read, in the guest's run directory."""
        domain = domain_of(x86_capabilities(), network_disk(
            "rbd", f"<auth username='me'><secret type='ceph' uuid='{SECRET}'/></auth>"))

        def look(setup: Setup) -> None:
            [(name, path)] = setup.secrets.items()
            assert name == "libvirt-1-storage-auth-secret0"
            assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"\0key", 0o600)
            assert path.parent.parent == setup.run_dir
            assert path.parent.stat().st_mode & 0o777 == 0o700

        node = Node(secrets={SecretName(uuid=SECRET, type="ceph"): b"\0key"})
        prepared(domain, tmp_path, node, look)

    @pytest.mark.parametrize(("disk", "names"), [
        (network_disk("iscsi", "<auth username='me'><secret type='iscsi' usage='u'/></auth>", "iqn.x/1"),
         {"libvirt-1-storage-auth-secret0": SecretName(usage="u", type="iscsi")}),
        (network_disk("rbd", f"<encryption format='luks2' engine='librbd'><secret type='passphrase' uuid='{SECRET}'/>"
                             "</encryption>"),
         {"libvirt-1-format-encryption-secret0": SecretName(uuid=SECRET, type="volume")}),
    ])
    def test_by_name(self, tmp_path: Path, disk: str, names: dict[str, SecretName]) -> None:
        """Each kind of secret is asked for by what the document calls it, and referred to by the builder."""
        domain = domain_of(x86_capabilities(), disk)
        node = Node(secrets=dict.fromkeys(names.values(), b"x"))
        objects = prepared(domain, tmp_path, node, lambda setup: [
            part for part in disk_parts(setup.devices.disks[0], setup) if part.kind is Kind.OBJECT])
        assert {part.name for part in objects} == set(names)

    def test_cookies(self, tmp_path: Path) -> None:
        """Cookies are in the document itself; QEMU reads them from a file, in one line."""
        domain = domain_of(x86_capabilities(), network_disk(
            "https", "<cookies><cookie name='a'>1</cookie><cookie name='b'>2</cookie></cookies>"))
        found = prepared(domain, tmp_path, NO_LOOKUPS, lambda setup: {
            name: path.read_text() for name, path in setup.secrets.items()})
        assert found == {"libvirt-1-storage-httpcookie-secret0": "a=1; b=2"}

    def test_librbd(self) -> None:
        """What librbd decrypts is plain to QEMU: the key is its driver's, and there is no layer for it."""
        domain = domain_of(x86_capabilities(), network_disk(
            "rbd", f"<encryption format='luks2' engine='librbd'><secret type='passphrase' uuid='{SECRET}'/>"
                   "</encryption>"))
        key = "libvirt-1-format-encryption-secret0"
        _, storage, formatted = nodes(domain, secrets={key: Path("/run/key")})
        assert storage.properties["encrypt"] == {"format": "luks2", "key_secret": key}
        assert formatted.properties["driver"] == "raw"

    @pytest.mark.parametrize(("name", "detail"), [
        (f"uuid='{SECRET}'", f"uuid '{SECRET}'"), ("usage='of mine'", "usage 'of mine'")])
    def test_nobody_to_ask(self, tmp_path: Path, name: str, detail: str) -> None:
        """Without a service for secrets there is none, in libvirt's words."""
        domain = domain_of(x86_capabilities(), network_disk(
            "rbd", f"<auth username='me'><secret type='ceph' {name}/></auth>"))
        assert refusal(domain, tmp_path) == (c.VIR_ERR_NO_SECRET, c.VIR_FROM_SECRET,
                                             f"Secret not found: no secret with matching {detail}")
