"""Which firmware a domain gets, from descriptor files of the test's own and from those that Debian installs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support import embed
from tests.support.components import require
from virtbus_domain.drivers.qemu.firmware import (
    DIRECTORIES,
    complete_firmware,
    read_descriptors,
    variables_template,
    wanted_firmware,
)
from virtbus_domain.xml import format_domain, parse_domain
from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

IMAGE, OTHER, VARIABLES = "/fw/CODE.fd", "/fw/OTHER.fd", "/fw/VARS.fd"
NVRAM = Path("/nvram")


def document(os: str = "", *, auto: str | None = "efi", machine: str = "pc-q35-7.2", arch: str = "x86_64",
             features: str = "<acpi/>", more: str = "") -> str:
    """A domain with this in its ``os`` element."""
    attribute = f" firmware='{auto}'" if auto else ""
    return (f"<domain type='qemu'><name>t</name><memory>65536</memory><os{attribute}>"
            f"<type arch='{arch}' machine='{machine}'>hvm</type>{os}</os><features>{features}</features>{more}"
            "<devices/></domain>")


def descriptor(image: str = IMAGE, *, features: tuple[str, ...] = (), machines: tuple[str, ...] = ("pc-q35-*",),
               arch: str = "x86_64", interface: str = "uefi", **mapping: Any) -> dict[str, Any]:
    """A descriptor as its file holds it, in flash unless ``mapping`` says otherwise."""
    flash = {"device": "flash", "executable": {"filename": image, "format": "raw"},
             "nvram-template": {"filename": VARIABLES, "format": "raw"}}
    mapping = {name.replace("_", "-"): value for name, value in mapping.items()}
    return {"description": "for a test", "interface-types": [interface], "mapping": flash | mapping,
            "targets": [{"architecture": arch, "machines": list(machines)}], "features": list(features), "tags": []}


Files = Callable[..., list[Path]]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Writes directories of descriptors, each a mapping of a file's name to its text or to the object it holds."""
    def write(*directories: dict[str, Any]) -> list[Path]:
        made = []
        for number, content in enumerate(directories):
            made.append(tmp_path / str(number))
            made[-1].mkdir()
            for name, item in content.items():
                (made[-1] / name).write_text(item if isinstance(item, str) else json.dumps(item))
        return made
    return write


def complete(xml: str, directories: list[Path]) -> Domain:
    """The domain as it would start."""
    domain = parse_domain(xml)
    complete_firmware(domain, read_descriptors(directories), NVRAM)
    return domain


def image(domain: Domain) -> str | None:
    """The image that it starts from."""
    return domain.os.loader.path if domain.os and domain.os.loader else None


def refusal(xml: str, directories: list[Path]) -> tuple[int, int, str]:
    """The error's code, domain and message."""
    with pytest.raises(LibvirtError) as error:
        complete(xml, directories)
    return error.value.code, error.value.domain, error.value.message


class TestFiles:
    """Which descriptors there are, and in which order."""

    def test_first_name_wins(self, files: Files) -> None:
        """Of two that fit it is the one whose file's name sorts first, byte by byte."""
        there = files({"9-b.json": descriptor(OTHER), "10-a.json": descriptor()})
        assert image(complete(document(), there)) == IMAGE

    def test_administrator_replaces(self, files: Files) -> None:
        """A file of the administrator takes the place of the package's of the same name, in its place of the order."""
        there = files({"a.json": descriptor("/fw/package.fd"), "b.json": descriptor()},
                      {"a.json": descriptor(OTHER), "c.json": descriptor("/fw/last.fd")})
        assert [found.image for found in read_descriptors(there)] == [OTHER, IMAGE, "/fw/last.fd"]

    def test_administrator_masks(self, files: Files, tmp_path: Path) -> None:
        """An empty file hides the package's of the same name, and so does a link to nothing."""
        there = files({"a.json": descriptor(OTHER), "b.json": descriptor("/fw/b.fd"), "c.json": descriptor()},
                      {"a.json": ""})
        (there[1] / "b.json").symlink_to("/dev/null")
        assert image(complete(document(), there)) == IMAGE

    def test_hidden_and_missing(self, files: Files, tmp_path: Path) -> None:
        """Files whose name begins with a dot are none, any other name will do, and a directory may be missing."""
        there = files({".a.json": descriptor(OTHER), "b": descriptor()})
        assert image(complete(document(), [*there, tmp_path / "missing"])) == IMAGE

    def test_from_a_later_version(self, files: Files) -> None:
        """What this version does not know is no error: it is passed over, or looked past."""
        there = files({"a.json": descriptor(device="igvm"), "b.json": descriptor(mode="threefold"),
                       "c.json": descriptor("/fw/c.fd", arch="riscv128"),
                       "d.json": descriptor(OTHER, features=("flying",)) | {"moon": 1}})
        assert image(complete(document(), there)) == OTHER

    @pytest.mark.parametrize(("content", "words"), [
        ("{", "unable to parse json file '{path}'"),
        ([], "failed to get interface-types from '{path}'"),
        (descriptor() | {"interface-types": "uefi"}, "failed to get interface-types from '{path}'"),
        (descriptor() | {"mapping": None}, "missing mapping in '{path}'"),
        (descriptor() | {"targets": None}, "failed to get targets from '{path}'"),
        (descriptor() | {"targets": [{}]}, "missing 'architecture' in '{path}'"),
        (descriptor() | {"features": None}, "failed to get features from '{path}'"),
        (descriptor(executable=None), "missing 'executable' in '{path}'"),
        (descriptor(executable={"filename": 1}), "missing 'filename' in '{path}'"),
        (descriptor(nvram_template=None), "missing 'nvram-template' in '{path}'"),
        (descriptor(device="memory"), "missing 'filename' in '{path}'"),
    ])
    def test_malformed(self, files: Files, content: Any, words: str) -> None:
        """A descriptor that is none is an error that names it, even where another one would do (as in libvirt)."""
        there = files({"a.json": descriptor(), "b.json": content})
        expected = "internal error: " + words.replace("{path}", str(there[0] / "b.json"))
        assert refusal(document(), there) == (c.VIR_ERR_INTERNAL_ERROR, c.VIR_FROM_QEMU, expected)

    def test_not_for_this_domain(self, files: Files) -> None:
        """A domain that leaves nothing to a descriptor stays as it is."""
        there = files({"a.json": descriptor()})
        for os in ("", "<loader type='rom'>/fw/CODE.fd</loader>", "<loader type='pflash'>/fw/CODE.fd</loader>",
                   f"<loader readonly='yes' type='pflash'>{IMAGE}</loader><nvram template='/fw/own.fd'>/n.fd</nvram>"):
            xml = document(os, auto=None)
            assert complete(xml, there) == parse_domain(xml)
            assert wanted_firmware(parse_domain(xml)) is None


class TestChoice:
    """Which of several fits."""

    @pytest.mark.parametrize(("machines", "fits"), [
        (("pc-q35-7.2",), True), (("pc-i440fx-*", "pc-q35-*"), True), (("pc-q[0-4]5-7.?",), True), (("*",), True),
        (("q35",), False), (("pc-q35",), False), ((), False)])
    def test_machine(self, files: Files, machines: tuple[str, ...], fits: bool) -> None:
        """The machine type matches one of the wildcards as a whole."""
        there = files({"a.json": descriptor(machines=machines), "b.json": descriptor(OTHER)})
        assert image(complete(document(), there)) == (IMAGE if fits else OTHER)

    def test_architecture(self, files: Files) -> None:
        """Architectures are compared in libvirt's words; descriptors use QEMU's."""
        there = files({"a.json": descriptor(arch="x86_64"), "b.json": descriptor(OTHER, arch="i386")})
        assert image(complete(document(arch="i686"), there)) == OTHER

    def test_interface(self, files: Files) -> None:
        """A BIOS is no UEFI. A BIOS in memory becomes a ROM."""
        bios = descriptor(interface="bios") | {"mapping": {"device": "memory", "filename": "/fw/bios.bin"}}
        there = files({"a.json": bios, "b.json": descriptor()})
        assert image(complete(document(), there)) == IMAGE
        domain = complete(document(auto="bios"), there)
        assert "<loader type='rom'>/fw/bios.bin</loader>" in format_domain(domain, live=True)

    @pytest.mark.parametrize(("os", "more", "needs"), [
        ("<firmware><feature enabled='yes' name='secure-boot'/></firmware>", "", "secure-boot"),
        ("<firmware><feature enabled='yes' name='enrolled-keys'/></firmware>", "", "enrolled-keys"),
        ("<loader secure='yes'/>", "", "requires-smm"),
        ("", "<pm><suspend-to-mem enabled='yes'/></pm>", "acpi-s3"),
        ("", "<pm><suspend-to-disk enabled='yes'/></pm>", "acpi-s4"),
        ("", "<launchSecurity type='sev'><policy>0x0001</policy></launchSecurity>", "amd-sev"),
        ("", "<launchSecurity type='sev'><policy>0x0005</policy></launchSecurity>", "amd-sev-es"),
    ])
    def test_needed_feature(self, files: Files, os: str, more: str, needs: str) -> None:
        """A wish of the domain is one for a feature; without it nothing fits."""
        there = files({"a.json": descriptor(), "b.json": descriptor(OTHER, features=(needs,))})
        assert image(complete(document(os, more=more), there)) == OTHER
        (there[0] / "b.json").unlink()
        assert refusal(document(os, more=more), there) == (
            c.VIR_ERR_OPERATION_FAILED, c.VIR_FROM_QEMU,
            "operation failed: Unable to find any firmware to satisfy 'efi'")

    def test_unwanted_feature(self, files: Files) -> None:
        """A feature can be refused too."""
        there = files({"a.json": descriptor(features=("secure-boot",)), "b.json": descriptor(OTHER)})
        unwanted = "<firmware><feature enabled='no' name='secure-boot'/></firmware>"
        assert image(complete(document(unwanted), there)) == OTHER

    def test_mode(self, files: Files) -> None:
        """Variables are kept apart unless the domain wants none; an image that keeps its own is never chosen."""
        there = files({"a.json": descriptor("/fw/combined.fd", mode="combined"),
                       "b.json": descriptor(OTHER, mode="stateless"), "c.json": descriptor()})
        kept = complete(document(), there)
        assert (image(kept), kept.os and kept.os.nvram and kept.os.nvram.path) == (IMAGE, "/nvram/t_VARS.fd")
        stateless = complete(document("<loader stateless='yes'/>"), there)
        assert (image(stateless), stateless.os and stateless.os.nvram) == (OTHER, None)

    def test_format(self, files: Files) -> None:
        """Raw images are preferred; another format is for those who ask for it, and is written down."""
        there = files({"a.json": descriptor(OTHER, executable={"filename": OTHER, "format": "qcow2"},
                                            nvram_template={"filename": VARIABLES, "format": "qcow2"}),
                       "b.json": descriptor()})
        assert image(complete(document(), there)) == IMAGE
        domain = complete(document("<loader format='qcow2'/>"), there)
        assert domain.os is not None
        assert domain.os.loader is not None
        assert domain.os.nvram is not None
        assert (image(domain), domain.os.loader.format, domain.os.nvram.template_format) == (OTHER, "qcow2", "qcow2")


class TestCompletion:
    """What is written into the domain."""

    def test_flash(self, files: Files) -> None:
        """Image, template and a place for the variables; the wish itself is fulfilled and goes."""
        text = format_domain(complete(document(), files({"a.json": descriptor()})), live=True)
        assert "<os>" in text
        assert f"<loader readonly='yes' type='pflash'>{IMAGE}</loader>" in text
        assert f"<nvram template='{VARIABLES}'>/nvram/t_VARS.fd</nvram>" in text
        assert "<smm" not in text

    @pytest.mark.parametrize("nvram", ["<nvram>/own/place.fd</nvram>",
                                       "<nvram type='block'><source dev='/dev/vg/vars'/></nvram>"])
    def test_own_place_for_variables(self, files: Files, nvram: str) -> None:
        """Where the domain says where its variables are, that stays."""
        before = parse_domain(document(nvram)).os
        after = complete(document(nvram), files({"a.json": descriptor()})).os
        assert before is not None
        assert after is not None
        assert before.nvram is not None
        assert after.nvram is not None
        assert (after.nvram.path, after.nvram.source) == (before.nvram.path, before.nvram.source)
        assert after.nvram.template == VARIABLES

    @pytest.mark.parametrize("smm", ["", "<smm state='on'/>", "<smm/>"])
    def test_smm(self, files: Files, smm: str) -> None:
        """A firmware that needs SMM gets it, and its flash is writable from there only."""
        there = files({"a.json": descriptor(features=("requires-smm",))})
        text = format_domain(complete(document(features=f"<acpi/>{smm}"), there), live=True)
        assert "<smm state='on'" in text
        assert "<loader readonly='yes' secure='yes' type='pflash'>" in text

    def test_smm_turned_off(self, files: Files) -> None:
        """SMM that the domain turned off is not turned on behind its back."""
        there = files({"a.json": descriptor(features=("requires-smm",)), "b.json": descriptor()})
        assert refusal(document(features="<acpi/><smm state='off'/>"), there) == (
            c.VIR_ERR_OPERATION_INVALID, c.VIR_FROM_QEMU,
            "Requested operation is not valid: domain has SMM turned off but chosen firmware requires it")

    def test_kernel(self, files: Files) -> None:
        """A firmware that is started like a kernel becomes the kernel."""
        there = files({"a.json": descriptor() | {"mapping": {"device": "kernel", "filename": "/fw/kernel"}}})
        domain = complete(document(), there)
        assert domain.os is not None
        assert (domain.os.kernel, domain.os.loader, domain.os.nvram) == ("/fw/kernel", None, None)

    def test_named_image(self, files: Files) -> None:
        """An image that the domain names is completed by its own descriptor, if it has one that fits."""
        there = files({"a.json": descriptor(), "b.json": descriptor(OTHER, features=("requires-smm",))})
        named = f"<loader readonly='yes' type='pflash'>{OTHER}</loader><nvram>/nvram/x.fd</nvram>"
        domain = complete(document(named, auto=None), there)
        assert domain.os is not None
        assert domain.os.loader is not None
        assert domain.os.loader.secure is True
        assert variables_template(domain) == VARIABLES
        elsewhere = document(named, auto=None, machine="pc-i440fx-7.2")
        assert complete(elsewhere, there) == parse_domain(elsewhere)

    @pytest.mark.parametrize(("path", "template"), [
        ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
        ("/usr/share/OVMF/OVMF_CODE.secboot.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
        ("/usr/share/AAVMF/AAVMF32_CODE.fd", "/usr/share/AAVMF/AAVMF32_VARS.fd")])
    def test_images_older_than_descriptors(self, path: str, template: str) -> None:
        """The images that were always there need no descriptor for their variables."""
        loader = f"<loader readonly='yes' type='pflash'>{path}</loader>"
        assert variables_template(complete(document(loader, auto=None), [])) == template

    def test_no_template(self) -> None:
        """Variables that cannot be made are an error that names the image."""
        domain = parse_domain(document(f"<loader readonly='yes' type='pflash'>{IMAGE}</loader>", auto=None))
        with pytest.raises(LibvirtError) as error:
            variables_template(domain)
        assert (error.value.code, error.value.message) == (
            c.VIR_ERR_OPERATION_FAILED, f"operation failed: unable to find any master var store for loader: {IMAGE}")


SECURE, ENROLLED, PLAIN = (f"/usr/share/OVMF/OVMF_CODE_4M{kind}.fd" for kind in (".secboot", ".ms", ""))
NONE_FITS = "operation failed: Unable to find any firmware to satisfy '{}'"
SMM_IS_OFF = "Requested operation is not valid: domain has SMM turned off but chosen firmware requires it"

# What libvirt 9.0.0 answered on a Debian 12 with ovmf: the image, and whether SMM is on; or its refusal.
RECORDED = {
    "any": (document(), (ENROLLED, True)),
    "i440fx": (document(machine="pc-i440fx-7.2"), (PLAIN, False)),
    "secure boot": (document("<firmware><feature enabled='yes' name='secure-boot'/></firmware>"), (ENROLLED, True)),
    "no secure boot": (document("<firmware><feature enabled='no' name='secure-boot'/></firmware>"), (PLAIN, False)),
    "keys": (document("<firmware><feature enabled='yes' name='enrolled-keys'/></firmware>"), (ENROLLED, True)),
    "no keys": (document("<firmware><feature enabled='no' name='enrolled-keys'/></firmware>"), (SECURE, True)),
    "secure boot without keys": (
        document("<firmware><feature enabled='no' name='enrolled-keys'/><feature enabled='yes' name='secure-boot'/>"
                 "</firmware>"), (SECURE, True)),
    "secure loader": (document("<loader secure='yes'/>"), (ENROLLED, True)),
    "SMM on i440fx": (document(machine="pc-i440fx-7.2", features="<acpi/><smm state='on'/>"), (PLAIN, True)),
    "suspend to memory": (document(more="<pm><suspend-to-mem enabled='yes'/></pm>"), (ENROLLED, True)),
    "named": (document(f"<loader readonly='yes' type='pflash'>{PLAIN}</loader>", auto=None), (PLAIN, False)),
    "named, needs SMM": (document(f"<loader readonly='yes' type='pflash'>{ENROLLED}</loader>", auto=None),
                         (ENROLLED, True)),
    "secure boot on i440fx": (
        document("<firmware><feature enabled='yes' name='secure-boot'/></firmware>", machine="pc-i440fx-7.2"),
        NONE_FITS.format("efi")),
    "suspend to disk": (document(more="<pm><suspend-to-disk enabled='yes'/></pm>"), NONE_FITS.format("efi")),
    "stateless": (document("<loader stateless='yes'/>"), NONE_FITS.format("efi")),
    "BIOS": (document(auto="bios"), NONE_FITS.format("bios")),
    "SMM off": (document(features="<acpi/><smm state='off'/>"), SMM_IS_OFF),
}


def _choice_of_libvirt(answer: embed.Answer) -> tuple[str | None, bool] | str:
    """The image and SMM in libvirt's command line, or its message."""
    if not isinstance(answer, str):
        return answer.message
    words = shlex.split(answer)
    blockdevs = [json.loads(word) for option, word in pairwise(words) if option == "-blockdev"]
    paths = [item["filename"] for item in blockdevs if item["node-name"] == "libvirt-pflash0-storage"]
    machine = words[words.index("-machine") + 1]
    return (paths or [None])[0], "smm=on" in machine.split(",")


class TestDebian:
    """With the descriptors of Debian's ovmf."""

    @pytest.mark.parametrize("name", RECORDED)
    def test_recorded(self, name: str) -> None:
        """The choice is the one that libvirt made."""
        require("ovmf", Path(PLAIN).exists(), "not installed (`python3 -m deploy.packages test` installs it)")
        xml, expected = RECORDED[name]
        if isinstance(expected, str):
            assert refusal(xml, list(DIRECTORIES))[2] == expected
        else:
            domain = complete(xml, list(DIRECTORIES))
            smm = domain.features.smm if domain.features else None
            assert (image(domain), smm is not None and smm.state is True) == expected

    def test_libvirt_still_says_so(self) -> None:
        """The record is what libvirt answers here and now."""
        require("ovmf", Path(PLAIN).exists(), "not installed (`python3 -m deploy.packages test` installs it)")
        answers = embed.ask([embed.Request("argv", xml) for xml, _ in RECORDED.values()])
        assert {name: _choice_of_libvirt(answer) for name, answer in zip(RECORDED, answers, strict=True)} \
            == {name: expected for name, (_, expected) in RECORDED.items()}
