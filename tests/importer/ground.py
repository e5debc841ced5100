"""A migration whose automations stand on what the target lacks: connections, a space with people, a higher limit."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from rig import Rig, make_rig
from stage import MAIL, bound_block, document

from qlikmigrate.kernel.secret import Secret
from qlikmigrate.sandbox.catalogue import GITHUB

PASSWORD = "correct horse, battery staple"
MAIL_VALUES = {
    "Sender": "noreply@example.com",
    "Host": "smtp.example.com",
    "Port": "587",
    "Encryption": "tls",
    "Username": "post",
    "Password": PASSWORD,
}


def make_ground(folder: Path, *, impersonate: bool = True, secrets: bool = True) -> Rig:
    """A mail connection that needs values, one that needs consent, a space with members, 20 concurrent runs."""
    rig = make_rig(folder, impersonate=impersonate)
    here, ben = rig.source, rig.ben_here
    people = [tenant.add_user("corp\\cleo", "Cleo Example", "cleo@example.com") for tenant in (rig.source, rig.target)]
    gone = here.add_user("corp\\gone", "Gone Example", "gone@example.com")
    space = here.add_space("Marketing", owner=people[0], description="Campaigns")
    here.add_member(space, ben, ("producer", "facilitator"))
    here.add_member(space, gone, ("consumer",))
    here._spaces.add_member(space, here.add_group("Everybody"), ("consumer",), "group")
    mail = here.add_connection(MAIL, "Post", ben, space=space, params=MAIL_VALUES)
    github = here.add_connection(GITHUB, "Code", ben)
    here._shelf.max_runs = 20
    here.add_automation(document("mailer", bound_block(1, mail, MAIL), maxConcurrentRuns=20), ben, space=space)
    here.add_automation(document("nightly", bound_block(1, mail, MAIL), mode="triggered"), ben, space=space)
    here.add_automation(document("coder", bound_block(1, github, GITHUB)), ben)
    rig.options = evolve(rig.options, connections="create", create_spaces=True, settings=True)
    if secrets:
        rig.secrets = {"Post": {name: Secret(value) for name, value in MAIL_VALUES.items()}}
    rig.backup()
    return rig
