"""How long after an install its blend could start: the windows, what started in them, and what was armed outside."""

from __future__ import annotations

from datetime import datetime

from attrs import define, frozen

from qlikmigrate.sandbox.mint import stamp
from qlikmigrate.sandbox.oem.realm import OemRealm
from qlikmigrate.sandbox.oem.record import Blend, Run
from qlikmigrate.sandbox.shelf import ArmedSighting


@frozen
class InstallWindow:
    """From the commit of an install until its blend, of a bundle each child, was disabled; `end` None: it never was."""

    account: str
    blend: str
    template: str
    start: datetime
    end: datetime | None

    @property
    def seconds(self) -> float | None:
        """How long it was open."""
        return None if self.end is None else (self.end - self.start).total_seconds()


@frozen
class WindowRun:
    """A run that started within a window. `blend`: what ran; `window`: the installed blend or bundle."""

    window: str
    blend: str
    run: str
    context: str
    at: datetime


@define
class _Window:
    account: str
    blend: str
    template: str
    start: datetime
    end: datetime | None = None


class Windows:
    """The windows of a provider."""

    def __init__(self, realm: OemRealm) -> None:
        self._realm = realm
        self._all: list[_Window] = []
        self._open: dict[str, _Window] = {}
        self._watched: set[str] = set()
        self._watches_all = False
        self.runs: list[WindowRun] = []
        self.sightings: list[ArmedSighting] = []

    @property
    def windows(self) -> list[InstallWindow]:
        """All of them, oldest first."""
        return [InstallWindow(one.account, one.blend, one.template, one.start, one.end) for one in self._all]

    def watch(self, accounts: tuple[str, ...]) -> None:
        """Look at these accounts from now on; at all, those to come included, when none is named."""
        self._watched.update(accounts)
        self._watches_all = self._watches_all or not accounts

    def opened(self, blend: Blend) -> None:
        """A blend was installed."""
        if blend.guid not in self._open:
            made = _Window(blend.account.guid, blend.guid, blend.template or "", self._realm.now())
            self._all.append(made)
            self._open[blend.guid] = made

    def changed(self, blend: Blend, how: str) -> None:
        """State or schedule of a blend was written, and it was reckoned when it is due."""
        window = self._open.get(blend.top.guid)
        if window is not None and all(one.state == "disabled" for one in blend.top.leaves()):
            window.end = self._realm.now()
            del self._open[blend.top.guid]
        is_watched = self._watches_all or blend.account.guid in self._watched
        if is_watched and blend.top.guid not in self._open and blend.due is not None:
            self.sightings.append(ArmedSighting(blend.guid, stamp(self._realm.now()), how))

    def started(self, run: Run, at: datetime) -> None:
        """A run started."""
        top = run.blend.top.guid
        if top in self._open:
            self.runs.append(WindowRun(top, run.blend.guid, run.guid, run.context, at))
