"""Made-up secrets of many kinds, as people leave them in workspaces. All are drawn with a fixed seed: none is real."""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen
from remap_tenants import block

_ALNUM = string.ascii_letters + string.digits
_HEX = "0123456789abcdef"
_Maker = Callable[[str], dict[str, Any]]


@frozen
class Planted:
    """A secret, what kind it is of, and a block that holds it."""

    kind: str
    value: str
    block: dict[str, Any]


def variable(name: str, value: str) -> dict[str, Any]:
    """A variable that is set to `value`."""
    operation = {"id": "set_value", "key": "4C1F", "name": "Set value of { variable }", "value": value}
    return block("VariableBlock", name=name, variableGuid="9A1B", inputs=[], settings=[], operations=[operation])


def call_url(url: str, headers: list[dict[str, str]] | None = None, body: str = "") -> dict[str, Any]:
    """A block that calls a URL."""
    inputs = [
        {"id": "url", "value": url, "type": "string", "structure": []},
        {"id": "headers", "value": headers or [], "type": "object", "mode": "keyValue", "structure": []},
        {"id": "body", "value": body, "type": "longtext", "structure": []},
    ]
    return block("CallUrlBlock", name="callURL", inputs=inputs, settings=[])


def header(key: str, value: str) -> dict[str, Any]:
    """A call with one header."""
    return call_url("https://api.example.com/v1/orders", [{"key": key, "value": value}])


def code(text: str) -> dict[str, Any]:
    """A custom code block."""
    return block("CustomCodeBlock3", name="customCode", inputs=[{"id": "code", "value": text, "type": "code"}])


def text(value: str) -> dict[str, Any]:
    """An output."""
    return block("ShowBlock", name="output", inputs=[{"id": "input", "value": value, "type": "string"}])


def nested(inner: dict[str, Any]) -> dict[str, Any]:
    """A workspace inside a string, with formulas outside quotes."""
    body = json.dumps({"workspace": {"blocks": [inner]}})[:-1] + ', "interval": {map: {$.x}, {"1": "2"}}}'
    return block(name="rawAPIRequest", inputs=[{"id": "7c28a2d0", "value": body, "type": "object", "mode": "raw"}])


def secrets(seed: int = 20) -> list[Planted]:
    """All of them."""
    return list(_draw(random.Random(seed)))


def _draw(chance: random.Random) -> Iterator[Planted]:
    def word(size: int, letters: str = _ALNUM) -> str:
        # A digit and a letter are in every word that is drawn from both.
        last = "7" if letters == string.digits else next(one for one in "aA" if one in letters) + "7"
        return "".join(chance.choice(letters) for _ in range(size - len(last))) + last

    def encoded(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    def plant(kind: str, value: str, *makers: _Maker) -> Iterator[Planted]:
        for make in makers:
            yield Planted(kind, value, make(value))

    lower = string.ascii_lowercase + string.digits
    upper = string.ascii_uppercase + string.digits

    jwt = (
        f"{encoded({'alg': 'ES384', 'typ': 'JWT', 'kid': word(20)})}.{encoded({'sub': word(12), 'iat': 1})}.{word(96)}"
    )
    yield from plant(
        "JSON web token", jwt,
        lambda v: variable("vApi", v), lambda v: header("Authorization", f"Bearer {v}"),
        lambda v: code(f"headers = {{'Authorization': 'Bearer {v}'}}\n"), lambda v: text(f"used: {v}."),
        lambda v: nested(header("Authorization", f"Bearer {v}")),
    )  # fmt: skip

    for size in (32, 40, 64):
        yield from plant(
            "bearer header", word(size),
            lambda v: header("Authorization", f"Bearer {v}"), lambda v: code(f'h = {{"Authorization": "bearer {v}"}}'),
        )  # fmt: skip
    yield from plant("bearer header", word(48), lambda v: nested(header("Authorization", f"Bearer {v}")))

    for user, password in (("svc-qlik", word(12)), ("anna@acme.example", "Vår7 i luften!"), ("api", "")):
        basic = base64.b64encode(f"{user}:{password or word(20)}".encode()).decode()
        yield from plant(
            "basic header",
            basic,
            lambda v: header("Authorization", f"Basic {v}"),
            lambda v: variable("auth", f"Basic {v}"),
        )
    yield from plant("basic header", base64.b64encode(b"robot:" + word(9).encode()).decode(),
                     lambda v: nested(header("Authorization", f"Basic {v}")))  # fmt: skip

    execution = word(64)
    run = "https://acme.eu.qlikcloud.com/api/v1/automations/1ef6ce10-5b4c-11ee-a5c2-c11b1d1f0a2a/actions/execute"
    yield from plant(
        "execute URL", execution,
        lambda v: call_url(f"{run}?X-Execution-Token={v}"), lambda v: header("X-Execution-Token", v),
        lambda v: text(f"curl -X POST {run}?run_mode=queued&X-Execution-Token={v}"),
        lambda v: code(f"r = requests.post(url, headers={{'x-execution-token': '{v}'}})"),
        lambda v: nested(call_url(f"{run}?X-Execution-Token={v}")),
    )  # fmt: skip

    for kind in ("", "RSA ", "EC ", "OPENSSH "):
        lines = "\n".join(word(64, _ALNUM + "+/") for _ in range(6))
        key = f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"
        yield from plant("private key", key, lambda v: variable("certificate", v))
    key = f"-----BEGIN PRIVATE KEY-----\\n{word(64)}\\n-----END PRIVATE KEY-----\\n"
    yield from plant("private key", key, lambda v: code(f'KEY = "{v}"'))

    yield from plant("AWS key", "AKIA" + word(16, upper), lambda v: variable("awsId", v), lambda v: code(f"k='{v}'"))
    yield from plant(
        "AWS key", word(40, _ALNUM + "+/"),
        lambda v: variable("aws_secret_access_key", v), lambda v: code(f'aws_secret_access_key = "{v}"'),
    )  # fmt: skip

    yield from plant("Azure key", word(86, _ALNUM + "+/") + "==", lambda v: text(
        f"DefaultEndpointsProtocol=https;AccountName=acme;AccountKey={v};EndpointSuffix=core.windows.net"
    ))  # fmt: skip
    yield from plant("Azure key", f"{word(3)}8Q~{word(34)}", lambda v: variable("Client", v), lambda v: text(v))
    yield from plant("Azure key", word(43) + "%3D", lambda v: call_url(
        f"https://acme.blob.core.windows.net/in?sv=2022-11-02&se=2030-01-01&sig={v}"
    ))  # fmt: skip

    yield from plant("Databricks token", "dapi" + word(32, _HEX), lambda v: variable("vDb", v),
                     lambda v: header("Authorization", f"Bearer {v}"), lambda v: code(f"token = '{v}-2'"))  # fmt: skip
    yield from plant("GitHub token", "ghp_" + word(36), lambda v: variable("pat", v), lambda v: text(f"git: {v}"))
    yield from plant("GitHub token", "github_pat_" + word(22) + "_" + word(59), lambda v: header("Authorization", v))
    yield from plant("GitLab token", "glpat-" + word(20), lambda v: header("PRIVATE-TOKEN", v))
    yield from plant("Slack token", f"xoxb-{word(12, string.digits)}-{word(24, lower)}", lambda v: variable("slack", v))
    hook = f"https://hooks.slack.com/services/T{word(8, upper)}/B{word(8, upper)}/{word(24)}"
    yield from plant("Slack token", hook, call_url)
    yield from plant("Google key", "AIza" + word(35), lambda v: call_url(f"https://maps.example.com/api?key={v}"))
    yield from plant("Stripe key", "sk_live_" + word(24), lambda v: header("Authorization", f"Bearer {v}"))
    yield from plant("SendGrid key", f"SG.{word(22)}.{word(43)}", lambda v: variable("mailer", v))
    yield from plant("OpenAI key", "sk-proj-" + word(60), lambda v: header("Authorization", f"Bearer {v}"))
    yield from plant("Telegram token", f"{word(10, string.digits)}:{word(35)}",
                     lambda v: call_url(f"https://api.telegram.org/bot/{v}/sendMessage"))  # fmt: skip
    yield from plant("npm token", "npm_" + word(36), lambda v: text(f"//registry.npmjs.org/:_authToken={v}"))

    for name in ("password", "vPassword", "Mail password (prod)", "db_pwd", "passphrase", "SMTP_PASSWORD_1"):
        yield from plant("password", word(12) + "!", lambda v, name=name: variable(name, v))
    yield from plant(
        "password", word(10) + "#x",
        lambda v: text(json.dumps({"username": "svc", "password": v})), lambda v: code(f"password = '{v}'\nlogin()"),
        lambda v: nested(variable("x", json.dumps({"password": v}))), lambda v: header("password", v),
        lambda v: call_url("https://api.example.com", body=f"grant_type=password&username=u&password={v}"),
    )  # fmt: skip

    for name in (
        "clientSecret",
        "client_secret",
        "IdP client secret",
        "api_key",
        "x-api-key",
        "ApiKey",
        "Access token",
    ):
        yield from plant("key by name", word(36), lambda v, name=name: header(name, v))
    yield from plant(
        "key by name", word(32, _HEX),
        lambda v: call_url(f"https://api.example.com/v1?apikey={v}"), lambda v: variable("vApiKey", v),
        lambda v: call_url("https://api.example.com", body=json.dumps({"client_id": "q", "client_secret": v})),
        lambda v: code(f'const token = "{v}";'), lambda v: nested(header("x-api-key", v)),
    )  # fmt: skip

    yield from plant(
        "connection string", word(14) + "$",
        lambda v: text(f"Server=tcp:db.acme.example,1433;Database=dw;User ID=etl;Password={v};Encrypt=True;"),
        lambda v: code(f'c = pyodbc.connect("DRIVER={{x}};SERVER=db;UID=etl;PWD={v}")'),
        lambda v: variable("dsn", f"postgresql://etl:{v}@db.acme.example:5432/dw"),
        lambda v: text(f"mongodb+srv://etl:{v}@cluster0.acme.example/?retryWrites=true"),
        lambda v: call_url(f"https://etl:{v}@files.acme.example/in"),
    )  # fmt: skip
    yield from plant("connection string", word(43) + "=", lambda v: text(
        f"Endpoint=sb://acme.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey={v}"
    ))  # fmt: skip
