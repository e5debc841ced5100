"""`demo`: the whole story on embedded tenants, told by the very commands that a user would type."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from qlikmigrate.cli.option import command
from qlikmigrate.cli.session import Session

_OWN_KEYS = ("QLIKMIGRATE_IDENTITY", "QLIKMIGRATE_RECIPIENTS")


@command("demo", "The whole story on embedded tenants; no account needed")
@click.option("--folder", default="qlikmigrate-demo", show_default=True, metavar="DIR", help="Where its files go.")
def demo_command(session: Session, folder: str) -> None:
    """Back up an embedded tenant, plan, restore into a second one, check, fill a vault. No account, no network."""
    from qlikmigrate.cli.tenant import file_stamp
    from qlikmigrate.kernel.file import private_folder, write_atomic
    from qlikmigrate.sandbox import Sandbox

    place = Path(folder) / file_stamp(session)
    private_folder(place)
    story = _Story(session, place)
    with Sandbox() as sandbox:
        write_atomic(place / "tenants.toml", sandbox.tenants_toml().encode())
        story.tell(
            f"Two embedded tenants: `source` with {len(sandbox.source.automations)} automations, "
            f"`target` with {len(sandbox.target.automations)}."
        )
        story.step("Take a snapshot", "backup", "source", "-o", "source.qma")
        story.step("Check every byte of it", "verify", "source.qma")
        story.step("See what a restore would do", "plan", "source.qma", "target", "-o", "plan.json")
        story.step("Do exactly that", "apply", "plan.json", "--run", "run")
        story.step("Once more: nothing changes", "restore", "source.qma", "target", "--run", "second-run")
        sightings = len(sandbox.target.armed_while_enabled)
        enabled = sum(1 for one in sandbox.target.automations.values() if one["state"] == "available")
        story.tell(
            f"The target holds {len(sandbox.target.automations)} automations, {enabled} of them enabled. "
            + (
                "Nothing that starts by itself was enabled at any moment."
                if not sightings
                else f"{sightings} times something that starts by itself was enabled!"
            )
        )
        story.step("Night after night: a vault stores what is new", "backup", "source", "--vault", "vault", "--init")
        story.step("The next night", "backup", "source", "--vault", "vault")
        story.step("Try a restore of it", "drill", "vault@latest")
    story.tell(
        f"The files are in {place.absolute()}:\n"
        "  source.qma      the archive: `unzip` and `zstd -d` open it, too\n"
        "  plan.json       what was going to be done\n"
        "  run/report.md   what was done\n"
        "  run/runbook.md  what is left for people\n"
        "  run/ids.csv     old id, new id\n"
        "  vault           two snapshots, and the evidence of the drill"
    )
    session.report.update(archive=str(place / "source.qma"), run=str(place / "run"))
    if sightings:
        session.exit_code = 5


class _Story:
    """Runs commands in the demo's folder and shows them as they would be typed."""

    def __init__(self, session: Session, place: Path) -> None:
        self._session = session
        self._place = place

    def tell(self, text: str) -> None:
        self._session.output.say(f"\n{text}")

    def step(self, title: str, *words: str) -> None:
        """Raises: FailedError when the command does not end with 0."""
        from qlikmigrate.kernel.error import FailedError

        self._session.output.say(f"\n# {title}\n$ qlikmigrate {' '.join(words)}")
        arguments = [*words, "--config", "tenants.toml", "--no-progress"]
        if words[0] in ("plan", "restore"):
            arguments += ["--ledger", "ledger.jsonl"]
        done = subprocess.run(  # noqa: S603 - this program itself
            [sys.executable, "-m", "qlikmigrate", *arguments],
            cwd=self._place,
            capture_output=True,
            # Whose archives these are is no matter of the user's own keys.
            env={name: value for name, value in self._session.environ.items() if name not in _OWN_KEYS},
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        self._session.output.say((done.stdout + done.stderr).rstrip("\n"))
        if done.returncode != 0:
            raise FailedError(f"the demo's `{words[0]}` ended with {done.returncode}")
