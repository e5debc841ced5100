"""A clone to many, told: a line for each target, and all of them as a grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qlikmigrate.importer.fleet import Ending, Fleet, Standing
from qlikmigrate.report.run import cell

# Nothing is told of what comes to nothing.
_KINDS = {"automations": "", "connections": " connections", "spaces": " spaces"}


def ending_row(name: str, ending: Ending, run: str) -> dict[str, Any]:
    """One target for machines."""
    return {
        "kind": "target",
        "target": name,
        "status": ending.standing.value,
        "code": ending.code,
        "reason": ending.reason,
        "counts": {kind: dict(counts) for kind, counts in ending.counts.items()},
        "seconds": ending.seconds,
        "run": run or None,
        **({"install_windows": windows} if (windows := window_figures([ending])) else {}),
    }


def window_figures(endings: Iterable[Ending]) -> dict[str, Any]:
    """How many automations were installed in accounts, and for how long one may have been on; nothing without any."""
    found = [one for one in endings if one.windows]
    if not found:
        return {}
    return {"count": sum(one.windows for one in found), "longest_s": max(one.longest_window_s for one in found)}


def window_line(endings: Iterable[Ending]) -> str:
    """The same for people."""
    figures = window_figures(endings)
    if not figures:
        return ""
    return f"{figures['count']} installed; on for at most {figures['longest_s']:.3f} s before they were switched off"


def ending_line(name: str, ending: Ending, *, width: int = 0) -> str:
    """One target for people."""
    told = "; ".join(filter(None, (_reason(ending), _numbers(ending))))
    return f"{ending.standing.value:<11}  {name:<{width}}  {told}".rstrip()


def grid_lines(fleet: Fleet) -> list[str]:
    """Every target in the order of the table."""
    width = max(map(len, fleet.endings), default=0)
    return [ending_line(name, ending, width=width) for name, ending in fleet.endings.items()]


def grid_markdown(fleet: Fleet, *, source: str) -> str:
    """The same as a page. `source`: what was cloned."""
    lines = [
        f"# Clone of `{source}` to {len(fleet.endings)} targets",
        "",
        ", ".join(f"{number} {word}" for word, number in target_counts(fleet).items() if number),
        *(["", told] if (told := window_line(fleet.endings.values())) else []),
        "",
        "| target | status | code | automations | reason |",
        "|---|---|---|---|---|",
    ]
    for name, one in fleet.endings.items():
        code = f"`{one.code}`" if one.code else ""
        lines.append(f"| {cell(name)} | {one.standing.value} | {code} | {_numbers(one)} | {cell(one.reason)} |")
    return "\n".join(lines) + "\n"


def target_counts(fleet: Fleet) -> dict[str, int]:
    """Targets by how they stand; `selected` is their sum."""
    words = (Standing.DONE, Standing.PLANNED, Standing.FAILED, Standing.REFUSED, Standing.STOPPED, Standing.NOT_STARTED)
    counts = {word.value.replace("-", "_"): fleet.left(word) for word in words}
    if not counts["planned"]:
        del counts["planned"]
    return {"selected": len(fleet.endings), **counts}


def _reason(ending: Ending) -> str:
    return f"{ending.reason} [{ending.code}]" if ending.reason and ending.code else ending.reason or ending.code


def _numbers(ending: Ending) -> str:
    told = [
        f"{number} {word}{suffix}"
        for kind, suffix in _KINDS.items()
        for word, number in _of(ending.counts, kind).items()
        if number and word != "selected"
    ]
    return ", ".join(told)


def _of(counts: Mapping[str, Mapping[str, int]], kind: str) -> Mapping[str, int]:
    return counts.get(kind, {})
