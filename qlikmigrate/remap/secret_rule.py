"""What a text that people typed holds of secrets: where, and of which kind. What it is never leaves this module.

Tokens with a form of their own, credentials in headers and URLs, values of fields named like a secret. A formula is no
secret, it only says where one comes from; nor is a placeholder such as `<token>` or `XXXX`. Every rule is linear in the
text: a workspace may hold a string of half a megabyte. (Rejected: the library detect-secrets, see `docs/remap.md`.)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from bisect import bisect_right
from collections.abc import Collection, Iterator
from functools import lru_cache

from attrs import frozen

MASK = "***"


@frozen
class Secret:
    """`text[start:end]` is a secret; `kind` says in words what it looks like."""

    start: int
    end: int
    kind: str


_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
    r"(?:.*?-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|.*)"
    r"|PuTTY-User-Key-File-[23].*",
    re.S,
)
# Tokens with a beginning of their own. Source: each vendor's page on the form of its tokens.
_VENDORS = (
    ("JSON web token", r"\beyJ[\w-]{8,}+\.[\w-]{8,}+\.[\w-]{8,}"),
    ("Databricks token", r"\bdapi[0-9a-f]{32}(?:-\d+)?"),
    ("GitHub token", r"\bgithub_pat_\w{22,}|\bgh[pousr]_\w{30,}"),
    ("GitLab token", r"\bgl(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent|oas)-[\w-]{20,}|\bGR1348941[\w-]{20,}"),
    ("Google API key", r"\bAIza[\w-]{35}"),
    ("Google OAuth secret", r"\bGOCSPX-[\w-]{20,}|\bya29\.[\w-]{20,}"),
    ("Azure client secret", r"(?<![\w~.-])[\w~.-]{3}\dQ~[\w~.-]{31,34}"),
    ("Azure storage key", r"(?<=AccountKey=)[0-9A-Za-z+/]{86}=="),
    ("AWS key", r"\b(?:AKIA|ASIA|ABIA|ACCA|A3T[0-9A-Z])[0-9A-Z]{16}\b"),
    ("Slack token", r"\bxox[abeoprs](?:\.xox[bp])?-[\w-]{10,}|\bxapp-\d-[\w-]{10,}"),
    ("Stripe key", r"\b[rs]k_(?:live|test)_\w{16,}|\bwhsec_\w{16,}"),
    ("Square secret", r"\bsq0(?:csp|atp)-[\w-]{22,}"),
    ("SendGrid key", r"\bSG\.[\w-]{22}\.[\w-]{43}"),
    ("Twilio key", r"\b(?:AC|SK)[0-9a-f]{32}\b"),
    ("Telegram token", r"\b\d{8,10}:[\w-]{35}(?![\w-])"),
    ("Mailchimp key", r"\b[0-9a-f]{32}-us\d{1,2}\b"),
    ("npm token", r"\bnpm_[0-9A-Za-z]{36}|(?<=:_authToken=)[\w-]{36}"),
    ("PyPI token", r"\bpypi-AgE[\w-]{50,}"),
    ("OpenAI key", r"\bsk-(?:proj|svcacct|admin)-[\w-]{20,}|\bsk-[0-9A-Za-z]{40,}"),
    ("Anthropic key", r"\bsk-ant-[\w-]{20,}"),
    ("Hugging Face token", r"\bhf_[0-9A-Za-z]{30,}"),
    ("Atlassian token", r"\bATATT3[\w=-]{20,}"),
    ("DigitalOcean token", r"\bdo[opr]_v1_[0-9a-f]{64}"),
    ("Shopify token", r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    ("HashiCorp Vault token", r"\bhv[sbr]\.[\w-]{20,}"),
    ("Notion token", r"\b(?:ntn|secret)_[0-9A-Za-z]{40,}"),
    ("Postman key", r"\bPMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    ("Linear key", r"\blin_api_\w{30,}"),
    ("HubSpot token", r"\bpat-(?:na|eu)\d-[0-9a-f]{8}-[0-9a-f-]{27}"),
    ("web hook with its secret", r"https://hooks\.slack\.com/services/[\w/]{20,}"
     r"|https://[\w.-]+\.webhook\.office\.com/webhookb2/[\w@/-]{40,}"
     r"|https://discord(?:app)?\.com/api/webhooks/\d+/[\w-]{30,}"),
)  # fmt: skip
_VENDOR_TOKENS = re.compile("|".join(f"(?P<v{place}>{form})" for place, (_, form) in enumerate(_VENDORS)))

_BEARER = re.compile(r"\b(?:Bearer|Token|ApiKey|Splunk|SSWS|GenieKey)\s+([\w.~+/-]{16,}=*)", re.I)
_BASIC = re.compile(r"\bBasic\s+([0-9A-Za-z+/_-]{8,}={0,2})", re.I)
_IN_URL = re.compile(r"(?<=://)([^\s/:@\"'\\<>{}?#]*):([^\s/@\"'\\<>{}]{3,})@")
_STRONG = (
    r"pass[-_ ]?w(?:or)?d|passwort|kennwort|passphrase|pwd|secret|credentials?"
    r"|(?:api|private|access|account|subscription|signing|encryption|master|function|license|shared[-_ ]?access|shared)"
    r"[-_ ]?key"
    r"|(?:execution|access|auth|authentication|refresh|bearer|api|personal|session|sas|security|bot|user|oauth|service"
    r"|databricks|github|gitlab|slack|qlik)[-_ ]?token|\bpat\b|apikey|authorization"
)
_WEAK = r"token|\bkey|cookie|signature|\bsig|\bcode"
_TAIL = r"(?:[-_ ]?(?:value|text|string|literal|prod|production|dev|test|qa|live|main|new|old|\d))*\s*(?:\([^()]*\))?"
_STRONG_NAME = re.compile(rf"(?:{_STRONG}){_TAIL}\Z", re.I)
_WEAK_NAME = re.compile(rf"(?:{_WEAK}){_TAIL}\Z", re.I)
# What may follow the name of a field: `"password": "…"` and `token = '…'`, also within JSON inside a string, where
# quotes have backslashes; `&token=…` in a URL; `Password=…;` in a connection string.
_QUOTED = re.compile(
    r"""\w{0,30}(?:\\{0,8}["'])?\]?\s{0,4}(?:=>|:=|==?|:)\s{0,4}(?:[rbuf](?=["']))?(\\{0,8}["'])([^"'\\\s]{6,})\1""",
    re.I,
)
_QUERY = re.compile(r"[\w.-]{0,30}=([^&\s\"'\\<>{}#]{8,})")
_PAIR = re.compile(r"\w{0,30}\s?=\s?([^;\s\"'\\<>{}()\[\]]{4,})(?=[;\"'\\\s]|\Z)")
# A field and its name in a text: `"key": "password", "value": "…"`.
_NAMED_FIELD = re.compile(
    r"""(\\*")(?:key|name|id|label)\1\s*:\s*\1([^"\\]{2,60})\1\s*,\s*\1value\1\s*:\s*\1([^"\\\s]{6,})\1"""
)
_FORMULA = re.compile(r"\{\s*[$!a-zA-Z_]|\$\{|%[A-Z_]+%|@@\w+@@|<[^<>]+>")
_PLACEHOLDER = re.compile(
    r"x+[-_x]*|[*.•-]+|(?:your|my|some|the|enter|insert|change|replace|add)[-_ ]?\w*[-_ ]?\w*"
    r"|(?:not)?(?:set|null|none|empty|undefined|true|false|required|optional|hidden|redacted|masked|placeholder|todo)+"
    r"|string|text|bearer|basic|oauth2?|client_credentials|authorization_code|refresh_token|environment|default|example",
    re.I,
)
_WORD = re.compile(r"[A-Za-z]+(?:[-_. ][A-Za-z]+)*")
_SAYS_SO = re.compile(r"pass|secret|token|key|auth|credential|pwd|name|field|value|param|header|bearer|type|user", re.I)
_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# How long an execution token may be. Observed: 64; wider, because no page says so.
TOKEN_SIZES = (16, 200)
_TOKEN_RUN = re.compile(r"(?<![0-9A-Za-z_-])[0-9A-Za-z_-]{16,200}(?![0-9A-Za-z_-])")


# Words that go with secrets, in lower case. Those of names come first; a text without any has no secret but one whose
# field is named like one.
NAME_WORDS = (
    "passw", "pass word", "passphrase", "kennwort", "pwd", "secret", "credential", "token", "apikey", "api key",
    "api_key", "api-key", "private key", "private_key", "privatekey", "accesskey", "access key", "access_key",
    "access-key", "accountkey", "account key", "account_key", "subscription-key", "subscription_key",
    "subscriptionkey", "subscription key", "signingkey", "signing_key", "signing key", "encryptionkey",
    "encryption_key", "encryption key", "masterkey", "master_key", "functionkey", "function_key", "licensekey",
    "license_key", "license key", "sharedkey", "shared_key", "authorization", "signature", "sig=", "code=",
)  # fmt: skip
_VENDOR_WORDS = (
    "dapi", "github_pat_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "glpat-", "gldt-", "glft-", "glrt-", "glsoat-",
    "glcbt-", "glimt-", "glptt-", "glagent-", "gloas-", "gr1348941", "aiza", "gocspx-", "ya29.", "q~",
    "akia", "asia", "abia", "acca", "a3t", "accountkey=",
    "xox", "xapp-", "k_live_", "k_test_", "whsec_", "npm_", "_authtoken", "sk-", "hf_", "atatt3", "_v1_", "shpat_",
    "shpca_", "shppa_", "shpss_", "hvs.", "hvb.", "hvr.", "ntn_", "secret_", "pmak-", "lin_api_", "pat-na", "pat-eu",
    "hooks.slack.com", "webhook.office.com", "api/webhooks/", "sg.", "sq0csp-", "sq0atp-", "pypi-age", "eyj",
)  # fmt: skip
_HEADER_WORDS = ("bearer", "basic", "splunk", "ssws", "geniekey", "apikey", "token")
_KEY_WORDS = ("private key", "putty-user-key")
WORDS = tuple(dict.fromkeys((*NAME_WORDS, *_VENDOR_WORDS, *_HEADER_WORDS, *_KEY_WORDS)))
# Forms without any word: Twilio, Telegram and Mailchimp.
_SHAPES = re.compile(r"(?:AC|SK)[0-9a-f]{32}|\d{8,10}:[\w-]{35}|[0-9a-z]{32}-us[0-9]{1,2}")
_LONGEST_NAME = 60


def secrets_of(
    text: str, name: str = "", known_hashes: Collection[str] = (), words: Collection[str] = WORDS
) -> list[Secret]:
    """The secrets in `text`, left to right, without overlaps; of two that meet, the one that a surer rule found.

    `name`: what the field calls it. `known_hashes`: SHA-256, in hex, of execution tokens. `words`: those of `WORDS`
    that `text` may hold.
    """
    if len(text) < 6:
        return []
    starts: list[int] = []
    found: list[Secret] = []
    for secret in _candidates(text, name[-_LONGEST_NAME:], known_hashes, words):
        place = bisect_right(starts, secret.start)
        is_free = place == 0 or found[place - 1].end <= secret.start
        if is_free and (place == len(found) or secret.end <= found[place].start):
            starts.insert(place, secret.start)
            found.insert(place, secret)
    return found


def mask(text: str, name: str = "", known_hashes: Collection[str] = ()) -> str:
    """`text` with its secrets made unreadable: for everything that is shown. The rest as in `secrets_of`."""
    parts = []
    done = 0
    for one in secrets_of(text, name, known_hashes):
        parts += [text[done : one.start], MASK]
        done = one.end
    return "".join([*parts, text[done:]]) if parts else text


def _candidates(text: str, name: str, known_hashes: Collection[str], words: Collection[str]) -> Iterator[Secret]:
    if known_hashes:
        yield from _known(text, known_hashes)
    low = text.lower()
    here = {word for word in words if word in low}
    if len(low) != len(text):
        # A few letters have longer small ones; ours are ASCII.
        low = re.sub(r"[A-Z]+", lambda match: match[0].lower(), text)
    if not here.isdisjoint(_KEY_WORDS):
        yield from (Secret(*one.span(), "private key") for one in _PRIVATE_KEY.finditer(text))
    if not here.isdisjoint(_VENDOR_WORDS) or (len(text) >= 34 and _SHAPES.search(text)):
        for match in _VENDOR_TOKENS.finditer(text):
            yield Secret(*match.span(), _VENDORS[int((match.lastgroup or "v0")[1:])][0])
    if not here.isdisjoint(_HEADER_WORDS):
        yield from _in_header(text)
    if "@" in text and "://" in text:
        for match in _IN_URL.finditer(text):
            if not match[2].isdigit() and not _is_placeholder(match[2]):
                yield Secret(*match.span(2), "password in a URL")
    named = [word for word in NAME_WORDS if word in here]
    if named:
        yield from _named(text, low, named)
    if name and (kind := _kind_by_name(name, text.strip())):
        yield Secret(0, len(text), kind)


def _in_header(text: str) -> Iterator[Secret]:
    for match in _BASIC.finditer(text):
        if _is_user_and_password(match[1]):
            yield Secret(*match.span(1), "`Basic` credentials")
    for match in _BEARER.finditer(text):
        if _is_random(match[1]):
            yield Secret(*match.span(1), "`Bearer` token")


def _named(text: str, low: str, words: Collection[str]) -> Iterator[Secret]:
    """Values that stand beside a name in the text itself: in a URL, in source code, in JSON, in a connection string."""
    for word in words:
        at = low.find(word)
        while at >= 0:
            end = at + len(word)
            matches = list(_beside(text, at, end - word.endswith("=")))
            yield from (secret for secret, _ in matches if secret)
            # What was taken for a value is not searched once more, or a long one would be again and again.
            at = low.find(word, max([end, *(stop for _, stop in matches)]))
    if "value" in low and ('"' in text):
        for match in _NAMED_FIELD.finditer(text):
            if kind := _kind_by_name(match[2], match[3]):
                yield Secret(*match.span(3), kind)


def _beside(text: str, start: int, end: int) -> Iterator[tuple[Secret | None, int]]:
    """The values beside the name around `text[start:end]`: a secret or not, and where each ends."""
    first = start
    while first > 0 and start - first < _LONGEST_NAME and (text[first - 1].isalnum() or text[first - 1] in "_.-"):
        first -= 1
    if first and text[first - 1] in "?&;" and (match := _QUERY.match(text, end)):
        name = text[first : match.start(1) - 1]
        is_secret = _is_literal(match[1]) if _strength(name) == 2 else _is_random(match[1])
        kind = "execution token" if "execution" in name.lower() else "token in a URL"
        yield Secret(*match.span(1), kind) if is_secret else None, match.end(1)
    if match := _QUOTED.match(text, end):
        kind = _kind_by_name(_name_at(text, first, end), match[2])
        yield Secret(*match.span(2), kind) if kind else None, match.end(2)
    match = _PAIR.match(text, end) if ";" in text else None
    if match:
        is_secret = _strength(_name_at(text, first, end)) == 2 and _is_literal(match[1])
        yield Secret(*match.span(1), "password in a connection string") if is_secret else None, match.end(1)


def _name_at(text: str, first: int, end: int) -> str:
    last = end
    while last < len(text) and last - end < _LONGEST_NAME and (text[last].isalnum() or text[last] == "_"):
        last += 1
    return text[first:last]


def _known(text: str, known_hashes: Collection[str]) -> Iterator[Secret]:
    for match in _TOKEN_RUN.finditer(text):
        if not _GUID.fullmatch(match[0]) and hashlib.sha256(match[0].encode()).hexdigest() in known_hashes:
            yield Secret(*match.span(), "execution token of an automation")


@lru_cache(maxsize=4096)
def _strength(name: str) -> int:
    """2 for names of secrets, 1 for what may be one, 0 for all others."""
    return 2 if _STRONG_NAME.search(name) else int(_WEAK_NAME.search(name) is not None)


def _kind_by_name(name: str, value: str) -> str:
    """What `value` is if `name` says what it is called; empty for no secret."""
    strength = _strength(name)
    if strength == 2:
        if name.lower().startswith("authorization") and not _is_random(value):
            return ""
        if _is_literal(value):
            return "execution token" if "execution" in name.lower() else "value of a field named like a secret"
    elif strength == 1 and len(value) >= 20 and _is_random(value) and not _GUID.fullmatch(value):
        return "value of a field named like a token"
    return ""


def _is_literal(value: str) -> bool:
    """Whether the value of what is called a secret is one: no formula, placeholder, link or other name for it."""
    if len(value) < 6 or any(char.isspace() for char in value) or _FORMULA.search(value) or _is_placeholder(value):
        return False
    if value.startswith(("$", "http://", "https://", "lib://", "/", "{", "[")):
        return False
    return not (_WORD.fullmatch(value) and _SAYS_SO.search(value))


def _is_random(value: str) -> bool:
    """Whether a word is none of a language: long, letters and digits mixed."""
    return (
        len(value) >= 16
        and _is_literal(value)
        and any(char.isdigit() for char in value)
        and any(char.isalpha() for char in value)
        and "://" not in value
        and value.count("/") < 4
    )


def _is_placeholder(value: str) -> bool:
    return len(set(value)) == 1 or (len(value) <= _LONGEST_NAME and _PLACEHOLDER.fullmatch(value) is not None)


def _is_user_and_password(value: str) -> bool:
    try:
        plain = base64.b64decode(
            value + "=" * (-len(value) % 4), altchars=b"-_" if "-" in value or "_" in value else None
        )
        user, colon, password = plain.decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        return False
    return bool(colon and (user or password)) and (user + password).isprintable()
