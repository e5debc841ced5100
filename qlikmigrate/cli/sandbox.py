"""`sandbox`: serves embedded tenants on loopback until Ctrl-C."""

from __future__ import annotations

import os
import sys

import click

from qlikmigrate.cli.option import command
from qlikmigrate.cli.session import Session


@command("sandbox", "Serve embedded tenants on loopback until Ctrl-C")
@click.option(
    "--port", type=click.IntRange(0, 65532), default=0, help="The source's port; the others have the next ones."
)
@click.option("--oem", is_flag=True, help="Serve two OEM partners with their accounts as well.")
def sandbox_command(session: Session, port: int, oem: bool) -> None:
    """Serve an embedded source and target tenant; print a ready tenants file once they accept connections."""
    import asyncio

    from qlikmigrate.kernel.error import InterruptedRunError, UsageError
    from qlikmigrate.sandbox import Sandbox

    try:
        if oem:
            from qlikmigrate.sandbox.oem import OemSandbox

            sandbox: Sandbox | OemSandbox = OemSandbox(port)
        else:
            sandbox = Sandbox(port)
    except OSError as error:
        raise UsageError(f"cannot listen on port {port}: {error.strerror}", hint="choose another --port") from None
    with sandbox:
        text = sandbox.tenants_toml()
        if session.output.json:
            session.output.item({"kind": "tenants", "toml": text})
        else:
            session.output.text(text)
        session.output.say("serving until Ctrl-C")
        if not sys.stdout.isatty() and not session.output.json and _umask() & 0o022 != 0o022:
            session.output.say(
                "hint: others may be able to write the tenants file: `chmod go-w FILE`, or it is refused"
            )
        try:
            session.run(asyncio.Event().wait)
        except InterruptedRunError:
            session.output.say("stopped")


def _umask() -> int:
    """The bits that new files are made without; asking for them takes setting them."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
