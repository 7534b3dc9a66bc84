"""The validate flags: libvirt's schemas decide, in libvirt's words, and only when a client asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.local import Local, local_node
from tests.support.schemas import require_schemas
from tests.support.service import domain_xml
from virtbus_domain.xml import validate as module
from virtbus_domain.xml.validate import Kind, validate
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.errors import LibvirtError

DOMAIN = "<domain type='test'><name>x</name><memory>1024</memory><os><type>hvm</type></os>{}</domain>"
FOREIGN = DOMAIN.format("<foo/>")


@pytest.fixture
def node() -> Iterator[Local]:
    """A fresh node."""
    with local_node() as node:
        yield node


def refusal(text: str, kind: Kind = "domain") -> LibvirtError:
    """How a document is refused."""
    with pytest.raises(LibvirtError) as refused:
        validate(text, kind)
    return refused.value


class TestValidate:
    """The check itself."""

    def test_a_valid_document_passes(self) -> None:
        """Nothing is said of a document that the schema allows."""
        require_schemas()
        validate(DOMAIN.format(""), "domain")

    @pytest.mark.parametrize(("kind", "text", "reasons", "path"), [
        ("domain", FOREIGN, ["Element domain has extra content: foo"], "/domain/foo"),
        ("domain", "<domain/>", ["Element domain failed to validate content"], "/domain"),
        ("domainsnapshot", "<domainsnapshot><foo/></domainsnapshot>",
         ["Element domainsnapshot has extra content: foo"], "/domainsnapshot/foo"),
        ("domaincheckpoint", "<domaincheckpoint><name>a/b</name></domaincheckpoint>",
         ["Extra element name in interleave", "Element domaincheckpoint failed to validate content"],
         "/domaincheckpoint/name"),
        ("domainbackup", "<domainbackup mode='pull'/>", ["Invalid attribute mode for element domainbackup"],
         "/domainbackup"),
    ])
    def test_refusals_are_libvirts_own(self, kind: Kind, text: str, reasons: list[str], path: str) -> None:
        """Code, domain and the reasons are those that libvirt 9.0.0 gives for the document; the path is ours."""
        schema = require_schemas() / f"{kind}.rng"
        error = refusal(text, kind)
        assert (error.code, error.domain) == (c.VIR_ERR_XML_INVALID_SCHEMA, c.VIR_FROM_XML)
        detail = "\n".join([f"Unable to validate doc against {schema}", *reasons])
        assert error.message == f"XML document failed to validate against schema: {detail} (at {path})"

    @pytest.mark.parametrize(("text", "code", "domain"), [
        ("<domain", c.VIR_ERR_XML_DETAIL, c.VIR_FROM_DOMAIN),
        ("<network/>", c.VIR_ERR_XML_ERROR, c.VIR_FROM_XML),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><domain>&b;</domain>", c.VIR_ERR_XML_DETAIL, c.VIR_FROM_DOMAIN),
    ])
    def test_what_is_no_such_document_never_reaches_the_schema(self, text: str, code: int, domain: int) -> None:
        """Ill-formed and foreign documents are refused as they are without the flag, schemas or none."""
        error = refusal(text)
        assert (error.code, error.domain) == (code, domain)

    def test_without_schemas_the_error_says_so(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """The error is libvirt's for a missing file, and adds where the schemas come from."""
        monkeypatch.setattr(module, "DIRECTORIES", (tmp_path, tmp_path / "local"))
        error = refusal(DOMAIN.format(""))
        assert (error.code, error.domain) == (c.VIR_ERR_INTERNAL_ERROR, c.VIR_FROM_XML)
        schema = tmp_path / "domain.rng"
        assert error.message.startswith(f"internal error: Unable to parse RNG {schema}: ")
        assert f"xmlRelaxNGParse: could not load {schema}\n" in error.message
        assert "libvirt0" in error.message

    def test_a_broken_schema_is_an_error_and_a_mended_one_works(self, monkeypatch: pytest.MonkeyPatch,
                                                                tmp_path: Path) -> None:
        """A failure is not remembered; the second directory serves when the first lacks the file."""
        monkeypatch.setattr(module, "DIRECTORIES", (tmp_path / "none", tmp_path))
        schema = tmp_path / "domain.rng"
        schema.write_text("<grammar/>")
        assert f"Unable to parse RNG {schema}: xmlRelaxNGParse: {schema} is empty" in refusal("<domain/>").message
        schema.write_text("<element name='domain' xmlns='http://relaxng.org/ns/structure/1.0'><empty/></element>")
        validate("<domain/>", "domain")
        assert refusal(FOREIGN).code == c.VIR_ERR_XML_INVALID_SCHEMA

    def test_threads_do_not_mix_their_reasons(self) -> None:
        """Two threads that check at once each get the reason for their own document."""
        require_schemas()
        found: dict[str, set[str]] = {"foo": set(), "bar": set()}

        def check(tag: str) -> None:
            for _ in range(50):
                found[tag].add(refusal(DOMAIN.format(f"<{tag}/>")).message.splitlines()[1])

        threads = [threading.Thread(target=check, args=(tag,)) for tag in found]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {tag: {f"Element domain has extra content: {tag} (at /domain/{tag})"} for tag in found}


class TestFlags:
    """VIR_DOMAIN_DEFINE_VALIDATE and VIR_DOMAIN_START_VALIDATE."""

    def test_only_the_flag_makes_the_schema_decide(self, node: Local) -> None:
        """Content that libvirt does not know is dropped without the flag and refused with it, at define and start."""
        require_schemas()
        text = domain_xml("x").replace("</domain>", "<foo/></domain>")
        for row, flag in ((api.DEFINE_XML, c.VIR_DOMAIN_DEFINE_VALIDATE),
                          (api.CREATE_XML, c.VIR_DOMAIN_START_VALIDATE)):
            assert node.error(row, xml=text, flags=flag).code == c.VIR_ERR_XML_INVALID_SCHEMA
        assert {d.name for d in node(api.LIST_ALL).domains} == {"test"}
        assert node(api.DEFINE_XML, xml=text).name == "x"

    def test_a_valid_document_is_defined_and_started_with_the_flag(self, node: Local) -> None:
        """The flag changes nothing else."""
        require_schemas()
        assert node(api.DEFINE_XML, xml=domain_xml("x"), flags=c.VIR_DOMAIN_DEFINE_VALIDATE).id == -1
        assert node(api.CREATE_XML, xml=domain_xml("y"), flags=c.VIR_DOMAIN_START_VALIDATE).id > 0

    def test_other_flags_stay_unknown(self, node: Local) -> None:
        """As in libvirt's test driver."""
        assert node.error(api.DEFINE_XML, xml=domain_xml("x"), flags=2).code == c.VIR_ERR_INVALID_ARG
        assert node.error(api.CREATE_XML, xml=domain_xml("x"), flags=1 << 20).code == c.VIR_ERR_INVALID_ARG
