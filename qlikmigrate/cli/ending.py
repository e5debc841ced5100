"""How a command ends: one exit code, the last words for people, and the summary, the last line of every `--json`."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from typing import Any

from attrs import define, evolve, frozen

from qlikmigrate.cli.output import Output
from qlikmigrate.cli.session import Session

_REQUESTS = ("tier1", "tier2", "token", "retried", "throttled")
# There only where earlier answers could be used again.
_SAVED = "saved"
# A secret key typed where it does not belong is not repeated, wherever that was.
_SECRET_KEY = re.compile(r"AGE-SECRET-KEY-\w*", re.IGNORECASE)
_EXTRAS = ("plan", "mapping", "forecast", "drill", "install_windows")


@frozen
class Failure:
    """Why a command ends with another code than 0. `usage`: how it is called."""

    exit_code: int
    code: str
    message: str
    hint: str = ""
    usage: str = ""


@define
class Invocation:
    """One call of the program, whether or not it comes to a command. `commands`: the words that are one."""

    arguments: tuple[str, ...]
    commands: tuple[str, ...]
    session: Session | None = None

    @property
    def as_json(self) -> bool:
        """Whether whoever called reads JSON; also where the command line is wrong."""
        if self.session is not None:
            return self.session.output.json
        return "--json" in self.arguments

    @property
    def verbose(self) -> bool:
        """Whether it was called with `--verbose`."""
        return self.session is not None and self.session.output.verbose

    def close(self, failure: Failure | None) -> int:
        """Say how it ended; the exit code."""
        session = self.session
        if failure:
            failure = evolve(failure, message=_without_key(failure.message), hint=_without_key(failure.hint))
        output = session.output if session else Output(json=self.as_json)
        output.clear()
        output.flush()
        if output.lost and failure is None:
            failure = Failure(1, "output-lost", f"cannot write to standard output: {output.lost}")
        code = failure.exit_code if failure else (session.exit_code if session else 0)
        if output.json:
            output.line("summary", self._summary(failure, code, output))
            return code
        for line in session.closing if session else ():
            output.say(line)
        if session and session.requests[_SAVED]:
            output.say(f"{session.requests[_SAVED]} requests saved: what did not change was not read again")
        if failure:
            if failure.usage:
                output.say(failure.usage, level="error")
            output.say(f"error: {failure.message}", level="error")
            if failure.hint:
                output.say(f"  hint: {failure.hint}", level="error")
        output.flush()
        return code

    def _summary(self, failure: Failure | None, code: int, output: Output) -> dict[str, Any]:
        session = self.session
        report = session.report if session else {}
        sent = session.requests if session else Counter[str]()
        words = (*_REQUESTS, _SAVED) if _SAVED in sent else _REQUESTS
        error = {"code": failure.code, "message": failure.message, "hint": failure.hint} if failure else None
        return {
            "command": session.command if session else self._word(),
            "exit_code": code,
            "complete": report.get("complete"),
            "restorable": report.get("restorable"),
            "archive": report.get("archive"),
            "run": report.get("run"),
            "counts": report.get("counts", {}),
            "problems": output.problems,
            "requests": {word: sent[word] for word in words},
            "seconds": round(time.monotonic() - session.started, 3) if session else 0.0,
            "error": error,
            **{key: report[key] for key in _EXTRAS if key in report},
        }

    def _word(self) -> str:
        """The command that was meant, as far as it can be told."""
        words = [word for word in self.arguments if not word.startswith("-")]
        return next((word for word in words if word in self.commands), _without_key(words[0]) if words else "")


def _without_key(text: str) -> str:
    return _SECRET_KEY.sub("AGE-SECRET-KEY-…", text)


def speak_utf8(arguments: list[str]) -> None:
    """Make the streams take every name there is: JSON is UTF-8 whatever the terminal's language."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    if "--json" in arguments and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")
