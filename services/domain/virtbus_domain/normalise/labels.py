"""Security labels: what libvirt reads of one, and what it refuses.

This node's QEMU driver has no security driver, so the model of a label that names none is "none".
"""

from __future__ import annotations

from virtbus_domain.normalise.context import Context, unsupported, xml_detail, xml_error
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.security import Seclabel

_NONE = "none"


def read_seclabels(domain: Domain, context: Context) -> None:
    """One label for each model, with what its type has a use for; where nothing is labelled, nothing is relabelled."""
    labels = domain.seclabels
    if not labels:
        return
    models: list[str | None] = []
    for label in labels:
        _read_label(label)
        if label.model in models:
            raise xml_detail(f"seclabel for model {label.model or '(null)'} is already provided")
        models.append(label.model)
    if len(labels) > 1 and None in models:
        raise xml_error("missing security model when using multiple labels")
    if models == [None] and context.qemu:
        _find_model(labels[0])
    domain.seclabels = [label for label in labels if label.type is not None]


def _read_label(label: Seclabel) -> None:
    if label.type == "dynamic" and label.relabel is False:
        raise unsupported("dynamic label type must use resource relabeling")
    if label.type == _NONE and label.relabel:
        raise unsupported("resource relabeling is not compatible with 'none' label type")
    if label.model == _NONE:
        label.type = _NONE
    if label.type == _NONE:
        label.relabel = label.label = label.baselabel = None
        return
    if label.relabel is None:
        label.relabel = label.type != "static"
    if label.type == "static":
        label.baselabel = None
        if label.label is None:
            raise xml_error("security label is missing")


def _find_model(label: Seclabel) -> None:
    """The only model there is labels nothing."""
    if label.type is None or label.type == "static" or label.baselabel is not None:
        raise xml_error("missing security model in domain seclabel")
    label.type, label.model, label.relabel = _NONE, _NONE, None
