"""The Ansible role: a fleet of three Debian roots is set up; the second time nothing changes.

No systemd runs in the roots, and Ansible enters them with a program in place of ssh.
"""

import json
import re
import shlex
import ssl
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.support.ansible_fleet import HOSTS, PLAYBOOK, AnsibleFleet, ansible
from tests.support.daemons import ROOT
from tests.support.postgres import running_server

pytestmark = [pytest.mark.stage, pytest.mark.timeout(2400)]

RULES = ROOT / "deploy/prometheus/affect-edge.rules.yml"
PASSWORD = 'it\'s a \\ "word" of 5:1, \\$HOME `id` #\\'


def write_variables(path: Path, **values: object) -> str:
    """Return the option that reads these variables, from a file: no shell or YAML changes them."""
    path.write_text(json.dumps({f"affect_edge_{name}": values[name] for name in values}))
    return f"@{path}"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> AnsibleFleet:
    """The fleet after its first run."""
    made = AnsibleFleet(tmp_path_factory.mktemp("fleet"))
    checked = made.play("--check")  # nothing is installed yet
    assert {host: counts["failed"] for host, counts in checked.items()} == dict.fromkeys(HOSTS, 0)
    assert not (made.roots["chamber-1"].path / "opt/affect-edge").exists()
    first = made.play()
    assert all(counts["changed"] > 5 and not counts["failed"] for counts in first.values()), first
    return made


def test_the_syntax_is_right_and_ansible_lint_finds_nothing() -> None:
    ansible("ansible-playbook", "site.yml", "--syntax-check")
    ansible("ansible-lint", "--offline", "--strict", "site.yml")


CHAMBER = "ansible_host=192.168.7.21"
TWO = f"[chambers]\nhost-1 {CHAMBER}\n[loggers]\nlog-1 ansible_host=192.168.7.10"


@pytest.mark.parametrize(
    ("inventory", "variables", "line"),
    [
        (TWO, {"purpose": ""}, "must be one of: research-consent, medical, safety"),
        (TWO, {"purpose": "fun"}, "must be one of: research-consent, medical, safety"),
        (
            TWO,
            {"clients": ["a.key", "a.key_secret"]},
            "got a.key_secret; expected public key files",
        ),
        (TWO, {"log": "postgres"}, "affect_edge_log: got postgres; expected sqlite, parquet, pos"),
        (
            f"[chambers]\nhost-1 {CHAMBER}\n[loggers]",
            {},
            "got no host in the group chambers or log",
        ),
        (
            f"[chambers]\nhost-1 {CHAMBER}",
            {},
            "got no host in the group chambers or loggers; expec",
        ),
        (TWO, {"role": "logger"}, "host-1: affect_edge_role is logger, and the host is not in the"),
        (TWO.replace("host-1", "Host_1"), {}, "got the host name Host_1; expected small letters,"),
        (TWO.replace("192.168.7.21", "host-1.lan"), {}, "host-1: ansible_host is host-1.lan; expe"),
        (TWO.replace(CHAMBER, ""), {}, "host-1: ansible_host is host-1; expected an IPv4 address,"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_done(
    tmp_path: Path, inventory: str, variables: dict[str, object], line: str
) -> None:
    (tmp_path / "inventory").write_text(f"{inventory}\n[all:vars]\nansible_become=false\n")
    given = write_variables(tmp_path / "variables.json", **{"purpose": "safety", **variables})
    with pytest.raises(AssertionError) as refused:
        ansible(
            "ansible-playbook", "-i", tmp_path / "inventory", "-c", "local", "site.yml", "--check",
            "--limit", "chambers", "-e", given,
        )  # fmt: skip
    assert line in " ".join(str(refused.value).split())


def certificate(folder: Path, address: str) -> Path:
    """Make one as a chamber does, by the role's command; return its file, beside the key."""
    text = (PLAYBOOK / "roles/affect_edge/tasks/keys.yml").read_text()
    command = text[text.index("openssl req") : text.index("    creates: /etc/affect-edge/metrics")]
    for name, value in (("ansible_host", address), ("inventory_hostname", address)):
        command = command.replace(f"{{{{ {name} }}}}", value)
    assert "{{" not in command
    folder.mkdir()
    for path in ("/etc/affect-edge/keys/metrics.key", "/etc/affect-edge/metrics.pem"):
        command = command.replace(path, str(folder / Path(path).name))
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    return folder / "metrics.pem"


def test_a_chambers_certificate_is_trusted_for_itself_only(tmp_path: Path) -> None:
    """Who has a stolen chamber's key cannot make a certificate for another chamber."""
    own = certificate(tmp_path / "own", "127.0.0.1")
    stolen = certificate(tmp_path / "stolen", "192.168.7.22")
    (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    forged = tmp_path / "forged.pem"
    subprocess.run(
        ["openssl", "req", "-new", "-key", stolen.with_suffix(".key"), "-subj", "/CN=other",
         "-out", tmp_path / "forged.csr"], check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(
        ["openssl", "x509", "-req", "-in", tmp_path / "forged.csr", "-CA", stolen,
         "-CAkey", stolen.with_suffix(".key"), "-CAcreateserial", "-out", forged,
         "-extfile", tmp_path / "names"],
        check=True, capture_output=True,
    )  # fmt: skip
    assert handshake(own, own.with_suffix(".key"), trusted=[own, stolen]) == "accepted"
    refused = handshake(forged, stolen.with_suffix(".key"), trusted=[own, stolen])
    assert "certificate verify failed" in refused


def handshake(shown: Path, key: Path, trusted: list[Path]) -> str:
    """Return "accepted", or why a client refuses the certificate of a server at 127.0.0.1."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(shown, key)
    client = ssl.create_default_context(cadata="".join(path.read_text() for path in trusted))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        for end in tuple(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return str(error)
            ends.remove(end)
    assert not ends
    return "accepted"


@pytest.mark.parametrize("name", ["chamber-1", "chamber-2"])
def test_a_chamber_serves_the_logging_machine_only(fleet: AnsibleFleet, name: str) -> None:
    root = fleet.roots[name]
    checked = root.run("affect-edge", "check", "-c", "/etc/affect-edge/edge.toml")
    assert checked.returncode == 0, checked.stdout
    assert f"configuration: device {name}," in checked.stdout
    assert "1 may connect: log-1" in checked.stdout
    unit = root.run("systemd-analyze", "verify", "--man=no", "affect-edge.service")
    assert "affect-edge" not in unit.stderr, unit.stderr
    drop_in = root.path / "etc/systemd/system/affect-edge.service.d/fleet.conf"
    assert re.findall("IPAddressAllow=(.*)", drop_in.read_text()) == [HOSTS["log-1"]]


def test_secret_keys_stay_where_they_were_made(fleet: AnsibleFleet) -> None:
    secrets = {}
    for name, root in fleet.roots.items():
        (path,) = (root.path / "etc/affect-edge/keys").glob("*.key_secret")
        assert path.stat().st_mode & 0o777 == 0o600
        (secrets[name],) = re.findall('secret-key = "(.*)"', path.read_text())
    assert len(set(secrets.values())) == len(HOSTS)
    for name, root in fleet.roots.items():
        files = [path for path in (root.path / "etc").rglob("*") if path.is_file()]
        held = b"".join(path.read_bytes() for path in files if not path.is_symlink())
        assert {each for each in secrets if secrets[each].encode() in held} == {name}


def test_the_logging_machine_knows_each_chamber_by_its_key(fleet: AnsibleFleet) -> None:
    root = fleet.roots["log-1"]
    for service in ("affect-edge-log", "affect-edge-dashboard"):
        unit = root.run("systemd-analyze", "verify", "--man=no", f"{service}.service")
        assert service not in unit.stderr, unit.stderr
        text = (root.path / f"etc/systemd/system/{service}.service.d/fleet.conf").read_text()
        command = text[text.index("ExecStart=/") :].partition("\n\n")[0].replace("\\\n", "")
        words = command.split()
        assert words[1] == service.rpartition("-")[2]
        named = [words[at + 1] for at, word in enumerate(words) if word == "--server-key"]
        assert [Path(each).stem for each in named] == ["chamber-1", "chamber-2"]
        for each in named:
            device = fleet.roots[Path(each).stem].path / "etc/affect-edge/keys/device.key"
            assert (root.path / each[1:]).read_text() == device.read_text()


SCRAPE = """\
import ssl, sys, time, urllib.error, urllib.request
context = ssl.create_default_context(cafile="/etc/prometheus/affect-edge-ca.pem")
word = open("/etc/prometheus/affect-edge.token").read().strip()
asked = urllib.request.Request("https://192.168.7.21:9108/metrics")
asked.add_header("Authorization", "Bearer " + word)
for _ in range(600):
    try:
        page = urllib.request.urlopen(asked, timeout=5, context=context).read().decode()
        sys.exit("affect_edge_records_total" not in page)
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ConnectionRefusedError):
            raise
        time.sleep(0.1)  # it starts
sys.exit(2)
"""


def test_a_chamber_is_logged_and_scraped_with_what_the_role_wrote(fleet: AnsibleFleet) -> None:
    """The daemon plays the bundled clip; the logger has the command line of its service."""
    root = fleet.roots["log-1"].path
    text = (root / "etc/systemd/system/affect-edge-log.service.d/fleet.conf").read_text()
    command = text[text.index("ExecStart=/") :].partition("\n\n")[0].partition("=")[2]
    (root / "root/scrape.py").write_text(SCRAPE)
    (root / "root/log").write_text(f"#!/bin/sh\nexec {command}\n")
    (root / "root/log").chmod(0o755)
    done = fleet.connected(
        "(in_root 192.168.7.21 affect-edge run -c /etc/affect-edge/edge.toml --source demo"
        " --no-pace --wait-for-subscriber --set journal.path=\"'/root/journal'\" >&2) & daemon=$!\n"
        "(in_root 192.168.7.10 python3 /root/scrape.py) || exit 3\n"
        "(in_root 192.168.7.10 env STATE_DIRECTORY=/root"
        " AFFECT_EDGE_SECRET_KEY=/etc/affect-edge/keys/log-1.key_secret /root/log) & log=$!\n"
        "wait $daemon && kill $log && wait $log\n"
    )
    assert done.returncode == 0, done.stderr[-4000:]
    summary = re.search(r"(\d+) messages, (\d+) rows, 0 gaps, 0 missing", done.stderr)
    assert summary is not None, done.stderr[-4000:]
    assert int(summary[1]) > 300
    assert "chamber-2" not in summary.string  # its address leads to the first one, of another key
    assert "tcp://192.168.7.22:5555: the daemon closes the connection" in summary.string
    tables = list((root / "root/record.parquet").rglob("*.parquet"))
    assert any("chamber-1" in str(path) for path in tables)


def test_prometheus_knows_each_chamber(fleet: AnsibleFleet) -> None:
    root = fleet.roots["log-1"]
    done = root.run("promtool", "check", "config", "/etc/prometheus/prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    rules = RULES.read_text().count("- alert: ")
    assert f"{rules} rules found" in done.stdout
    folder = root.path / "etc/prometheus"
    targets = (folder / "affect-edge-targets.json").read_text()
    assert re.findall(r'"(192[^"]*)"', targets) == ["192.168.7.21:9108", "192.168.7.22:9108"]
    token = (folder / "affect-edge.token").read_text()
    for name in ("chamber-1", "chamber-2"):
        settings = fleet.roots[name].path / "etc/affect-edge"
        assert (settings / "keys/metrics.token").read_text() == token
        assert (settings / "metrics.pem").read_text() in (folder / "affect-edge-ca.pem").read_text()


def test_the_second_run_changes_nothing(fleet: AnsibleFleet) -> None:
    again = fleet.play()
    assert {host: counts["changed"] for host, counts in again.items()} == dict.fromkeys(HOSTS, 0)
    checked = fleet.play("--check")
    assert {host: counts["changed"] for host, counts in checked.items()} == dict.fromkeys(HOSTS, 0)


def test_a_change_of_the_inventory_changes_what_it_concerns(fleet: AnsibleFleet) -> None:
    source = fleet.variables["affect_edge_config"]["source"]
    path = fleet.roots["chamber-1"].path / "etc/affect-edge/edge.toml"
    before = path.read_text()
    source["rate_hz"] = -1
    with pytest.raises(AssertionError, match="failed to validate"):  # the configuration is wrong
        fleet.play()
    assert path.read_text() == before
    source["rate_hz"] = 12.5
    changed = fleet.play()
    assert changed["chamber-1"]["changed"] == changed["chamber-2"]["changed"] == 1
    assert changed["log-1"]["changed"] == 0
    assert "rate_hz = 12.5\n" in path.read_text()


def test_what_a_removed_chamber_and_a_run_that_was_cut_off_left_is_mended(
    fleet: AnsibleFleet,
) -> None:
    trusted = fleet.roots["log-1"].path / "etc/prometheus/affect-edge-ca.pem"
    before = trusted.read_text()
    gone = fleet.roots["log-1"].path / "etc/prometheus/affect-edge/gone.pem"
    gone.write_text("a stolen chamber's\n")
    trusted.write_text(f"{before}a stolen chamber's\n")
    unpacked = fleet.roots["chamber-2"].path / "usr/local/src/affect-edge"
    (unpacked / "unpacked.sha256").write_text(f"{'0' * 64}  affect-edge.tar\n")
    unit = unpacked / "systemd/affect-edge.service"
    right = unit.read_text()
    unit.write_text("of the release before\n")
    fleet.play()
    assert not gone.exists()
    assert trusted.read_text() == before
    assert unit.read_text() == right


def test_the_database_is_made_once_and_gets_a_changed_password(tmp_path: Path) -> None:
    with running_server() as server:
        play = tmp_path / "play.yml"
        play.write_text(
            "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
            "    - ansible.builtin.include_role: {name: affect_edge, tasks_from: postgresql}\n"
        )
        psql = ["psql", "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres"]
        environment = {"ANSIBLE_ROLES_PATH": str(PLAYBOOK / "roles")}
        for changed, password in ((1, "the first one"), (0, "the first one"), (0, PASSWORD)):
            variables = write_variables(
                tmp_path / "variables.json", psql=psql, postgresql_install=False,
                postgresql_password=password,
            )  # fmt: skip
            printed = ansible(
                "ansible-playbook", "-vvv", "-c", "local", play, "-e", variables, **environment
            )
            assert f"changed={changed} " in printed
            assert "EXEC /bin/sh -c" in printed  # the command lines, which all may read
            assert "the first one" not in printed
            assert "of 5:1" not in printed
            with psycopg.connect(
                host="127.0.0.1", port=server.port, user="affect", dbname="record",
                password=password,
            ) as connection:  # fmt: skip
                row = connection.execute("SHOW server_encoding").fetchone()
            assert row == ("UTF8",)


def test_the_service_reads_the_password_as_it_is(tmp_path: Path) -> None:
    """Between double quotes a shell has the rules of systemd.exec(5) for an EnvironmentFile."""
    template = PLAYBOOK / "roles/affect_edge/templates/log.secrets.env.j2"
    play, made = tmp_path / "play.yml", tmp_path / "log.secrets.env"
    play.write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
        f"    - ansible.builtin.template: {{src: {template}, dest: {made}, mode: '0600'}}\n"
    )
    variables = write_variables(tmp_path / "variables.json", postgresql_password=PASSWORD)
    ansible("ansible-playbook", "-c", "local", play, "-e", variables)
    (line,) = made.read_text().splitlines()
    assert re.fullmatch(r'PGPASSWORD="([^"\\$`]|\\["\\$`])*"', line), line
    read = subprocess.run(
        ["sh", "-c", '. "$0"; printf %s "$PGPASSWORD"', made],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert read.stdout == PASSWORD
