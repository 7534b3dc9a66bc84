"""Verbs about domains: list, define, start, stop, and what one wants to know of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from virtbus import constants as c
from virtbus.cli.output import Output
from virtbus.cli.session import CommandError, failing, read_document, session
from virtbus.cli.verbs import Verb, add_verbs
from virtbus.cli.words import STATES, reason, word
from virtbus.domain import virDomain

Name = Annotated[str, typer.Argument(metavar="DOMAIN", help="Name, number or UUID.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A <domain> document.")]
Paused = Annotated[bool, typer.Option("--paused", help="Leave its CPUs stopped.")]
Validate = Annotated[bool, typer.Option("--validate", help="Check the document against libvirt's schema first.")]

# Verbs that do one thing to one domain and say so.
SIMPLE: tuple[Verb[virDomain], ...] = (
    Verb("shutdown", virDomain.shutdown, "Domain '{}' is being shutdown", "Failed to shutdown domain '{}'",
         "Ask the guest to shut down."),
    Verb("reboot", virDomain.reboot, "Domain '{}' is being rebooted", "Failed to reboot domain '{}'",
         "Ask the guest to reboot."),
    Verb("reset", virDomain.reset, "Domain '{}' was reset", "Failed to reset domain '{}'",
         "Reset the machine, as its button would."),
    Verb("destroy", virDomain.destroy, "Domain '{}' destroyed", "Failed to destroy domain '{}'",
         "Stop a domain at once, without asking the guest."),
    Verb("suspend", virDomain.suspend, "Domain '{}' suspended", "Failed to suspend domain '{}'",
         "Stop the virtual CPUs; the memory stays."),
    Verb("resume", virDomain.resume, "Domain '{}' resumed", "Failed to resume domain '{}'",
         "Let the virtual CPUs run again."),
    Verb("undefine", virDomain.undefine, "Domain '{}' has been undefined", "Failed to undefine domain '{}'",
         "Forget a definition; a running domain becomes transient."),
)
STATS = {
    "state": c.VIR_DOMAIN_STATS_STATE, "cpu-total": c.VIR_DOMAIN_STATS_CPU_TOTAL, "balloon": c.VIR_DOMAIN_STATS_BALLOON,
    "vcpu": c.VIR_DOMAIN_STATS_VCPU, "interface": c.VIR_DOMAIN_STATS_INTERFACE, "block": c.VIR_DOMAIN_STATS_BLOCK,
}


def add_to(app: typer.Typer) -> None:
    """Add these verbs."""
    for name, function, example in (
            ("list", list_domains, "list --all"), ("define", define, "define web.xml --validate"),
            ("create", create, "create web.xml --paused"), ("start", start, "start web"),
            ("dumpxml", dumpxml, "dumpxml web --inactive"), ("domstate", domstate, "domstate web --reason"),
            ("dominfo", dominfo, "dominfo web"), ("domid", domid, "domid web"), ("domuuid", domuuid, "domuuid web"),
            ("domname", domname, "domname 3"), ("autostart", autostart, "autostart web --disable"),
            ("domstats", domstats, "domstats web --state"),
            ("domxml-to-native", domxml_to_native, "domxml-to-native qemu-argv web.xml"),
            ("domxml-from-native", domxml_from_native, "domxml-from-native qemu-argv web.args")):
        app.command(name, epilog=f"Example: virtbus {example}")(function)
    add_verbs(app, SIMPLE, Name, lambda s, key: s.domain(key), "domain")


def list_domains(
    ctx: typer.Context,
    all_: Annotated[bool, typer.Option("--all", help="Inactive ones too.")] = False,
    inactive: Annotated[bool, typer.Option("--inactive", help="Inactive ones only.")] = False,
    persistent: Annotated[bool, typer.Option("--persistent", help="Only those that are defined.")] = False,
    transient: Annotated[bool, typer.Option("--transient", help="Only those that end with their run.")] = False,
    autostart: Annotated[bool, typer.Option("--autostart", help="Only those that start with the node.")] = False,
    no_autostart: Annotated[bool, typer.Option("--no-autostart", help="Only those that do not.")] = False,
    state_running: Annotated[bool, typer.Option("--state-running", help="Only running ones.")] = False,
    state_paused: Annotated[bool, typer.Option("--state-paused", help="Only paused ones.")] = False,
    state_shutoff: Annotated[bool, typer.Option("--state-shutoff", help="Only those that are shut off.")] = False,
    name: Annotated[bool, typer.Option("--name", help="Print names only.")] = False,
    uuid: Annotated[bool, typer.Option("--uuid", help="Print UUIDs only.")] = False,
    id_: Annotated[bool, typer.Option("--id", help="Print numbers only.")] = False,
) -> None:
    """List domains, the active ones unless an option says otherwise.

    JSON: a list of {id, name, uuid, state}; id is null when inactive.
    """
    s = session(ctx)
    chosen = {
        c.VIR_CONNECT_LIST_DOMAINS_PERSISTENT: persistent, c.VIR_CONNECT_LIST_DOMAINS_TRANSIENT: transient,
        c.VIR_CONNECT_LIST_DOMAINS_AUTOSTART: autostart, c.VIR_CONNECT_LIST_DOMAINS_NO_AUTOSTART: no_autostart,
        c.VIR_CONNECT_LIST_DOMAINS_RUNNING: state_running, c.VIR_CONNECT_LIST_DOMAINS_PAUSED: state_paused,
        c.VIR_CONNECT_LIST_DOMAINS_SHUTOFF: state_shutoff}
    flags = sum(flag for flag, wanted in chosen.items() if wanted)
    if inactive or state_shutoff:
        flags |= c.VIR_CONNECT_LIST_DOMAINS_INACTIVE
    if not inactive or all_:
        flags |= c.VIR_CONNECT_LIST_DOMAINS_ACTIVE
    if all_:
        flags |= c.VIR_CONNECT_LIST_DOMAINS_INACTIVE
    with failing("Failed to list domains"):
        found = sorted(s.conn.listAllDomains(flags), key=_order)
        stats = s.conn.domainListGetStats(found, c.VIR_DOMAIN_STATS_STATE) if found else []
    states = {dom.UUIDString(): values.get("state.state") for dom, values in stats}
    rows = [{"id": dom.ID() if dom.ID() >= 0 else None, "name": dom.name(), "uuid": dom.UUIDString(),
             "state": word(STATES, int(states.get(dom.UUIDString()) or 0))} for dom in found]
    only = [key for key, wanted in (("id", id_), ("uuid", uuid), ("name", name)) if wanted]
    if only and not s.out.json:
        s.out.lines([" ".join("-" if row[key] is None else str(row[key]) for key in only) for row in rows], rows)
    else:
        s.out.table({"id": "Id", "name": "Name", "state": "State"}, rows)


def _order(dom: virDomain) -> tuple[bool, int, str]:
    return (dom.ID() < 0, dom.ID(), dom.name())


def define(ctx: typer.Context, file: File, validate: Validate = False) -> None:
    """Define a domain by an XML document, or change its definition.

    JSON: {name, uuid}.
    """
    s = session(ctx)
    xml = read_document(file)
    with failing(f"Failed to define domain from {file}"):
        dom = s.conn.defineXMLFlags(xml, c.VIR_DOMAIN_DEFINE_VALIDATE if validate else 0)
    s.out.text(f"Domain '{dom.name()}' defined from {file}", _reference(dom))


def domxml_to_native(
    ctx: typer.Context,
    format_: Annotated[str, typer.Argument(metavar="FORMAT", help="qemu-argv: QEMU's arguments.")],
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A <domain> document.")] = None,
    xml: Annotated[Path | None, typer.Option("--xml", metavar="FILE", help="The same, named.")] = None,
    domain: Annotated[str | None, typer.Option("--domain", help="A defined domain instead of a file.")] = None,
) -> None:
    """Show the hypervisor's own configuration for a document: what would be run, without running it.

    JSON: {native}.
    """
    s = session(ctx)
    file = file or xml
    if file is not None and domain is not None:
        raise CommandError("Options --domain and --xml are mutually exclusive")
    if file is not None:
        document = read_document(file)
    elif domain is not None:
        document = s.domain(domain).XMLDesc(c.VIR_DOMAIN_XML_INACTIVE)
    else:
        raise CommandError("need either domain or domain XML")
    native = s.conn.domainXMLToNative(format_, document)
    s.out.text(native, {"native": native})


def domxml_from_native(
    ctx: typer.Context,
    format_: Annotated[str, typer.Argument(metavar="FORMAT", help="qemu-argv: QEMU's arguments.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What domxml-to-native printed.")],
) -> None:
    """Show the document for a configuration that domxml-to-native made.

    JSON: {xml}.
    """
    s = session(ctx)
    xml = s.conn.domainXMLFromNative(format_, read_document(file))
    s.out.text(xml, {"xml": xml})


def create(ctx: typer.Context, file: File, paused: Paused = False, validate: Validate = False) -> None:
    """Start a transient domain from an XML document: it is forgotten when it stops.

    JSON: {name, uuid, id}.
    """
    s = session(ctx)
    xml = read_document(file)
    flags = (c.VIR_DOMAIN_START_PAUSED if paused else 0) | (c.VIR_DOMAIN_START_VALIDATE if validate else 0)
    with failing(f"Failed to create domain from {file}"):
        dom = s.conn.createXML(xml, flags)
    s.out.text(f"Domain '{dom.name()}' created from {file}", {**_reference(dom), "id": dom.ID()})


def start(ctx: typer.Context, domain: Name, paused: Paused = False) -> None:
    """Start a defined domain.

    JSON: {name, uuid, id}.
    """
    s = session(ctx)
    dom = s.domain(domain)
    if dom.ID() != -1:
        raise CommandError("Domain is already active")
    with failing(f"Failed to start domain '{dom.name()}'"):
        dom.createWithFlags(c.VIR_DOMAIN_START_PAUSED) if paused else dom.create()
    s.out.text(f"Domain '{dom.name()}' started", {**_reference(dom), "id": dom.ID()})


def dumpxml(
    ctx: typer.Context, domain: Name,
    inactive: Annotated[bool, typer.Option("--inactive", help="As it will be at its next start.")] = False,
    security_info: Annotated[bool, typer.Option("--security-info", help="With secrets.")] = False,
    migratable: Annotated[bool, typer.Option("--migratable", help="As another node can take it.")] = False,
) -> None:
    """Print a domain's description.

    JSON: {xml}.
    """
    s = session(ctx)
    chosen = {c.VIR_DOMAIN_XML_INACTIVE: inactive, c.VIR_DOMAIN_XML_SECURE: security_info,
              c.VIR_DOMAIN_XML_MIGRATABLE: migratable}
    flags = sum(flag for flag, wanted in chosen.items() if wanted)
    xml = s.domain(domain).XMLDesc(flags)
    s.out.text(xml, {"xml": xml})


def domstate(ctx: typer.Context, domain: Name,
             with_reason: Annotated[bool, typer.Option("--reason", help="And why.")] = False) -> None:
    """Print a domain's state.

    JSON: {state, reason}.
    """
    s = session(ctx)
    state, why = s.domain(domain).state()
    text = f"{word(STATES, state)} ({reason(state, why)})" if with_reason else word(STATES, state)
    s.out.text(text, {"state": word(STATES, state), "reason": reason(state, why)})


def dominfo(ctx: typer.Context, domain: Name) -> None:
    """Print the most important facts of a domain.

    JSON: {id, name, uuid, os_type, state, vcpus, cpu_time_ns, max_memory_kib, memory_kib, persistent, autostart}.
    """
    s = session(ctx)
    dom = s.domain(domain)
    state, max_memory, memory, vcpus, cpu_time = dom.info()
    value = {"id": dom.ID() if dom.ID() >= 0 else None, **_reference(dom), "os_type": dom.OSType(),
             "state": word(STATES, state), "vcpus": vcpus, "cpu_time_ns": cpu_time, "max_memory_kib": max_memory,
             "memory_kib": memory, "persistent": bool(dom.isPersistent()), "autostart": bool(dom.autostart())}
    lines = {"Id": "-" if value["id"] is None else value["id"], "Name": dom.name(), "UUID": dom.UUIDString(),
             "OS Type": value["os_type"], "State": value["state"], "CPU(s)": vcpus,
             **({"CPU time": f"{cpu_time / 1e9:.1f}s"} if cpu_time else {}),
             "Max memory": f"{max_memory} KiB", "Used memory": f"{memory} KiB",
             "Persistent": "yes" if value["persistent"] else "no",
             "Autostart": "enable" if value["autostart"] else "disable"}
    s.out.record(lines, value)


def domid(ctx: typer.Context, domain: Name) -> None:
    """Print a domain's number, - when it does not run.

    JSON: {id}.
    """
    number = session(ctx).domain(domain).ID()
    session(ctx).out.text("-" if number < 0 else str(number), {"id": None if number < 0 else number})


def domuuid(ctx: typer.Context, domain: Name) -> None:
    """Print a domain's UUID.

    JSON: {uuid}.
    """
    _fact(session(ctx).out, "uuid", session(ctx).domain(domain).UUIDString)


def domname(ctx: typer.Context, domain: Name) -> None:
    """Print a domain's name.

    JSON: {name}.
    """
    _fact(session(ctx).out, "name", session(ctx).domain(domain).name)


def _fact(out: Output, key: str, ask: Callable[[], str]) -> None:
    value = ask()
    out.text(value, {key: value})


def autostart(ctx: typer.Context, domain: Name,
              disable: Annotated[bool, typer.Option("--disable", help="Not any more.")] = False) -> None:
    """Have a domain started with its node.

    JSON: {name, uuid, autostart}.
    """
    s = session(ctx)
    dom = s.domain(domain)
    with failing(f"Failed to {'un' * disable}mark domain '{dom.name()}' as autostarted"):
        dom.setAutostart(0 if disable else 1)
    s.out.text(f"Domain '{dom.name()}' {'un' * disable}marked as autostarted",
               {**_reference(dom), "autostart": not disable})


def domstats(
    ctx: typer.Context,
    domains: Annotated[list[str] | None, typer.Argument(metavar="[DOMAIN]...", help="All without one.")] = None,
    state: Annotated[bool, typer.Option("--state", help="State and reason.")] = False,
    cpu_total: Annotated[bool, typer.Option("--cpu-total", help="CPU time.")] = False,
    balloon: Annotated[bool, typer.Option("--balloon", help="Memory.")] = False,
    vcpu: Annotated[bool, typer.Option("--vcpu", help="Virtual CPUs.")] = False,
    interface: Annotated[bool, typer.Option("--interface", help="Network interfaces.")] = False,
    block: Annotated[bool, typer.Option("--block", help="Block devices.")] = False,
) -> None:
    """Print statistics of domains, all groups unless options choose.

    JSON: a list of {name, uuid, stats}; the fields of stats have libvirt's names.
    """
    s = session(ctx)
    chosen = {"state": state, "cpu-total": cpu_total, "balloon": balloon, "vcpu": vcpu, "interface": interface,
              "block": block}
    groups = sum(STATS[name] for name, wanted in chosen.items() if wanted)
    found = [s.domain(key) for key in domains or []]
    stats = s.conn.domainListGetStats(found, groups) if found else s.conn.getAllDomainStats(groups)
    lines: list[str] = []
    for dom, values in stats:
        lines += [f"Domain: '{dom.name()}'", *(f"  {field}={value}" for field, value in values.items()), ""]
    s.out.lines(lines[:-1], [{**_reference(dom), "stats": values} for dom, values in stats])


def _reference(dom: virDomain) -> dict[str, object]:
    return {"name": dom.name(), "uuid": dom.UUIDString()}
