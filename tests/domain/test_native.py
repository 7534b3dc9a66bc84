"""A domain as QEMU's command line and back: what the command says comes back, and nothing else is made up."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.conformance.preparation import FOR_ARGUMENTS, prepared
from tests.support.corpus import CORPUS, corpus_documents, every_document
from tests.support.native import OWN, UUID, backward, command_of, defined, family_documents, forward, words
from virtbus_domain.xml import parse_domain
from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

FAMILIES = dict(family_documents())

_SECRET = "which secret it is, the command does not say"
_PASSWORD = "with a password, which the command does not hold"

# What a command cannot tell again, by document: the end of the refusal, and why there is no nearest thing to read.
ONE_WAY = {
    "disks-chain-q35": (_SECRET, "The command has the path of a file that holds a key, the document the key's name."),
    "disks-network-i440fx": (_SECRET, "The same, of a password for the storage."),
    "virt-manager--clone-net-rbd": (_SECRET, "The same."),
    "graphics-q35": (_PASSWORD, "The password is set over the monitor, lest everybody sees it."),
    "old-machine-i440fx": (_PASSWORD, "The same."),
    "virt-manager--convert-to-vnc-spice-manyopts-out": (_PASSWORD, "The same."),
    "virt-manager--uitests-vnc-password": (_PASSWORD, "The same."),
    "shared-memory-q35": ("which directory is served on its socket, the command does not say",
                          "Only the helper that serves the directory is told where it is."),
}


def _there_and_back(name: str, document: str) -> None:
    try:
        model = defined(document)
    except LibvirtError as error:
        pytest.skip(f"no definition on this node: {error}")
    try:
        command = command_of(model)
    except LibvirtError as error:
        pytest.skip(f"no command on this node: {error}")
    if name in ONE_WAY:
        with pytest.raises(LibvirtError, match=ONE_WAY[name][0]) as refused:
            backward(command)
        assert refused.value.code == c.VIR_ERR_CONFIG_UNSUPPORTED
        return
    document = backward(command)
    assert words(forward(document)) == words(command)
    assert backward(forward(document)) == document


@pytest.mark.parametrize("name", sorted(path.stem for path in OWN.glob("*.xml")))
def test_the_command_of_a_document_of_ours_comes_back(name: str) -> None:
    """The document that is read from a command builds the same command again, option by option."""
    _there_and_back(name, prepared((OWN / f"{name}.xml").read_text(), FOR_ARGUMENTS))


@every_document("domain")
def test_the_command_of_a_real_document_comes_back(document: Path) -> None:
    """The same for documents of other projects."""
    _there_and_back(document.stem, prepared(document.read_text(), FOR_ARGUMENTS))


@pytest.mark.parametrize("name", FAMILIES)
def test_each_setting_comes_back(name: str) -> None:
    """The same for each kind of device and setting alone, none of which may be without a command. What a document
    has a word for is not said in QEMU's."""
    command = forward(FAMILIES[name])
    document = backward(command)
    assert words(forward(document)) == words(command)
    assert "qemu:override" not in document


def test_the_list_of_one_way_documents_is_not_longer_than_needed() -> None:
    """Each entry is a document that has a command, which the tests above then find to be refused."""
    paths = {path.stem: path for path in (*OWN.glob("*.xml"), *corpus_documents("domain"))}
    known = {name: paths[name] for name in ONE_WAY if name in paths}
    assert [name for name in ONE_WAY if name not in known and CORPUS.is_dir()] == []
    for path in known.values():
        assert forward(prepared(path.read_text(), FOR_ARGUMENTS))


def test_most_documents_have_a_command() -> None:
    """Documents are skipped for want of a command; so that this never hides a mistake, most are not."""
    found = 0
    for path in OWN.glob("*.xml"):
        try:
            forward(prepared(path.read_text(), FOR_ARGUMENTS))
        except LibvirtError:
            continue
        found += 1
    assert found > len(list(OWN.glob("*.xml"))) / 2


# --- what comes back is what was said -------------------------------------------------------------------------------


def _read(name: str) -> Domain:
    return parse_domain(backward(forward(FAMILIES[name])))


def test_identity_and_size_come_back() -> None:
    """Not only the same command: the document says what the first one said."""
    model = _read("cpu")
    assert (model.type, model.name, model.uuid, model.memory) == ("qemu", "one", UUID, 1048576)
    assert (model.vcpu, model.vcpu_current) == (8, 3)
    assert model.cpu
    assert model.cpu.model
    assert (model.cpu.model.name, model.cpu.model.vendor_id) == ("qemu64", "AuthenticAMD")
    assert [(feature.name, feature.policy) for feature in model.cpu.features] == [
        ("aes", "require"), ("lahf_lm", "disable")]


def test_targets_come_back_where_a_name_tells_them() -> None:
    """A virtio disk is named by its letters; one with a name of the user's gets letters that are free."""
    model = _read("disk-gaps")
    assert model.devices
    assert [disk.target_dev for disk in model.devices.disks] == ["vdc", "vdd", "sdb", "sda"]
    assert [disk.alias for disk in model.devices.disks] == [None, "ua-e", None, None]


def test_a_tap_comes_back_as_one_that_nobody_manages() -> None:
    """The bridge that it is on, or the network, is not in the command."""
    model = _read("teaming")
    assert model.devices
    assert [(card.type, card.model, card.alias) for card in model.devices.interfaces] == [
        ("ethernet", "virtio", "ua-backup")]


def test_sockets_in_the_guests_own_folder_come_back_without_a_path() -> None:
    """The next guest has another folder."""
    model = _read("channels")
    assert model.devices
    assert [channel.source[0].path for channel in model.devices.channels if channel.type == "unix"] == [None, "/s"]


def test_devices_that_no_option_shows_are_told_by_the_others_numbers() -> None:
    """The first pointer and keyboard of a PC are part of it, and so is its speaker."""
    model = _read("inputs")
    assert model.devices
    assert [(device.type, device.bus) for device in model.devices.inputs][:3] == [
        ("mouse", "ps2"), ("keyboard", "ps2"), ("tablet", "usb")]
    model = _read("sounds")
    assert model.devices
    assert [sound.model for sound in model.devices.sounds][:3] == ["ich6", "pcspk", "ich9"]


def test_a_secret_is_shown_as_the_file_that_it_would_be_in() -> None:
    """A conversion knows no secrets, and a command does not show any."""
    words_of = shlex.split(forward((OWN / "disks-chain-q35.xml").read_text()))
    secrets = [word for word in words_of if '"qom-type":"secret"' in word]
    assert secrets
    assert all('"format":"raw","file":"/run/virtbus-test/qemu/0-' in word for word in secrets)


def test_encrypted_connections_come_back() -> None:
    """Which ends are encrypted is the document's to say, with which certificates the node's."""
    credentials = shlex.join(["-object", '{"qom-type":"tls-creds-x509","id":"tls0","dir":"/pki","endpoint":"server",'
                                         '"verify-peer":true}'])
    command = forward(FAMILIES["ports"])
    assert ",server=on,wait=off" in command
    model = parse_domain(backward(command.replace(
        ",port=1,telnet=on,server=on,wait=off", ",port=1,telnet=on,server=on,wait=off,tls-creds=tls0").replace(
        " -msg ", f" {credentials} -msg ")))
    assert model.devices
    assert [serial.source[0].tls for serial in model.devices.serials] == [None, None, None, True]
    command = forward(FAMILIES["disk-nbd"])
    model = parse_domain(backward(command.replace(
        '"export":"export"', '"export":"x","tls-creds":"tls0","tls-hostname":"n"').replace(
        " -msg ", f" {credentials.replace('server', 'client')} -msg ")))
    assert model.devices
    [disk] = model.devices.disks
    assert disk.source
    assert (disk.source.name, disk.source.tls, disk.source.tls_hostname) == ("x", True, "n")
    command = forward(FAMILIES["spice"])
    model = parse_domain(backward(command.replace(
        "-spice port=5999,", "-spice port=5999,tls-port=6000,x509-dir=/pki,tls-channel=cursor,")))
    assert model.devices
    [screen] = model.devices.graphics
    assert (screen.port, screen.tls_port, screen.default_mode) == (5999, 6000, "insecure")
    assert [(channel.name, channel.mode) for channel in screen.channels] == [
        ("cursor", "secure"), ("main", "insecure"), ("inputs", "insecure")]


def test_a_port_that_a_start_would_look_for_is_shown_as_libvirt_shows_it() -> None:
    """The first of VNC's, and the next for SPICE."""
    command = forward(FAMILIES["spice-automatic"])
    assert "-spice port=5901,addr=127.0.0.1," in command
    assert "-vnc vnc=127.0.0.1:0," in forward(FAMILIES["vnc-websocket"])
