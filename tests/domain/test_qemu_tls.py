"""Encrypted connections: QEMU gets the node's certificates, and without them nothing is left unencrypted instead."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.support.command_line import command, domain_xml, keyed, objects, only, options
from tests.support.components import require_program
from tests.support.live_guest import domain_of, live_guest, x86_capabilities
from virtbus_domain.drivers.qemu import certificates
from virtbus_domain.drivers.qemu.certificates import Certificates, find_certificates
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

PKI = Certificates(qemu=Path("/pki/qemu"), spice=Path("/pki/spice"))


def refusal(devices: str) -> tuple[int, int, str]:
    """How a document is refused on a node without certificates."""
    with pytest.raises(LibvirtError) as error:
        command(domain_xml(devices))
    return error.value.code, error.value.domain, error.value.message


SERIAL = "<serial type='tcp'><source mode='{}' host='::1' service='1234' tls='{}'/></serial>"
NBD = ("<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='nbd' name='x' tls='yes' "
       "tlsHostname='other'><host name='h' port='1'/></source><target dev='vda'/></disk>")


@pytest.fixture
def pki(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Certificates of a CA, of this node and of its clients, where QEMU finds them."""
    openssl = require_program("openssl")

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], check=True, capture_output=True, cwd=tmp_path)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    run("req", "-x509", *curve, "-keyout", "ca-key.pem", "-out", "ca-cert.pem", "-subj", "/CN=test CA", "-addext",
        "keyUsage=critical,keyCertSign")
    run("req", "-x509", *curve, "-CA", "ca-cert.pem", "-CAkey", "ca-key.pem", "-keyout", "server-key.pem", "-out",
        "server-cert.pem", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext",
        "basicConstraints=critical,CA:FALSE")
    for name in ("_QEMU", "_SPICE"):
        monkeypatch.setattr(certificates, name, tmp_path)
    return tmp_path


class TestCommand:
    """What QEMU is told."""

    @pytest.mark.parametrize(("mode", "endpoint"), [("bind", "server"), ("connect", "client")])
    def test_character_device(self, mode: str, endpoint: str) -> None:
        """Each end shows the node's certificate and wants the other's."""
        argv = command(domain_xml(SERIAL.format(mode, "yes")), certificates=PKI)
        assert objects(argv, "-object")["objcharserial0_tls0"] == {
            "qom-type": "tls-creds-x509", "dir": "/pki/qemu", "endpoint": endpoint, "verify-peer": True}
        assert ("tls-creds", "objcharserial0_tls0") in keyed(options(argv, "-chardev")[1])

    def test_disk(self) -> None:
        """A disk on a server that has to prove the name that the document gives."""
        argv = command(domain_xml(NBD), certificates=PKI)
        assert objects(argv, "-object")["objlibvirt-1-storage_tls0"]["endpoint"] == "client"
        node = objects(argv, "-blockdev")["libvirt-1-storage"]
        assert (node["tls-creds"], node["tls-hostname"]) == ("objlibvirt-1-storage_tls0", "other")

    @pytest.mark.parametrize(("attributes", "channels", "expected"), [
        ("port='5900' tlsPort='5901' autoport='no'", "",
         [("port", "5900"), ("tls-port", "5901"), ("x509-dir", "/pki/spice")]),
        ("tlsPort='5901' autoport='no' defaultMode='secure'", "",
         [("tls-port", "5901"), ("x509-dir", "/pki/spice"), ("tls-channel", "default")]),
        ("port='5900' tlsPort='5901' autoport='no'", "<channel name='main' mode='secure'/>"
         "<channel name='cursor' mode='insecure'/>",
         [("port", "5900"), ("tls-port", "5901"), ("x509-dir", "/pki/spice"), ("tls-channel", "main"),
          ("plaintext-channel", "cursor")])])
    def test_spice(self, attributes: str, channels: str, expected: list[tuple[str, str]], pki: Path) -> None:
        """Ports and channels of SPICE, as libvirt writes them."""
        del pki  # without any a definition is refused
        argv = command(domain_xml(f"<graphics type='spice' {attributes}>{channels}</graphics>"), certificates=PKI)
        words = {"port", "tls-port", "x509-dir", "tls-channel", "plaintext-channel"}
        assert [(key, value) for key, value in keyed(only(argv, "-spice")) if key in words] == expected

    def test_not_asked_for(self) -> None:
        """What does not ask for encryption has none, certificates or not."""
        argv = command(domain_xml(SERIAL.format("bind", "no") + "<graphics type='spice' port='5900' autoport='no'/>"),
                       certificates=PKI)
        assert not any("tls" in value or "x509" in value for value in argv)


class TestRefused:
    """A node without certificates."""

    @pytest.mark.parametrize("devices", [SERIAL.format("bind", "yes"), NBD])
    def test_no_certificates(self, devices: str) -> None:
        """A connection that was to be encrypted is not made."""
        code, domain, text = refusal(devices)
        assert (code, domain) == (c.VIR_ERR_CONFIG_UNSUPPORTED, c.VIR_FROM_QEMU)
        assert "there are no certificates in /etc/pki/qemu" in text

    @pytest.mark.parametrize(("attributes", "channels", "text"), [
        ("tlsPort='5901' autoport='no'", "", "spice TLS port set in XML configuration, but there are no certificates"),
        ("port='5900' autoport='no' defaultMode='secure'", "",
         "spice defaultMode secure requested in XML configuration, but TLS connection is not available"),
        ("port='5900' autoport='no'", "<channel name='main' mode='secure'/>",
         "spice secure channels set in XML configuration, but TLS connection is not available")])
    def test_spice(self, attributes: str, channels: str, text: str) -> None:
        """In libvirt's words."""
        found = refusal(f"<graphics type='spice' {attributes}>{channels}</graphics>")
        assert (found[0], text in found[2]) == (c.VIR_ERR_CONFIG_UNSUPPORTED, True)


class TestReal:
    """Real QEMU with real certificates."""

    def test_found(self, pki: Path) -> None:
        """They are where they are looked for, or nowhere."""
        assert find_certificates() == Certificates(pki, pki)
        (pki / "ca-cert.pem").unlink()
        assert find_certificates() == Certificates()

    def test_connection(self, pki: Path) -> None:
        """A serial port and a screen are talked to by TLS; a free port is chosen for the latter."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        domain = domain_of(x86_capabilities(), (
            f"<serial type='tcp'><source mode='bind' host='127.0.0.1' service='{port}' tls='yes'/></serial>"
            "<graphics type='spice' autoport='yes' defaultMode='secure'/>"))
        context = ssl.create_default_context(cafile=str(pki / "ca-cert.pem"))
        context.load_cert_chain(pki / "server-cert.pem", pki / "server-key.pem")

        def talk(number: int) -> str | None:
            with socket.create_connection(("127.0.0.1", number), timeout=20) as plain, context.wrap_socket(
                    plain, server_hostname="localhost") as encrypted:
                return encrypted.version()

        async def scenario() -> None:
            async with live_guest(domain, x86_capabilities(), pki / "run") as guest:
                [screen] = guest.devices.graphics
                spice = await guest.ask("query-spice")
                assert (screen.port in (None, -1), spice["tls-port"]) == (True, screen.tls_port)
                assert screen.tls_port is not None
                for number in (port, screen.tls_port):
                    assert await asyncio.to_thread(talk, number) == "TLSv1.3"

        asyncio.run(scenario())
