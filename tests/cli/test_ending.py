"""Every end of every command: one summary, the right exit code, one line of error, words where they belong."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest
from stage import Stage, document

from qlikmigrate.cli import backup as backup_module
from qlikmigrate.cli.app import COMMANDS, run
from qlikmigrate.cli.option import command
from qlikmigrate.kernel.clock import SystemClock
from qlikmigrate.kernel.event import Log, Problem, Progress, Severity
from qlikmigrate.sandbox import Fault, HtmlOk, Status

MEMBERS = {
    "type", "format_version", "command", "exit_code", "complete", "restorable", "archive", "run", "counts", "problems",
    "requests", "seconds", "error",
}  # fmt: skip
REQUESTS = {"tier1", "tier2", "token", "retried", "throttled"}

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait for nothing."""

    async def no_time(self: SystemClock, seconds: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(SystemClock, "sleep", no_time)


def lines_of(text: str) -> list[dict[str, Any]]:
    """The JSON lines; each must say its type and version."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert line["type"] in ("log", "progress", "item", "outcome", "problem", "summary")
        assert line["format_version"] == "1.0"
    assert [line["type"] for line in lines].count("summary") == 1
    assert lines[-1]["type"] == "summary"
    return lines


WRONG_LINES = {
    "unknown command": (["nope", "--json"], "nope"),
    "flag before the command": (["--json", "backup", "x"], "backup"),
    "no command": (["--json"], ""),
    "missing argument": (["backup", "--json"], "backup"),
    "missing option": (["backup", "x", "--json"], "backup"),
    "bad choice": (["apply", "p", "--on-error", "perhaps", "--json"], "apply"),
    "bad time budget": (["doctor", "x", "--time-budget", "soon", "--json"], "doctor"),
    "unknown flag": (["list", "x", "--jsn", "--json"], "list"),
    "one argument too many": (["verify", "a", "b", "--json"], "verify"),
    "no tenants file": (["doctor", "x", "--json"], "doctor"),
    "port is no number": (["sandbox", "--port", "x", "--json"], "sandbox"),
    "no selector": (["backup", "x", "-o", "y", "--include", "colour=red", "--json"], "backup"),
}


@pytest.mark.parametrize("case", WRONG_LINES)
def test_wrong_command_lines_end_in_a_summary(
    case: str, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 and a summary with all members, whatever is wrong with the line."""
    monkeypatch.chdir(tmp_path)
    words, command = WRONG_LINES[case]
    assert run(words) == 2
    summary = lines_of(capsys.readouterr().out)[-1]
    assert set(summary) >= MEMBERS
    assert set(summary["requests"]) == REQUESTS
    assert (summary["command"], summary["exit_code"], summary["error"]["code"]) == (command, 2, "usage")
    assert "\n" not in summary["error"]["message"]
    assert summary["error"]["hint"]


def test_usage_errors_for_people(capsys: Capture) -> None:
    """How it is called, one line of error and a hint on stderr; nothing on stdout."""
    assert run(["bakup", "x"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-2:] == [
        "error: no such command: `bakup`; did you mean `backup`?",
        "  hint: qlikmigrate --help",
    ]


def test_without_a_command_help_is_shown(capsys: Capture) -> None:
    """People see what there is; a script still sees that nothing was done."""
    assert run([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(f"  {name} " in captured.err for name in COMMANDS)


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS)])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help(words: list[str], flag: str, capsys: Capture) -> None:
    """Help of everything goes to stdout; with `--json` stdout holds the summary alone."""
    assert run([*words, flag]) == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"Usage: qlikmigrate {' '.join(words)}".rstrip())
    assert told.err == ""
    if words:
        assert run([*words, flag, "--json"]) == 0
        told = capsys.readouterr()
        (summary,) = lines_of(told.out)
        assert summary["exit_code"] == 0
        assert told.err.startswith("Usage: ")


def test_help_does_not_depend_on_who_looked_first() -> None:
    """A command that was looked at outside of the program, as the documentation's script does, takes `-h`, too."""
    made = command("made", "For this test")(lambda session: None)
    option = made.get_help_option(click.Context(made))
    assert option is not None
    assert option.opts == ["-h", "--help"]


def test_an_internal_error_ends_in_a_summary(stage: Stage, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is exit code 1 and shows no values; `--verbose` says where it is."""

    def broken(*words: object, **flags: object) -> None:
        raise RuntimeError("value that nobody may see")

    monkeypatch.setattr(backup_module, "take_backup", broken)
    ended = stage.backup()
    assert (ended.code, ended.error["code"]) == (1, "bug")
    assert "nobody may see" not in json.dumps(ended.lines)
    assert run(["backup", "source", "-o", "x.qma", "--config", str(stage.config), "--verbose"]) == 1
    assert "RuntimeError" in capsys.readouterr().err


def test_an_interrupt_outside_the_loop_ends_in_a_summary(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while nothing is sent: exit code 130 all the same."""

    def interrupted(*words: object, **flags: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backup_module, "take_backup", interrupted)
    assert stage.backup().code == 130


# Summaries of what went well


def test_the_summary_of_a_backup(stage: Stage) -> None:
    """It has the members of the documented example, counts that fit, and no error."""
    stage.source.tenant.add_automation(document("one"), stage.source.users["ben"])
    ended = stage.backup()
    summary = ended.summary
    assert set(summary) >= MEMBERS
    assert (summary["command"], summary["complete"], summary["restorable"]) == ("backup", True, "full")
    assert (summary["archive"], summary["run"], summary["error"]) == (str(stage.folder / "a.qma"), None, None)
    assert summary["counts"]["automations"] == {"listed": 1, "captured": 1, "unreadable": 0, "vanished": 0}
    sent = [seen for seen in stage.source.tenant.seen if seen.path != "/oauth/token"]
    assert summary["requests"] == {"tier1": len(sent), "tier2": 0, "token": 1, "retried": 0, "throttled": 0}


@pytest.mark.parametrize("saved", [None, 0, 7])
def test_saved_requests_are_told(saved: int | None, capsys: Capture) -> None:
    """Where earlier answers could be used again the summary counts them, and people hear of it when there were any."""
    from qlikmigrate.api.count import RequestCounts
    from qlikmigrate.cli.ending import Invocation
    from qlikmigrate.cli.output import Output
    from qlikmigrate.cli.session import Session

    for as_json in (True, False):
        session = Session(command="backup", output=Output(json=as_json))
        session.requests.update(RequestCounts(tier1=3, saved=saved).as_json())
        assert Invocation((), ("backup",), session).close(None) == 0
    told = capsys.readouterr()
    requests = lines_of(told.out)[-1]["requests"]
    assert requests == dict.fromkeys(REQUESTS, 0) | {"tier1": 3} | ({} if saved is None else {"saved": saved})
    assert told.err == ("7 requests saved: what did not change was not read again\n" if saved else "")


def test_requests_of_all_clients_are_counted(stage: Stage) -> None:
    """A clone's summary counts what was sent to both tenants, for reading and for writing."""
    stage.source.tenant.add_automation(document("one"), stage.source.users["ben"])
    requests = stage.cli("clone", "source", "target", "--run", stage.folder / "run").summary["requests"]
    sent = len(stage.source.tenant.seen) + len(stage.target.tenant.seen)
    assert requests["tier1"] + requests["tier2"] + requests["token"] == sent


def test_members_of_lines(stage: Stage) -> None:
    """Outcomes and problems have the documented members; `item` is a row of a looking command only."""
    stage.source.tenant.add_automation(document("one"), stage.source.users["ben"])
    stage.backup()
    plan = stage.cli("plan", stage.folder / "a.qma", "target", "-o", stage.folder / "plan.json")
    assert plan.of("item")
    restored = stage.restore()
    assert not restored.of("item")
    (outcome,) = restored.of("outcome")
    assert set(outcome) == {
        "type", "format_version", "kind", "source_id", "target_id", "name", "action", "status", "code", "reason"
    }  # fmt: skip
    assert (outcome["action"], outcome["status"]) == ("create", "done")
    stage.source.tenant.add_automation(document("two"), stage.source.users["ben"])
    stage.backup()
    dry = stage.restore("a.qma", "--dry-run")
    assert [line["status"] for line in dry.of("outcome")] == ["planned", "planned"]
    assert not dry.of("item")
    assert dry.automations == {"selected": 2, "created": 1, "unchanged": 1}
    stage.source.tenant.add_automation(
        document("three"), stage.source.tenant.add_user("corp\\zoe", "Zoe", "zoe@example.com")
    )
    stage.backup()
    (problem,) = [line for line in stage.restore().of("problem") if line["severity"] == "error"]
    assert set(problem) == {"type", "format_version", "code", "severity", "where", "message", "hint"}


# What the network may do


@contextmanager
def answering(body: bytes, status: int = 200, kind: str = "text/html") -> Iterator[str]:
    """A web server that is no Qlik tenant."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


FOREIGN = {
    "a web page": (b"<!doctype html><p>Welcome", 200, "text/html"),
    "text": (b"hello", 200, "text/plain"),
    "other JSON": (b"[]", 200, "application/json"),
    "nothing there": (b"<p>404", 404, "text/html"),
    "somewhere else": (b"", 302, "text/html"),
    "no content": (b"", 204, "text/html"),
}


@pytest.mark.parametrize("case", FOREIGN)
@pytest.mark.parametrize("command", ["doctor", "backup", "plan"])
def test_servers_that_are_no_tenant(case: str, command: str, stage: Stage, hurried: None) -> None:
    """Answers that no tenant gives end with 1, one line and a hint, and leave no file behind."""
    stage.source.tenant.add_automation(document("one"), stage.source.users["ben"])
    stage.backup()
    with answering(*FOREIGN[case]) as url:
        stage.config.write_text(
            f'[tenants.x]\nurl = "{url}"\napi_key = "k-nobody-sees"\nlimits = {{ timeout_seconds = 1 }}\n'
        )
        stage.config.chmod(0o600)
        words: dict[str, list[str | Path]] = {
            "doctor": ["doctor", "x"],
            "backup": ["backup", "x", "-o", stage.folder / "b.qma"],
            "plan": ["plan", stage.folder / "a.qma", "x", "-o", stage.folder / "p.json"],
        }
        ended = stage.cli(*words[command])
    assert ended.code == 1, ended.error
    assert ended.error["hint"]
    assert "\n" not in ended.error["message"]
    assert "k-nobody-sees" not in json.dumps(ended.lines)
    assert sorted(path.name for path in stage.folder.iterdir()) == ["a.qma", "tenants.toml"]


def test_nobody_answers(stage: Stage, hurried: None) -> None:
    """A port without a server, and a server without TLS, end with 1 and say so."""
    with answering(b"") as url:
        pass
    stage.config.write_text(f'[tenants.x]\nurl = "{url}"\napi_key = "k"\nlimits = {{ timeout_seconds = 1 }}\n')
    stage.config.chmod(0o600)
    ended = stage.cli("doctor", "x")
    assert (ended.code, ended.error["code"]) == (1, "unreachable")
    assert ended.error["hint"]
    with answering(b"") as url:
        url = url.replace("http:", "https:")
        stage.config.write_text(f'[tenants.x]\nurl = "{url}"\napi_key = "k"\nlimits = {{ timeout_seconds = 1 }}\n')
        ended = stage.cli("doctor", "x")
    assert ended.code == 1
    assert "TLS" in ended.error["message"]


def test_a_wrong_key_is_not_authorized(stage: Stage) -> None:
    """401 ends with 20, for a key and for a client."""
    url = stage.source.server.url
    client = 'oauth = { client_id = "nobody", client_secret = "s3" }'
    for credentials in ('api_key = "k3"', client):
        stage.config.write_text(f'[tenants.x]\nurl = "{url}"\n{credentials}\n')
        ended = stage.cli("backup", "x", "-o", stage.folder / "a.qma")
        assert (ended.code, ended.error["code"]) == (20, "not-authorized")
        assert ended.error["hint"]


@pytest.mark.parametrize("what", ["workflows/automations", "workflows/automation-connections", "v1/spaces", "v1/users"])
def test_a_forbidden_list_is_not_authorized(stage: Stage, what: str) -> None:
    """403 on a list that a backup needs ends with 20 and leaves no archive."""
    stage.source.tenant.faults.append(Fault(effect=Status(code=403), path=f"/api/{what}", times=None))
    ended = stage.backup()
    assert (ended.code, ended.error["code"]) == (20, "not-authorized")
    assert "doctor" in ended.error["hint"]
    assert not (stage.folder / "a.qma").exists()


def test_a_page_of_a_proxy_is_no_answer(stage: Stage, hurried: None) -> None:
    """200 with a web page, again and again, ends with 1."""
    stage.source.tenant.faults.append(Fault(effect=HtmlOk(), path="/api/v1/spaces", times=None))
    ended = stage.backup()
    assert (ended.code, ended.error["code"]) == (1, "broken-answer")


# Words where they belong


@pytest.fixture
def typed(stage: Stage, capsys: Capture) -> Callable[..., tuple[int, str, str]]:
    """Runs a command as people do: exit code, stdout, stderr."""

    def type_words(*words: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return type_words


def test_words_and_data_part(stage: Stage, typed: Callable[..., tuple[int, str, str]]) -> None:
    """Data on stdout, words on stderr, no bar and no colour without a terminal; `--quiet` leaves errors."""
    stage.source.tenant.add_automation(document("one"), stage.source.users["ben"])
    config = ("--config", stage.config)
    code, out, err = typed("backup", "source", "-o", "a.qma", *config)
    assert (code, out) == (0, "")
    assert err.startswith("complete: 1 of 1 automations in a.qma (")
    assert "\x1b" not in err
    assert "\r" not in err
    assert typed("backup", "source", "-o", "b.qma", "--quiet", *config) == (0, "", "")
    code, out, err = typed("backup", "source", "-o", "b.qma", "--quiet", *config)
    assert (code, out) == (2, "")
    assert err.splitlines()[0] == "error: `b.qma` exists"
    code, out, err = typed("list", "a.qma")
    assert (code, out.count("\n"), err) == (0, 1, "")
    code, out, err = typed("plan", "a.qma", "target", *config)
    assert (code, out) == (0, "+ create  one\n")
    first, second = err.splitlines()
    assert first == "1 automation: 1 to create; 1 writing call"
    assert second.endswith("2 tokens; no waiting under the quota")
    assert typed("plan", "a.qma", "target", "--quiet", *config) == (0, "", "")
    code, out, err = typed("plan", "a.qma", "target", "--verbose", *config)
    assert "GET /api/v1/users: 200" in err
    code, out, err = typed("restore", "a.qma", "target", "--run", "run", *config)
    assert (code, out) == (0, "")
    assert err.splitlines() == ["1 automation: 1 created", "report: run/report.md"]


def test_names_cannot_steer_the_terminal(stage: Stage, typed: Callable[..., tuple[int, str, str]]) -> None:
    """Control characters in names are shown, not sent; half a surrogate pair breaks no line."""
    name = "red\x1b[31m\u202eline\nbreak"
    stage.source.tenant.add_automation(document(name), stage.source.users["ben"])
    config = ("--config", stage.config)
    assert typed("backup", "source", "-o", "a.qma", *config)[0] == 0
    code, out, _ = typed("list", "a.qma")
    assert code == 0
    assert out.endswith("/ red\\x1b[31m\\u202eline\\nbreak\n")
    assert stage.cli("list", stage.folder / "a.qma").of("item")[0]["name"] == name
    code, out, err = typed("restore", "a.qma", "target", "--verbose", *config)
    assert "\x1b" not in out + err


def test_many_rows_stay_readable(stage: Stage, typed: Callable[..., tuple[int, str, str]]) -> None:
    """Of a long plan people see a part and how to see the rest; `--verbose` and `--json` hold nothing back."""
    for number in range(60):
        stage.source.tenant.add_automation(document(f"number {number}"), stage.source.users["ben"])
    config = ("--config", stage.config)
    assert typed("backup", "source", "-o", "a.qma", *config)[0] == 0
    _, out, err = typed("plan", "a.qma", "target", "-o", "p.json", *config)
    assert out.count("\n") == 50
    assert "and 10 more: `qlikmigrate show p.json` lists them" in err
    assert typed("show", "p.json")[1].count("+ create") == 60
    assert typed("plan", "a.qma", "target", "--verbose", *config)[1].count("+ create") == 60
    assert len(stage.cli("plan", "a.qma", "target").of("item")) == 60


def test_problems_come_in_groups(capsys: Capture) -> None:
    """One of each kind and how many more; nothing of what people are not told, errors one by one, each told once."""
    from qlikmigrate.cli.output import Output
    from qlikmigrate.cli.session import Session
    from qlikmigrate.cli.telling import tell_problems

    def problems(severity: Severity) -> list[Problem]:
        return [Problem(code=f"c-{severity}", severity=severity, message=f"m{n}") for n in range(3)]

    everything = [one for severity in Severity for one in problems(severity)]
    session = Session(command="plan", output=Output())
    tell_problems(session, everything)
    tell_problems(session, everything)
    assert capsys.readouterr().err.splitlines() == [
        "error: m0 [c-error]", "error: m1 [c-error]", "error: m2 [c-error]",
        "warning: m0 [c-warning]", "  and 2 more of `c-warning`; --verbose lists them",
        "todo: m0 [c-todo]", "  and 2 more of `c-todo`; --verbose lists them",
    ]  # fmt: skip
    assert session.output.problems == 9
    quiet = Session(command="plan", output=Output(quiet=True))
    tell_problems(quiet, everything)
    assert capsys.readouterr().err.splitlines() == [f"error: m{n} [c-error]" for n in range(3)]
    full = Session(command="plan", output=Output(verbose=True))
    tell_problems(full, everything)
    assert len(capsys.readouterr().err.splitlines()) == 12


def test_progress_lines_are_few(capsys: Capture) -> None:
    """Thousands of steps of two phases at a time give a handful of lines, the ends among them."""
    from qlikmigrate.cli.output import Output

    output = Output(json=True, bars=True)
    for number in range(1, 2001):
        output(Progress(phase="a", done=number, total=2000))
        output(Progress(phase="b", done=number))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert 3 <= len(lines) < 20
    assert {"phase": "a", "done": 2000, "total": 2000}.items() <= next(
        line for line in lines if line["done"] == 2000
    ).items()
    silent = Output(json=True, bars=False)
    silent(Progress(phase="a", done=1, total=1))
    silent(Log(message="step", level="debug"))
    assert capsys.readouterr().out == ""


def test_the_time_budget_ends_with_21(stage: Stage) -> None:
    """A spent budget is an end of its own; a backup leaves no file."""
    ended = stage.backup("a.qma", "--time-budget", "0s")
    assert (ended.code, ended.error["code"]) == (21, "time-budget-spent")
    assert not (stage.folder / "a.qma").exists()
