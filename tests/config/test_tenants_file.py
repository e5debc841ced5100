"""The tenants file: every wrong one is refused with one line and a hint, before a secret is read or sent."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from stage import Stage

from qlikmigrate.api.endpoint import Access, ApiKey, OAuthClient
from qlikmigrate.cli.app import run
from qlikmigrate.config.tenants import OemTenant, open_tenant, tenant_by_host
from qlikmigrate.kernel.error import UsageError

URL = 'url = "https://acme.eu.qlikcloud.com"'
KEY = 'api_key = { env = "KEY" }'
ENVIRON = {"KEY": "abc.def"}

OEM = ['kind = "oem"', 'app_id = "12345"']

Opened = Callable[..., Any]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """Opens tenant `x` of a file that holds the given lines under `[tenants.x]`."""

    def open_lines(*lines: str, name: str = "x", head: str = "[tenants.x]") -> Any:
        path = tmp_path / "tenants.toml"
        path.write_text("\n".join((head, *lines)), encoding="utf-8")
        path.chmod(0o600)
        return open_tenant(name, str(path), ENVIRON)

    return open_lines


# What the table says, and what the error must name.
WRONG = {
    "secret unset": ([URL, 'api_key = { env = "NOPE" }'], "`NOPE` is not set"),
    "literal secret": ([URL, 'api_key = "abc"'], "literal secret"),
    "literal client secret": ([URL, 'oauth = { client_id = "a", client_secret = "b" }'], "literal secret"),
    "not encrypted": (['url = "http://acme.eu.qlikcloud.com"', KEY], "not encrypted"),
    "unknown key": ([URL, KEY, "foo = 1"], "`foo`"),
    "misspelt key": ([URL, KEY, 'acess = "write"'], "`acess`"),
    "unknown client key": ([URL, 'oauth = { client_id = "a", client_secret = { env = "KEY" }, foo = 1 }'], "`foo`"),
    "two sources": ([URL, 'api_key = { env = "KEY", file = "x" }'], "no secret reference"),
    "key is a number": ([URL, "api_key = 7"], "must be text or a table"),
    "key is a truth": ([URL, "api_key = true"], "must be text or a table"),
    "key is an empty table": ([URL, "api_key = {}"], "no secret reference"),
    "key is empty": ([URL, 'api_key = ""'], "missing or empty"),
    "no url": ([KEY], "`url` in"),
    "url is a number": (["url = 7", KEY], "must be text"),
    "url with a path": (['url = "https://acme.eu.qlikcloud.com/api"', KEY], "has a path"),
    "url is no web address": (['url = "acme"', KEY], "no web address"),
    "url with port 0": (['url = "https://acme.eu.qlikcloud.com:0"', KEY], "no web address"),
    "url with a broken port": (['url = "https://acme.eu.qlikcloud.com:x"', KEY], "no web address"),
    "no credentials": ([URL], "no credentials"),
    "two credentials": (
        [URL, KEY, 'oauth = { client_id = "a", client_secret = { env = "KEY" } }'],
        "both `api_key` and `oauth`",
    ),
    "empty client": ([URL, "oauth = {}"], "no `client_id`"),
    "client without a secret": ([URL, 'oauth = { client_id = "a" }'], "missing or empty"),
    "impersonating second client": (
        [URL, KEY, 'impersonation = { client_id = "a", client_secret = { env = "KEY" }, impersonate = "b" }'],
        "`impersonate`",
    ),
    "empty second client": ([URL, KEY, "impersonation = {}"], "no `client_id`"),
    "unknown access": ([URL, KEY, 'access = "rw"'], "`rw`"),
    "unknown family": ([URL, KEY, 'api = "v2"'], "`v2`"),
    "unknown kind": (['kind = "foo"', URL, KEY], "`foo`"),
    "too large a share": ([URL, KEY, "limits = { share = 1.5 }"], "`share`"),
    "no number": ([URL, KEY, "limits = { share = nan }"], "`share`"),
    "endless timeout": ([URL, KEY, "limits = { timeout_seconds = inf }"], "`timeout_seconds`"),
    "no rate": ([URL, KEY, "limits = { tier1_per_minute = 0 }"], "`tier1_per_minute`"),
    "no connections": ([URL, KEY, "limits = { concurrency = 0 }"], "`concurrency`"),
    "connections true": ([URL, KEY, "limits = { concurrency = true }"], "`concurrency`"),
    "unknown limit": ([URL, KEY, "limits = { per_minute = 1 }"], "`per_minute`"),
    "limits a number": ([URL, KEY, "limits = 3"], "must be a table"),
    "no authority file": ([URL, KEY, 'ca_file = "nope.pem"'], "nope.pem"),
    "proxy is no address": ([URL, KEY, 'proxy = "nope"'], "`proxy`"),
    "secret file missing": ([URL, 'api_key = { file = "nope" }'], "cannot read"),
    "command missing": ([URL, 'api_key = { command = ["no-such-program-here"] }'], "`no-such-program-here` failed"),
    "command fails": ([URL, 'api_key = { command = ["false"] }'], "exit code 1"),
    "command prints nothing": ([URL, 'api_key = { command = ["true"] }'], "is empty"),
    "command is text": ([URL, 'api_key = { command = "pass" }'], "no secret reference"),
    "keyring entry without a user": ([URL, 'api_key = { keyring = "service" }'], "keyring"),
    "accepted is a number": ([URL, KEY, "accept_unreadable = [1]"], "list of ids"),
    "doubled key": ([URL, URL, KEY], "no TOML"),
    "oem with an unknown key": ([*OEM, KEY, 'api = "v1"'], "`api`"),
    "oem with a client": ([*OEM, KEY, "oauth = {}"], "`oauth`"),
    "oem without an app": ([OEM[0], KEY], "no `app_id`"),
    "oem with a broken app": ([OEM[0], 'app_id = "1 2"', KEY], "`app_id` with blanks"),
    "oem with an app that is true": ([OEM[0], "app_id = true", KEY], "must be text or a whole number"),
    "oem without a key": (OEM, "missing or empty"),
    "oem with a literal secret": ([*OEM, 'api_key = "k"'], "literal secret"),
    "oem with an unset secret": ([*OEM, 'api_key = { env = "NOPE" }'], "`NOPE` is not set"),
    "oem not encrypted": ([*OEM, KEY, 'url = "http://api.blendr.io/v1"'], "not encrypted"),
    "oem with a query": ([*OEM, KEY, 'url = "https://api.blendr.io/v1?key=k"'], "more than an address"),
    "oem list not encrypted": ([*OEM, KEY, 'connectors_url = "http://admin.blendr.io/integrations"'], "not encrypted"),
    "oem list nowhere": ([*OEM, KEY, 'connectors_url = "integrations"'], "`connectors_url`"),
    "oem for state alone": ([*OEM, KEY, 'access = "state"'], "`state`"),
    "oem account a number": ([*OEM, KEY, "account = 7"], "`account`"),
    "oem with no rate": ([*OEM, KEY, "limits = { per_minute = 0 }"], "`per_minute`"),
    "oem with a tier": ([*OEM, KEY, "limits = { tier1_per_minute = 1 }"], "`tier1_per_minute`"),
    "oem with too large a share": ([*OEM, KEY, "limits = { share = 2 }"], "`share`"),
    "oem with too many connections": ([*OEM, KEY, "limits = { concurrency = 33 }"], "`concurrency`"),
    "oem without an authority file": ([*OEM, KEY, 'ca_file = "nope.pem"'], "nope.pem"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_tables_are_refused(opened: Opened, case: str) -> None:
    """Exit code 2, one line that names table, file and fault, and a hint."""
    lines, words = WRONG[case]
    with pytest.raises(UsageError) as caught:
        opened(*lines)
    error = caught.value
    assert words in error.message
    assert "tenants.toml" in error.message
    assert "\n" not in error.message
    assert error.hint
    assert "abc.def" not in error.message + error.hint


@pytest.mark.parametrize(
    "url", ["https://me:hunter2@acme.eu.qlikcloud.com", "https://acme/?key=hunter2", "me:hunter2@x"]
)
def test_what_an_address_hides_is_not_shown(opened: Opened, url: str) -> None:
    """A secret in the address is refused and not repeated."""
    with pytest.raises(UsageError) as caught:
        opened(f'url = "{url}"', KEY)
    assert "hunter2" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("head", "words"),
    [("", "names no tenant"), ("x = 3", "`x`"), ("[tenants]\nx = 3", "must be a table"), ("[", "TOML")],
)
def test_wrong_outlines_are_refused(opened: Opened, head: str, words: str) -> None:
    """A file without tenants, with foreign keys, or that is no TOML."""
    with pytest.raises(UsageError, match=words) as caught:
        opened(head=head)
    assert caught.value.hint


def test_an_unknown_tenant_brings_a_suggestion(opened: Opened) -> None:
    """A slip of the pen is answered with the name that was meant."""
    with pytest.raises(UsageError, match="unknown tenant") as caught:
        opened(URL, KEY, name="prd", head="[tenants.prod]")
    assert "`prod`" in caught.value.hint
    with pytest.raises(UsageError, match="unknown tenant"):
        opened(URL, KEY, name="x/account")


def test_oem_accounts_beside_do_no_harm(opened: Opened) -> None:
    """A table of another kind, even a wrong one, is none of a command's that does not use it."""
    other = '[tenants.partner]\nkind = "oem"\nurl = "https://api.blendr.io/v1"\nnonsense = 1'
    assert opened(other, "[tenants.x]", URL, KEY, head="").endpoint.name == "x"
    with pytest.raises(UsageError, match=r"nonsense|no `app_id`"):
        opened(other, name="partner/acme", head="")


def test_an_oem_table_is_no_tenant_to_be_found_by_host(tmp_path: Path) -> None:
    """What looks for the Cloud tenant of an archive never comes upon an OEM account."""
    path = tmp_path / "t.toml"
    path.write_text(f'[tenants.o]\nkind = "oem"\n{URL}\n[tenants.x]\n{URL}\n')
    path.chmod(0o600)
    assert tenant_by_host(["acme.eu.qlikcloud.com"], str(path), ENVIRON) == "x"


def test_a_whole_table_is_read(opened: Opened, tmp_path: Path) -> None:
    """Every key of the contract's example arrives."""
    (tmp_path / "ca.pem").write_text("")
    tenant = opened(
        URL,
        'access = "write"',
        'oauth = { client_id = "c", client_secret = { env = "KEY" }, impersonate = "S" }',
        'impersonation = { client_id = "d", client_secret = { env = "KEY" } }',
        'api = "v1"',
        'accept_unreadable = ["i"]',
        'proxy = "http://proxy:3128"',
        'ca_file = "ca.pem"',
        "[tenants.x.limits]",
        "tier1_per_minute = 10\ntier2_per_minute = 5\nshare = 0.5\nconcurrency = 2\ntimeout_seconds = 7",
    )
    one = tenant.endpoint
    assert isinstance(one.credentials, OAuthClient)
    assert (one.credentials.client_id, one.credentials.impersonate) == ("c", "S")
    assert one.credentials.client_secret.reveal() == "abc.def"
    assert (one.impersonation.client_id, one.access, one.family) == ("d", Access.WRITE, "v1")
    assert (one.proxy, one.ca_file, tenant.accept_unreadable) == ("http://proxy:3128", tmp_path / "ca.pem", {"i"})
    assert (one.limits.tier1_per_minute, one.limits.tier2_per_minute, one.limits.share) == (10, 5, 0.5)
    assert (one.limits.concurrency, one.limits.timeout_s) == (2, 7)
    assert "abc.def" not in repr(tenant)


def test_defaults(opened: Opened) -> None:
    """Without further words a tenant can only be read, at the documented rates."""
    one = opened(URL, KEY).endpoint
    assert (one.access, one.family, one.impersonation, one.proxy, one.ca_file) == (
        Access.READ,
        "auto",
        None,
        None,
        None,
    )
    assert (one.limits.tier1_per_minute, one.limits.tier2_per_minute) == (1000, 100)
    assert (one.limits.share, one.limits.concurrency, one.limits.timeout_s) == (0.8, 8, 60)


def test_a_whole_oem_table_is_read(opened: Opened, tmp_path: Path) -> None:
    """Every key of the contract's example, and those beside it, arrive; a key is shown nowhere."""
    (tmp_path / "ca.pem").write_text("")
    tenant = opened(
        *OEM,
        KEY,
        'url = "https://oem.example/v1/"',
        'account = "acme"',
        'access = "write"',
        'accept_unreadable = ["i"]',
        'proxy = "http://proxy:3128"',
        'ca_file = "ca.pem"',
        'connectors_url = "https://oem.example/all"',
        "limits = { per_minute = 60, share = 0.5, concurrency = 2, timeout_seconds = 7 }",
    )
    one = tenant.endpoint
    assert isinstance(tenant, OemTenant)
    assert (tenant.account, tenant.accept_unreadable) == ("acme", {"i"})
    assert (one.name, one.table, one.url, one.access) == ("x", "x", "https://oem.example/v1", Access.WRITE)
    assert (one.credentials.app_id, one.credentials.api_key.reveal()) == ("12345", "abc.def")
    assert (one.proxy, one.ca_file) == ("http://proxy:3128", tmp_path / "ca.pem")
    assert one.connectors_url == "https://oem.example/all"
    assert (one.limits.per_minute, one.limits.share, one.limits.concurrency, one.limits.timeout_s) == (60, 0.5, 2, 7)
    assert "abc.def" not in repr(tenant)


def test_oem_defaults(opened: Opened) -> None:
    """The documented address, all accounts, GETs only, at the documented rate; a bare number is an app's id, too."""
    tenant = opened('kind = "oem"', "app_id = 12345", KEY)
    one = tenant.endpoint
    assert (one.url, tenant.account, one.access) == ("https://api.blendr.io/v1", "", Access.READ)
    assert (one.credentials.app_id, one.connectors_url) == ("12345", "https://admin.blendr.io/integrations")
    assert (one.limits.per_minute, one.limits.share, one.limits.concurrency, one.limits.timeout_s) == (300, 0.8, 8, 60)


@pytest.mark.parametrize("account", ["acme", "a/b", "Größe & Co", "3d4b5c0e-0000-4000-8000-000000000001"])
def test_one_account_of_an_oem_table(opened: Opened, account: str) -> None:
    """`partner/ACCOUNT` names it, whatever stands after the slash, and comes before the table's own."""
    tenant = opened(*OEM, KEY, 'account = "other"', name=f"x/{account}")
    assert (tenant.account, tenant.endpoint.name, tenant.endpoint.table) == (account, f"x/{account}", "x")


def test_an_oem_table_without_an_account_after_the_slash(opened: Opened) -> None:
    """A slash and nothing is no account, and above all not all of them."""
    with pytest.raises(UsageError, match="names no account"):
        opened(*OEM, KEY, name="x/")


def test_an_oem_table_on_loopback(opened: Opened) -> None:
    """There http and a literal key are taken, and the public list of connectors is looked for there as well."""
    tenant = opened(*OEM, 'url = "http://127.0.0.1:8080/v1"', 'api_key = "literal"')
    assert tenant.endpoint.credentials.api_key.reveal() == "literal"
    assert tenant.endpoint.connectors_url == "http://127.0.0.1:8080/integrations"


def key_of(tenant: Any) -> str:
    """The key that was resolved."""
    assert isinstance(tenant.endpoint.credentials, ApiKey)
    return tenant.endpoint.credentials.key.reveal()


def test_secrets_come_from_file_command_and_loopback_literals(opened: Opened, tmp_path: Path) -> None:
    """A file beside the tenants file, a command's output, and a literal where no network is crossed."""
    (tmp_path / "key").write_text("from-file\n")
    assert key_of(opened(URL, 'api_key = { file = "key" }')) == "from-file"
    program = json.dumps([sys.executable, "-c", "print('from-command')"])
    assert key_of(opened(URL, f"api_key = {{ command = {program} }}")) == "from-command"
    for host in ("127.0.0.1:8080", "localhost", "[::1]:9"):
        assert key_of(opened(f'url = "http://{host}"', 'api_key = "literal"')) == "literal"


def test_secrets_come_from_the_keyring(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Service and user find the entry; a missing entry, a broken ring and a missing extra are told apart."""
    errors = ModuleType("keyring.errors")
    errors.KeyringError = type("KeyringError", (Exception,), {})  # type: ignore[attr-defined]
    ring = ModuleType("keyring")
    ring.errors = errors  # type: ignore[attr-defined]

    def get_password(service: str, user: str) -> str | None:
        if service == "locked":
            raise errors.KeyringError
        return {("qlik", "me/too"): "from-ring"}.get((service, user))

    ring.get_password = get_password  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", ring)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    assert key_of(opened(URL, 'api_key = { keyring = "qlik/me/too" }')) == "from-ring"
    with pytest.raises(UsageError, match="no keyring entry") as caught:
        opened(URL, 'api_key = { keyring = "qlik/other" }')
    assert caught.value.hint == "keyring set qlik other"
    with pytest.raises(UsageError, match="KeyringError"):
        opened(URL, 'api_key = { keyring = "locked/x" }')
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(UsageError, match="extra"):
        opened(URL, 'api_key = { keyring = "qlik/me" }')


# Where the file is looked for


def write(path: Path, *lines: str) -> Path:
    """A tenants file for its owner only, with tenant `x`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(("[tenants.x]", URL, *(lines or (KEY,)))))
    path.chmod(0o600)
    return path


def test_lookup_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--config`, then the environment, then the working folder, then the user's folder; else both places are named."""
    monkeypatch.chdir(tmp_path)
    home = Path(os.environ["XDG_CONFIG_HOME"]) / "qlikmigrate" / "qlikmigrate.toml"
    with pytest.raises(UsageError, match="no tenants file") as caught:
        open_tenant("x", None, ENVIRON)
    assert str(home) in caught.value.message
    assert "sandbox" in caught.value.hint
    write(home)
    assert open_tenant("x", None, ENVIRON).source == str(home)
    write(tmp_path / "qlikmigrate.toml")
    assert open_tenant("x", None, ENVIRON).source == "qlikmigrate.toml"
    named = write(tmp_path / "named.toml")
    environ = {**ENVIRON, "QLIKMIGRATE_CONFIG": str(named)}
    assert open_tenant("x", None, environ).source == str(named)
    explicit = write(tmp_path / "explicit.toml")
    assert open_tenant("x", str(explicit), environ).source == str(explicit)
    with pytest.raises(UsageError, match="cannot read"):
        open_tenant("x", str(tmp_path / "nope.toml"), environ)


def test_commands_only_from_named_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever unpacks a folder and calls the program in it runs nothing of that folder's."""
    monkeypatch.chdir(tmp_path)
    program = json.dumps([sys.executable, "-c", "open('ran', 'w'); print('k')"])
    write(tmp_path / "qlikmigrate.toml", f"api_key = {{ command = {program} }}")
    with pytest.raises(UsageError, match="not honoured"):
        open_tenant("x", None, ENVIRON)
    assert not (tmp_path / "ran").exists()
    assert key_of(open_tenant("x", "qlikmigrate.toml", ENVIRON)) == "k"


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_files_that_others_write_are_refused(tmp_path: Path, mode: int) -> None:
    """Whoever can write it decides where keys go."""
    path = write(tmp_path / "t.toml")
    path.chmod(mode)
    with pytest.raises(UsageError, match="others can write") as caught:
        open_tenant("x", str(path), ENVIRON)
    assert "chmod go-w" in caught.value.hint
    path.chmod(0o644)
    assert open_tenant("x", str(path), ENVIRON).endpoint.name == "x"


# qlik-cli


def write_contexts(path: Path, text: str) -> None:
    """A contexts file of qlik-cli."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


CONTEXTS = """\
contexts:
  acme:
    server: https://acme.eu.qlikcloud.com
    headers: {Authorization: Bearer qlik-cli-key}
  bare: {server: https://acme.eu.qlikcloud.com}
  plain:
    server: http://acme.eu.qlikcloud.com
    headers: {Authorization: Bearer qlik-cli-key}
current-context: acme
"""


def test_qlik_cli_contexts_are_read(tmp_path: Path) -> None:
    """A context needs no tenants file, can only be read, and its file stays as it is."""
    path = tmp_path / ".qlik" / "contexts.yml"
    write_contexts(path, CONTEXTS)
    environ = {"QLIK_CLI_USER_HOME_DIR": str(tmp_path)}
    tenant = open_tenant("qlik-cli:acme", None, environ)
    assert (tenant.endpoint.access, key_of(tenant), tenant.source) == (Access.READ, "qlik-cli-key", str(path))
    assert open_tenant("qlik-cli:acme", None, {"HOME": str(tmp_path)}).endpoint.url == "https://acme.eu.qlikcloud.com"
    for name, words in (("nope", "no qlik-cli context"), ("bare", "no server with an API key"), ("plain", "encrypted")):
        with pytest.raises(UsageError, match=words) as caught:
            open_tenant(f"qlik-cli:{name}", None, environ)
        assert caught.value.hint
        assert "qlik-cli-key" not in caught.value.message
    assert path.read_text() == CONTEXTS
    path.write_text("{")
    with pytest.raises(UsageError, match="no YAML"):
        open_tenant("qlik-cli:acme", None, environ)
    path.unlink()
    with pytest.raises(UsageError, match="cannot read"):
        open_tenant("qlik-cli:acme", None, environ)


def test_a_qlik_cli_context_backs_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way with a context's key; writing to it is refused."""
    here = stage.source
    key = here.tenant.api_key(here.users["ada"])
    write_contexts(
        stage.folder / ".qlik" / "contexts.yml",
        f"contexts: {{a: {{server: {here.server.url}, headers: {{Authorization: Bearer {key}}}}}}}",
    )
    monkeypatch.setenv("QLIK_CLI_USER_HOME_DIR", str(stage.folder))
    assert stage.cli("backup", "qlik-cli:a", "-o", stage.folder).code == 0
    assert [path.name[:11] for path in stage.folder.glob("*.qma")] == ["qlik-cli-a-"]
    archive = next(stage.folder.glob("*.qma"))
    assert stage.cli("restore", archive, "qlik-cli:a").error["code"] == "not-enough-access"


def test_the_file_is_told_with_verbose(stage: Stage) -> None:
    """`--verbose` names the file that described the tenant."""
    told = stage.cli("doctor", "source", "--verbose")
    assert any(str(stage.config) in line["message"] for line in told.of("log"))


def test_errors_of_the_file_end_in_a_summary(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Through the front door: exit code 2, the error in the summary."""
    path = write(tmp_path / "t.toml", 'api_key = "literal-that-nobody-may-see"')
    assert run(["backup", "x", "-o", str(tmp_path / "a.qma"), "--config", str(path), "--json"]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1])["error"]["code"] == "usage"
    assert "nobody-may-see" not in captured.out + captured.err
