"""Workspaces written block by block, in the spelling of Qlik's editor: upper-case ids, `{}` and empty comments.

Source: Qlik's published workspace schema, and public workspaces for the shapes of blocks.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from typing import Any

from qlikmigrate.sandbox import catalogue
from qlikmigrate.sandbox.catalogue import QLIK_CLOUD_SERVICES


class Draft:
    """A workspace in the making. Blocks follow one another in the order in which they are added."""

    def __init__(self, seed: str) -> None:
        self._chance = random.Random(seed)
        self._blocks: list[dict[str, Any]] = []
        self._variables: list[dict[str, str]] = []
        self._start("manual")

    def _guid(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4)).upper()

    def _add(self, kind: str, name: str, title: str, **members: Any) -> dict[str, Any]:
        block = {
            "id": self._guid(),
            "type": kind,
            "disabled": False,
            "name": name,
            "displayName": title,
            "comment": "",
            "childId": None,
            "inputs": [],
            "settings": [],
            "collapsed": [{"name": "loop", "isCollapsed": False}],
            "x": 0,
            "y": 120 * len(self._blocks),
        } | members
        if self._blocks:
            self._blocks[-1]["childId"] = block["id"]
        self._blocks.append(block)
        return block

    def _start(self, mode: str) -> None:
        self._add("StartBlock", "Start", "Start", inputs=[_input("run_mode", mode, "select")])

    def starts(self, mode: str) -> Draft:
        """Say how it starts: manual, scheduled, triggered."""
        self._blocks[0]["inputs"][0]["value"] = mode
        return self

    def on_event(self, event: str, *, connector: str = QLIK_CLOUD_SERVICES, where: Mapping[str, str] = {}) -> Draft:
        """Start on a webhook event; `where`: filter id → the object's id, with its label after a bar."""
        inputs = [
            _input("run_mode", "webhook", "select"),
            _input("datasourcetype_guid", connector, "select"),
            _input("webhook_event_guid", event, "select"),
        ]
        for filter_id, text in where.items():
            ident, _, label = text.partition("|")
            one = _input(f"webhook_param_{filter_id}", "", "select")
            inputs.append(one | {"lookupValues": {ident: f"{label} ({ident})"}})
        inputs.append(_input("test_payload", '{"data": {"id": "example_aaaaaaaaaaaaaaaaaaaaaaaa"}}', "json"))
        self._blocks[0] |= {"inputs": inputs, "logo": "https://cdn.qlikcloud.com/automations/logos/start.png"}
        return self

    def endpoint(
        self,
        connector: str,
        endpoint: str,
        title: str,
        values: Mapping[str, Any],
        *,
        connection: str | None = None,
        bound: bool = False,
        disabled: bool = False,
    ) -> Draft:
        """Call an endpoint. `values`: input id → value; `value|label` gives it a label. `bound` writes the binding."""
        settings = [_input("maxitemcount", "", "string"), _input("blendr_on_error", "stop", "select")]
        if bound or connection is not None:
            settings.insert(0, _input("datasource", connection, "select"))
        self._add(
            "EndpointBlock",
            title.replace(" ", "")[:1].lower() + title.replace(" ", "")[1:] + str(len(self._blocks)),
            title,
            inputs=[_labelled(key, value) for key, value in values.items()],
            settings=settings,
            disabled=disabled,
            datasourcetype_guid=connector,
            endpoint_guid=endpoint,
            endpoint_role="list",
        )
        return self

    def reload(self, app_id: str, label: str) -> Draft:
        """Reload an app."""
        self._add(
            "SnippetBlock",
            f"doReload{len(self._blocks)}",
            "Qlik Cloud Services - Do Reload",
            inputs=[
                _labelled("29603390-e716-11ea-9e37-05e08ee32111", f"{app_id}|{label}"),
                _input("2ac9eef0-a677-11eb-aacc-8b755d0fe484", "Wait for reload to complete", "select"),
            ],
            settings=[_input("blendr_on_error", "stop", "select")],
            datasourcetype_guid=QLIK_CLOUD_SERVICES,
            snippet_guid="b5dbb7a0-e715-11ea-b2bf-43bb35adee19",
        )
        return self

    def mail(self, connection: str | None, to: str, subject: str) -> Draft:
        """Send a mail."""
        values = {
            "442845a0-cd00-11eb-9aa5-b966a68573b7": to,
            "5cbdb1d0-cd00-11eb-8afd-ddd4ecc002ac": subject,
            "72cad1e0-cd00-11eb-aa1b-3f42c1d22e38": "<style>p {color: #444}</style><p>{$.Start.now}</p>",
        }
        return self.endpoint(
            catalogue.MAIL, "84a79bf0-ccff-11eb-a508-7d415a725ea7", "Mail - Send Mail", values,
            connection=connection, bound=True,
        )  # fmt: skip

    def calls(self, automation_id: str | None, label: str, *, disabled: bool = False) -> Draft:
        """Call another automation."""
        one = _input("guid", automation_id, "api-search") | {"displayValue": label}
        self._add(
            "CallWidgetBlock",
            f"callAutomation{len(self._blocks)}",
            f"Call Automation - {label}",
            inputs=[one, _input("inputs", None, "object") | {"mode": "keyValue"}],
            disabled=disabled,
        )
        return self

    def variable(self, name: str, value: Any, *, kind: str = "string") -> Draft:
        """Set a variable."""
        guid = self._guid()
        self._variables.append({"guid": guid, "name": name, "type": kind})
        operation = {"id": "set_value", "key": self._guid(), "name": "Set value of { variable }", "value": value}
        self._add("VariableBlock", name, f"Variable - {name}", variableGuid=guid, operations=[operation])
        return self

    def asks(self, url: str, headers: Mapping[str, str]) -> Draft:
        """Call a URL."""
        pairs = [{"key": key, "value": value} for key, value in headers.items()]
        self._add(
            "CallUrlBlock",
            f"callUrl{len(self._blocks)}",
            "Call URL",
            inputs=[
                _input("url", url, "string"),
                _input("method", "POST", "select"),
                _input("headers", pairs, "object") | {"mode": "keyValue"},
            ],
        )
        return self

    def code(self, text: str) -> Draft:
        """Run code."""
        self._add(
            "CustomCodeBlock3", f"customCode{len(self._blocks)}", "Custom Code", inputs=[_input("code", text, "code")]
        )
        return self

    def shows(self, text: str) -> Draft:
        """Show an output."""
        self._add(
            "ShowBlock",
            f"output{len(self._blocks)}",
            "Output",
            inputs=[_input("input", text, "longtext")],
            settings=[_input("display_mode", "add", "select")],
        )
        return self

    def workspace(self) -> dict[str, Any]:
        """What was written."""
        return {"blocks": self._blocks, "variables": self._variables}


def _input(ident: str, value: Any, kind: str) -> dict[str, Any]:
    return {"id": ident, "value": value, "type": kind, "structure": {}}


def _labelled(ident: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str) and "|" in value and not value.startswith("{"):
        plain, _, label = value.partition("|")
        return _input(ident, plain, "string") | {"displayValue": f"{label} ({plain})"}
    if isinstance(value, str) and value.startswith("{") and value.endswith("}") and '"' in value:
        return _input(ident, value, "object") | {"mode": "raw"}
    return _input(ident, value, "string")
