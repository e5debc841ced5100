"""Contexts of qlik-cli, read and never written, so that a reader needs no second copy of a secret.

Source: qlik-cli documentation of contexts: `contexts.yml` in `~/.qlik` or in `$QLIK_CLI_USER_HOME_DIR`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.secret import Secret

PREFIX = "qlik-cli:"


def read_context(name: str, environ: Mapping[str, str]) -> tuple[str, Secret, Path]:
    """The server and the bearer key of context `name`, and the file they are in.

    Raises:
        UsageError: no such file or context, or the context holds no API key.
    """
    import yaml

    home = environ.get("QLIK_CLI_USER_HOME_DIR")
    path = (Path(home) if home else Path(environ.get("HOME", "~")).expanduser()) / ".qlik" / "contexts.yml"
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"cannot read the contexts of qlik-cli: {path}: {error.strerror}", hint="`qlik context init` makes one"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise UsageError(f"the contexts of qlik-cli are no YAML: {path}", hint="`qlik context ls` reads it") from None
    contexts = content.get("contexts") if isinstance(content, Mapping) else None
    if not isinstance(contexts, Mapping):
        contexts = content if isinstance(content, Mapping) else {}
    context = contexts.get(name)
    if not isinstance(context, Mapping):
        known = ", ".join(sorted(str(key) for key, value in contexts.items() if isinstance(value, Mapping)))
        raise UsageError(f"no qlik-cli context `{name}` in {path}", hint=f"known: {known}" if known else "")
    server, headers = context.get("server"), context.get("headers")
    named: Mapping[Any, Any] = headers if isinstance(headers, Mapping) else {}
    bearer = next((value for key, value in named.items() if str(key).lower() == "authorization"), None)
    if not isinstance(server, str) or not isinstance(bearer, str) or not bearer.lower().startswith("bearer "):
        raise UsageError(
            f"qlik-cli context `{name}` holds no server with an API key",
            hint=f"qlik context create {name} --server URL --api-key KEY",
        )
    return server, Secret(bearer[len("bearer ") :].strip()), path
