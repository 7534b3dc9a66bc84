"""The command ``virtbus``: virsh's verbs and words, JSON for programs, and failures in one line with a way out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import virtbus as libvirt
from tests.support.broker import Broker
from tests.support.components import require_program
from tests.support.oracle_scripts import needs_oracle
from tests.support.processes import running_node
from tests.support.schemas import require_schemas
from virtbus import eventloop, pollloop, virConnect
from virtbus.cli import words
from virtbus.cli.app import app, run
from virtbus.cli.output import size
from virtbus.cli.session import CommandError
from virtbus.cli.volume import parse_size

DOMAIN = "<domain type='test'><name>e</name><memory>1024</memory><os><type>hvm</type></os></domain>"
NETWORK = "<network><name>n</name><bridge name='virbr9'/></network>"
POOL = "<pool type='dir'><name>p</name><target><path>/virtbus-p</path></target></pool>"
VOLUME = "<volume><name>v.raw</name><capacity>1048576</capacity></volume>"
URI = "test:///default"
Run = Callable[..., str]


@pytest.fixture
def node() -> Iterator[virConnect]:
    """Keeps the in-process node, so that one verb finds what another did."""
    with libvirt.open(URI) as conn:
        yield conn


@pytest.fixture
def virtbus(node: virConnect, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a verb that must succeed; what it printed."""
    def run_verb(*arguments: str, options: tuple[str, ...] = ()) -> str:
        assert run(["-c", URI, *options, *arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr().out
    return run_verb


@pytest.fixture
def fails(node: virConnect, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a verb that must fail with status 1 and print nothing but its error; the error."""
    def run_verb(*arguments: str, uri: str = URI, options: tuple[str, ...] = ()) -> str:
        assert run(["-c", uri, *options, *arguments]) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        assert "Traceback" not in printed.err
        return printed.err
    return run_verb


@pytest.fixture
def document(tmp_path: Path) -> Callable[[str], str]:
    """Write a document to a file; its path."""
    def write(xml: str) -> str:
        path = tmp_path / "document.xml"
        path.write_text(xml)
        return str(path)
    return write


def of_json(text: str) -> Any:
    """What a verb printed with --output json."""
    return json.loads(text)


def test_life_of_a_domain(virtbus: Run, document: Callable[[str], str]) -> None:
    """Each verb does what virsh's does and says so in virsh's words."""
    file = document(DOMAIN)
    assert virtbus("define", file) == f"Domain 'e' defined from {file}\n"
    assert virtbus("start", "e") == "Domain 'e' started\n"
    assert virtbus("domstate", "e", "--reason") == "running (booted)\n"
    assert virtbus("suspend", "e") == "Domain 'e' suspended\n"
    assert virtbus("resume", "e") == "Domain 'e' resumed\n"
    assert virtbus("reboot", "e") == "Domain 'e' is being rebooted\n"
    assert virtbus("reset", "e") == "Domain 'e' was reset\n"
    assert virtbus("autostart", "e") == "Domain 'e' marked as autostarted\n"
    assert virtbus("autostart", "e", "--disable") == "Domain 'e' unmarked as autostarted\n"
    assert virtbus("shutdown", "e") == "Domain 'e' is being shutdown\n"
    assert virtbus("domstate", "e") == "shut off\n"
    assert virtbus("domid", "e") == "-\n"
    assert virtbus("undefine", "e") == "Domain 'e' has been undefined\n"
    assert virtbus("create", file) == f"Domain 'e' created from {file}\n"
    assert virtbus("destroy", "e") == "Domain 'e' destroyed\n"


@pytest.mark.parametrize("verb", ["define", "create"])
def test_validate_asks_the_schema(virtbus: Run, fails: Run, document: Callable[[str], str], verb: str) -> None:
    """With --validate what libvirt's schema lacks is refused by its path; without, it is dropped."""
    require_schemas()
    file = document(DOMAIN.replace("</domain>", "<foo/></domain>"))
    refusal = fails(verb, "--validate", file)
    assert refusal.startswith(f"error: Failed to {verb} domain from {file}: XML document failed to validate")
    assert refusal.endswith("(at /domain/foo)\n")
    assert virtbus("list", "--all", "--name") == "test\n"
    assert virtbus(verb, file) == f"Domain 'e' {verb}d from {file}\n"
    assert virtbus(verb, document(DOMAIN.replace(">e<", ">f<")), "--validate") == f"Domain 'f' {verb}d from {file}\n"


def test_a_domain_by_name_number_or_uuid(virtbus: Run) -> None:
    """All three find it, in every verb."""
    uuid = virtbus("domuuid", "test").strip()
    for key in ("1", "test", uuid):
        assert virtbus("domname", key) == "test\n"
        assert virtbus("domid", key) == "1\n"
    assert virtbus("dumpxml", uuid, "--inactive").startswith("<domain type='test'")


def test_lists(virtbus: Run, node: virConnect) -> None:
    """Active domains first, by number, and virsh's table where there is no terminal."""
    node.defineXML(DOMAIN)
    assert virtbus("list", "--all").splitlines() == [
        " Id   Name   State", "-" * 23, " 1    test   running", " -    e      shut off"]
    assert virtbus("list") == " Id   Name   State\n----------------------\n 1    test   running\n"
    assert virtbus("list", "--inactive", "--name") == "e\n"
    assert virtbus("list", "--state-shutoff", "--name") == "e\n"
    assert virtbus("list", "--all", "--id") == "1\n-\n"


def test_facts_of_a_domain(virtbus: Run, node: virConnect) -> None:
    """dominfo and domstats have virsh's labels and libvirt's field names."""
    lines = dict(line.split(":", 1) for line in virtbus("dominfo", "test").splitlines())
    assert [lines[key].strip() for key in ("Id", "Name", "State", "CPU(s)", "Max memory", "Autostart")] == [
        "1", "test", "running", "2", "8388608 KiB", "disable"]
    assert virtbus("domstats", "test", "--state").splitlines()[:2] == ["Domain: 'test'", "  state.state=1"]


def test_networks(virtbus: Run, document: Callable[[str], str]) -> None:
    """The verbs about networks."""
    file = document(NETWORK)
    assert virtbus("net-define", file) == f"Network n defined from {file}\n"
    assert virtbus("net-start", "n") == "Network n started\n"
    assert virtbus("net-list", "--all").splitlines() == [
        " Name      State    Autostart   Persistent", "-" * 44, " default   active   no          yes",
        " n         active   no          yes"]
    assert "Bridge:         virbr9\n" in virtbus("net-info", "n")
    assert virtbus("net-autostart", "n") == "Network n marked as autostarted\n"
    assert "<name>n</name>" in virtbus("net-dumpxml", "n")
    assert virtbus("net-destroy", "n") == "Network n destroyed\n"
    assert virtbus("net-list", "--inactive", "--name") == "n\n"
    assert virtbus("net-undefine", "n") == "Network n has been undefined\n"
    assert virtbus("net-create", file) == f"Network n created from {file}\n"


def test_pools_and_volumes(virtbus: Run, document: Callable[[str], str]) -> None:
    """The verbs about pools and volumes; sizes are read and written in units."""
    assert virtbus("pool-define-as", "p", "dir", "--target", "/virtbus-p") == "Pool p defined\n"
    for verb, done in (("build", "built"), ("start", "started"), ("refresh", "refreshed")):
        assert virtbus(f"pool-{verb}", "p") == f"Pool p {done}\n"
    assert virtbus("vol-create-as", "p", "v2", "5G", "--format", "qcow2", "--allocation", "0") == "Vol v2 created\n"
    file = document(VOLUME)
    assert virtbus("vol-create", "p", file) == f"Vol v.raw created from {file}\n"
    assert virtbus("vol-list", "p").splitlines() == [
        " Name    Path", "-" * 27, " v.raw   /virtbus-p/v.raw", " v2      /virtbus-p/v2"]
    assert virtbus("vol-list", "p", "--details").splitlines()[3].split() == [
        "v2", "/virtbus-p/v2", "file", "5.00", "GiB", "0.00", "B"]
    for key, where in (("v.raw", ("--pool", "p")), ("/virtbus-p/v.raw", ())):
        assert virtbus("vol-path", key, *where) == virtbus("vol-key", key, *where) == "/virtbus-p/v.raw\n"
        assert "Capacity:       1.00 MiB\n" in virtbus("vol-info", key, *where)
    assert virtbus("vol-delete", "v.raw", "--pool", "p") == "Vol v.raw deleted\n"
    assert "<format type='qcow2'/>" in virtbus("vol-dumpxml", "v2", "--pool", "p")
    assert "State:          running\n" in virtbus("pool-info", "p")
    assert virtbus("pool-list", "--details").splitlines()[0].split() == [
        "Name", "State", "Autostart", "Persistent", "Capacity", "Allocation", "Available"]
    assert virtbus("pool-autostart", "p") == "Pool p marked as autostarted\n"
    assert virtbus("pool-destroy", "p") == "Pool p destroyed\n"
    assert virtbus("pool-list", "--inactive", "--name") == "p\n"
    assert virtbus("pool-delete", "p") == "Pool p deleted\n"
    assert virtbus("pool-undefine", "p") == "Pool p has been undefined\n"
    file = document(POOL)
    assert virtbus("pool-create", file) == f"Pool p created from {file}\n"
    virtbus("pool-destroy", "p")
    assert virtbus("pool-define", file) == f"Pool p defined from {file}\n"
    assert "<name>p</name>" in virtbus("pool-dumpxml", "p")


def test_the_node(virtbus: Run) -> None:
    """The verbs about the node, its devices and the connection."""
    assert virtbus("uri") == "test:///default\n"
    assert "Memory size:         3145728 KiB\n" in virtbus("nodeinfo")
    assert virtbus("version").splitlines()[1:] == ["Using API: TEST 9.0.0", "Running hypervisor: TEST 0.0.2"]
    assert virtbus("hostname").strip()
    assert virtbus("capabilities").startswith("<capabilities>\n")
    assert virtbus("nodedev-list", "--cap", "system") == "computer\n"
    assert "<name>computer</name>" in virtbus("nodedev-dumpxml", "computer")
    assert virtbus("nodedev-list", "--tree").splitlines() == [
        "computer", "  |", "  +- scsi_host1", "  |   |", "  |   +- scsi_host11", "  |", "  +- scsi_host2", ""]


def test_json(virtbus: Run) -> None:
    """With --output json each verb prints one document of the keys that its help names."""
    def answer(*arguments: str) -> Any:
        return of_json(virtbus(*arguments, options=("--output", "json")))
    uuid = answer("domuuid", "test")["uuid"]
    assert answer("list") == [{"id": 1, "name": "test", "uuid": uuid, "state": "running"}]
    assert answer("suspend", "test") == {"name": "test"}
    assert answer("domstate", "test") == {"state": "paused", "reason": "user"}
    assert answer("dominfo", "test")["memory_kib"] == 2097152
    assert answer("net-list")[0]["persistent"] is True
    assert answer("pool-list")[0]["capacity"] == 100 * 1024**3
    assert answer("vol-create-as", "default-pool", "v", "1K") == {"name": "v", "key": "/default-pool/v"}
    assert answer("vol-list", "default-pool") == [{"name": "v", "path": "/default-pool/v"}]
    assert answer("nodedev-list", "--cap", "system") == [{"name": "computer", "parent": None}]
    assert answer("nodeinfo")["cpus"] == 16
    assert answer("version")["hypervisor_version"] == "0.0.2"
    assert answer("dumpxml", "test")["xml"].startswith("<domain")
    assert answer("outcome", "nobody")["state"] == "unknown"
    assert answer("event", "--list")[0] == {"event": "lifecycle"}


def test_every_verb_has_an_example_and_says_its_json(virtbus: Run) -> None:
    """No verb goes undocumented."""
    names = [command.name for command in app.registered_commands]
    assert len(names) == len(set(names)) > 50
    for command in app.registered_commands:
        assert re.match(rf"Example: virtbus (-\S+ \S+ )?{command.name}", command.epilog or ""), command.name
        told = command.help or (command.callback and command.callback.__doc__) or ""
        assert "JSON:" in told, command.name
    assert "Example: virtbus start web" in virtbus("start", "--help")


@pytest.mark.parametrize(("arguments", "error", "help_"), [
    (("start", "zz"), "error: failed to get domain 'zz': Domain not found", "virtbus list --all"),
    (("net-start", "zz"), "error: failed to get network 'zz': Network not found: ", "virtbus net-list --all"),
    (("pool-start", "zz"), "error: failed to get pool 'zz': Storage pool not found: ", "virtbus pool-list --all"),
    (("vol-info", "zz"), "error: failed to get vol 'zz', specifying --pool might help: ", "virtbus vol-list POOL"),
    (("nodedev-dumpxml", "zz"), "error: Could not find matching device 'zz': Node device not found: ", "nodedev-list"),
    (("start", "test"), "error: Domain is already active\n", ""),
    (("resume", "test"), "error: Failed to resume domain 'test': internal error: domain 'test' not paused\n", ""),
    (("create", "{file}", "--paused"), "error: Failed to create domain from ", ""),  # libvirt's test driver cannot
    (("define", "/nonexistent"), "error: Failed to open file '/nonexistent': No such file or directory\n", ""),
    (("domxml-to-native", "qemu-argv"), "error: need either domain or domain XML\n", ""),
    (("domxml-to-native", "qemu-argv", "{file}", "--domain", "test"),
     "error: Options --domain and --xml are mutually exclusive\n", ""),
    (("domxml-to-native", "qemu-argv", "--xml", "/nonexistent"),
     "error: Failed to open file '/nonexistent': No such file or directory\n", ""),
    (("domxml-to-native", "qemu-argv", "--domain", "zz"), "error: failed to get domain 'zz': Domain not found",
     "virtbus list --all"),
    (("domxml-to-native", "qemu-argv", "{file}"),
     "error: this function is not supported by the connection driver: virConnectDomainXMLToNative\n", ""),
    (("domxml-from-native", "qemu-argv", "{file}"),
     "error: this function is not supported by the connection driver: virConnectDomainXMLFromNative\n", ""),
    (("vol-create-as", "default-pool", "v", "5x"), "error: Malformed size 5x: ", ""),
    (("nodedev-list", "--cap", "x"), "error: Invalid capability type 'x'", ""),
    (("nodedev-list", "--cap", "net", "--tree"), "error: Options --tree and --cap are mutually exclusive\n", ""),
    (("event",), "error: one of --list, --all, or --event TYPE is required\n", ""),
    (("event", "--event", "x"), "error: unknown event type x\n", ""),
    (("nonsense",), "error: No such command 'nonsense'", "virtbus --help"),
    (("list", "--nonsense"), "error: No such option: --nonsense", "virtbus VERB --help"),
    (("start",), "error: Missing argument", "virtbus VERB --help"),
])
def test_failures(fails: Run, document: Callable[[str], str], arguments: tuple[str, ...], error: str,
                  help_: str) -> None:
    """One line of what failed and why, a second one of what to do next where that is known, status 1."""
    told = fails(*(argument.format(file=document(DOMAIN)) for argument in arguments))
    assert told.startswith(error)
    assert len(told.splitlines()) == (2 if help_ else 1)
    assert help_ in told


def test_failures_to_connect(fails: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URI that cannot be opened says what a URI looks like; a missing broker, how to name one."""
    told = fails("list", uri="qemu:///system")
    assert told.startswith("error: failed to connect to the hypervisor: no connection driver available for ")
    assert "try: a URI is DRIVER+amqp://NODE/PATH" in told
    monkeypatch.delenv("VIRTBUS_BROKER", raising=False)
    assert "VIRTBUS_BROKER" in fails("list", uri="qemu+amqp://node/system")


def test_read_only(fails: Run, virtbus: Run) -> None:
    """With -r nothing can be changed."""
    told = fails("destroy", "test", options=("-r",))
    assert "read only access prevents virDomainDestroy" in told
    assert virtbus("domstate", "test", options=("--readonly",)) == "running\n"
    told = fails("domxml-to-native", "qemu-argv", "--domain", "test", options=("-r",))
    assert told.startswith("error: operation forbidden: read only access prevents virConnectDomainXMLToNative\n")


def test_default_uri(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without -c, VIRTBUS_DEFAULT_URI says where to, then LIBVIRT_DEFAULT_URI."""
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "test:///default?second")
    assert run(["uri"]) == 0
    monkeypatch.setenv("VIRTBUS_DEFAULT_URI", "test:///default?first")
    assert run(["uri"]) == 0
    assert capsys.readouterr().out.split() == ["test:///default?second", "test:///default?first"]


def test_a_terminal_gets_a_drawn_table(virtbus: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal tables are rich's, and a name that looks like its markup is printed as it is."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with libvirt.open(URI) as conn:
        conn.defineXML(DOMAIN.replace(">e<", ">[bold]e<"))
    drawn = virtbus("list", "--all")
    assert "[bold]e" in drawn
    assert "─" in drawn


def test_events(virtbus: Run, node: virConnect, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event is printed in virsh's words; without --loop the first one ends the verb."""
    monkeypatch.setattr(eventloop, "_default", pollloop.PollLoop())
    monkeypatch.setattr(eventloop, "_registered", None)
    ended = threading.Event()

    def act() -> None:
        dom = node.lookupByName("test")
        while not ended.wait(0.02):  # until the verb has registered and seen one
            dom.suspend()
            dom.resume()
    thread = threading.Thread(target=act)
    thread.start()
    try:
        first = virtbus("event", "--event", "lifecycle", "--timeout", "20").splitlines()
        told = virtbus("event", "--all", "--domain", "test", "--timeout", "20", "--timestamp",
                       options=("--output", "json"))
    finally:
        ended.set()
        thread.join()
    assert first[0] in ("event 'lifecycle' for domain 'test': Suspended Paused",
                        "event 'lifecycle' for domain 'test': Resumed Unpaused")
    assert first[1] == "events received: 1"
    event = of_json(told)
    assert (event["event"], event["domain"], event["type"]) in (
        ("lifecycle", "test", "Suspended"), ("lifecycle", "test", "Resumed"))


def test_no_event_in_time(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """When time is up without an event, the count is 0 and so is the status of failure, as with virsh."""
    monkeypatch.setattr(eventloop, "_default", pollloop.PollLoop())
    monkeypatch.setattr(eventloop, "_registered", None)
    assert run(["-c", URI, "event", "--all", "--timeout", "0.05"]) == 1
    assert capsys.readouterr().out == "events received: 0\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves(node: virConnect, unbuffered: str) -> None:
    """virtbus ... | head ends without a word, also when all of its output fits a buffer."""
    program = "import sys; from virtbus.cli.app import run; sys.exit(run(sys.argv[1:]))"
    child = subprocess.Popen([sys.executable, "-c", program, "-c", URI, "capabilities"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": unbuffered})
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    assert child.stderr.read() == ""
    child.stderr.close()
    assert child.wait(30) == 1


def test_the_same_words_as_virsh() -> None:
    """States, reasons and events: virsh's own words, also where they do not follow from a constant's name."""
    assert words.reason(libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR) == "I/O error"
    assert words.reason(libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_FROM_SNAPSHOT) == "from snapshot"
    assert words.reason(libvirt.VIR_DOMAIN_SHUTDOWN, libvirt.VIR_DOMAIN_SHUTDOWN_USER) == "user"
    assert words.detail(libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED) == "Booted"
    assert words.word(words.STATES, 99) == "99"
    assert words.detail(99, 7) == "7"


@needs_oracle
def test_the_same_names_of_events_as_virsh() -> None:
    """event --list prints what virsh's prints."""
    printed = subprocess.run(["virsh", "-c", URI, "event", "--list"], capture_output=True, text=True, check=True).stdout
    assert list(words.event_names()) == printed.split()


@pytest.mark.parametrize(("text", "number"), [
    ("5", 5), ("5b", 5), ("1k", 1024), ("1KiB", 1024), ("1KB", 1000), ("10G", 10 * 1024**3), ("2 TB", 2 * 1000**4)])
def test_sizes_are_read_as_virsh_reads_them(text: str, number: int) -> None:
    """K and KiB are 1024 bytes, KB are 1000."""
    assert parse_size(text) == number


@pytest.mark.parametrize("text", ["", "x", "5x", "-1", "1.5G", "5KiBB"])
def test_sizes_that_are_none(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(CommandError, match="Malformed size"):
        parse_size(text)


def test_sizes_are_written_as_virsh_writes_them() -> None:
    """Two digits and the largest unit that fits."""
    assert [size(number) for number in (0, 1023, 1024, 100 * 1024**3, 2**64)] == [
        "0.00 B", "1023.00 B", "1.00 KiB", "100.00 GiB", "16.00 EiB"]


@pytest.mark.parametrize("arguments", [
    ("--output", "json", "list"), ("list", "--output", "json"), ("list", "--output=json"), ("--output=json", "list")])
def test_output_may_stand_anywhere(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """The form of the answer may be said before the verb or behind it."""
    assert run(["-c", "test:///default", *arguments]) == 0
    assert [row["name"] for row in of_json(capsys.readouterr().out)] == ["test"]


def test_an_output_without_a_form_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A missing form is told as such, also at the end of the line."""
    assert run(["-c", "test:///default", "list", "--output"]) == 1
    assert "--output" in capsys.readouterr().err


def test_conversions_over_the_bus(broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A document becomes the command of a node's QEMU, that command a document, and both are one member of JSON."""
    require_program("qemu-system-x86_64")
    document, arguments = tmp_path / "e.xml", tmp_path / "e.args"
    document.write_text(DOMAIN.replace("'test'", "'qemu'"))
    with broker.fresh_url() as url, running_node(node="native-node", broker=url, folder=tmp_path / "node",
                                                 services=("domain",)):
        on_bus = ["--broker", url, "-c", "qemu+amqp://native-node/system"]
        assert run([*on_bus, "domxml-to-native", "qemu-argv", str(document)]) == 0, capsys.readouterr().err
        printed = capsys.readouterr().out
        assert printed.count("\n") == 1
        assert " -name guest=e,debug-threads=on -S " in printed
        arguments.write_text(printed)
        assert run([*on_bus, "domxml-from-native", "qemu-argv", str(arguments)]) == 0
        told = capsys.readouterr().out
        assert told.startswith("<domain type='qemu'>\n  <name>e</name>\n")
        assert run([*on_bus, "--output", "json", "domxml-from-native", "qemu-argv", str(arguments)]) == 0
        assert of_json(capsys.readouterr().out)["xml"] == told
        arguments.write_text(told)
        assert run([*on_bus, "define", str(arguments)]) == 0
        assert capsys.readouterr().out == f"Domain 'e' defined from {arguments}\n"
        assert run([*on_bus, "--output", "json", "domxml-to-native", "qemu-argv", "--domain", "e"]) == 0
        assert of_json(capsys.readouterr().out)["native"] == printed
        assert run([*on_bus, "domxml-to-native", "vmx-config", str(document)]) == 1
        assert capsys.readouterr().err.startswith("error: invalid argument: unsupported config type vmx-config\n")


def test_a_reader_of_events_that_leaves(broker: Broker, tmp_path: Path) -> None:
    """virtbus event --loop | head ends, without a word, with the first event that nobody reads."""
    program = "import sys; from virtbus.cli.app import run; sys.exit(run(sys.argv[1:]))"
    with broker.fresh_url() as url, running_node(node="cli-node", broker=url, folder=tmp_path, services=("domain",)):
        uri = f"test+amqp://cli-node/default?broker={url}"
        child = subprocess.Popen([sys.executable, "-c", program, "-c", uri, "event", "--all", "--loop"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                 env=os.environ | {"PYTHONUNBUFFERED": ""})
        assert child.stdout is not None
        assert child.stderr is not None
        ended = threading.Event()

        def act() -> None:
            with libvirt.open(uri) as conn:
                dom = conn.lookupByName("test")
                while not ended.wait(0.02):
                    dom.suspend()
                    dom.resume()
        thread = threading.Thread(target=act)
        thread.start()
        try:
            assert "for domain 'test'" in child.stdout.readline()
            child.stdout.close()
            assert child.wait(30) == 1
            assert child.stderr.read() == ""
        finally:
            ended.set()
            thread.join()
            child.kill()
            child.stderr.close()


def test_over_the_bus(broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--broker leads to a node; nodes lists its services; a node that is not there fails at once, with a way out."""
    with broker.fresh_url() as url, running_node(node="cli-node", broker=url, folder=tmp_path, services=("domain",)):
        on_bus = ["--broker", url, "-c", "test+amqp://cli-node/default"]
        assert run([*on_bus, "list", "--name"]) == 0
        assert capsys.readouterr().out == "test\n"
        assert run([*on_bus, "--output", "json", "nodes", "--wait", "3"]) == 0
        (row,) = of_json(capsys.readouterr().out)
        assert (row["node"], row["service"]) == ("cli-node", "domain")
        assert "test:///default" in row["connections"]
        assert run([*on_bus, "nodes", "--wait", "1"]) == 0
        assert capsys.readouterr().out.splitlines()[0].split() == [
            "Node", "Service", "Version", "Up", "since", "Connections"]
        assert run(["--broker", url, "-c", "test+amqp://nobody/default", "list"]) == 1
        told = capsys.readouterr().err
        assert "unable to connect to service 'domain' of node 'nobody'" in told
        assert "try: virtbus nodes" in told
