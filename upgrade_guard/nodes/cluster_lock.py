"""One run at a time on one cluster, whoever's machine and journal it is in: a file on every control plane.

The local lock (`journal/lock.py`) is let go by the kernel when its process dies; this one stays, because a run that
died half-way still holds its cluster. It needs neither etcd nor an API server.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from upgrade_guard.errors import GuardError, HostUnreachable, LockHeld
from upgrade_guard.model.clock import Clock
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.lock import LockOwner
from upgrade_guard.nodes.node_tools import NodeTools
from upgrade_guard.nodes.site import Site
from upgrade_guard.tools.lock_file import LockFile

NAME = "lock.json"
"""In the work directory of a node, which therefore has to be the same for everyone who upgrades the cluster."""

LAST = "last-lock.json"
"""Beside it: who held the cluster last, with the head that its history had when it let go."""

SILENCE = 60.0
"""Seconds for which a control plane that cannot be reached is not asked again before a step."""

BELIEVED = 5.0
"""Seconds for which what was seen before a step is believed before the next ones, which follow each other at once while
the control plane rests. The act of one step may last longer than that."""

TakeOver = Callable[[LockOwner], None]
"""Records that this owner's lock is taken over, before it is: a person wanted it."""


@dataclass(frozen=True)
class KeptHead:
    """The head of a run's history as a control plane has it."""

    head: str
    run: str
    where: str


class ClusterLock:
    """The lock of one run (`owner.run`): a resumed run has it already.

    `over` says of a run's id that this machine's journal knows it and that it has ended: its lock is stale. The lock
    is made first on the control plane that the configuration names, and on the others as soon as they are known, so
    that two operators who come in through different control planes meet before either changes anything. `head` tells
    the head of history, which every control plane keeps for `audit verify --remote`.
    """

    def __init__(
        self,
        site: Site,
        owner: LockOwner,
        over: Callable[[str], bool] = lambda _: False,
        head: Callable[[], str] = str,
    ) -> None:
        self._site = site
        self._owner = owner
        self._over = over
        self._head = head
        self._taken_over: set[str] = set()
        self._files: dict[tuple[str, ...], tuple[LockFile, ...]] = {}
        self._silent_until: dict[str, float] = {}
        self._believed_until: dict[str, float] = {}
        self._looking = threading.Lock()

    def take(self, cluster: Cluster | None, take_over: TakeOver | None = None) -> None:
        """Have it on every control plane that can be reached. With `take_over` another run's lock gives way.

        Raises LockHeld, which names the other owner; HostUnreachable when no control plane can be reached.
        """
        files, unreachable = self._reachable(cluster)
        if not files:
            raise unreachable[0]
        for file, owner in files:
            if self._is_foreign(owner) and owner is not None:
                if take_over is None:
                    raise held(file.where, owner, self._site.clock)
                take_over(owner)
                self._taken_over.add(owner.run)
        for file, owner in files:
            if owner is None:
                self._make(file)
            elif owner.run != self._owner.run:
                file.replace(self._now())
            elif owner.head != (head := self._head()):
                file.replace(replace(owner, head=head))

    def still_held(self, cluster: Cluster | None, *, look_anew: bool = False) -> None:
        """See that nobody has taken it over, and make it where it is missing. Raises LockHeld.

        A control plane that cannot answer stops nothing here: the step that needs it will say so. One that cannot be
        reached is left alone for a minute, because asking it takes as long as a connection that fails. What was seen
        is believed for BELIEVED seconds, unless `look_anew`.
        """
        with self._looking:  # two lanes must not make it at once
            for file in self._on(cluster):
                now = self._site.clock.monotonic()
                believed = 0.0 if look_anew else self._believed_until.get(file.where, 0.0)
                if now < max(self._silent_until.get(file.where, 0.0), believed):
                    continue
                try:
                    owner = file.owner()
                    if owner is None:
                        self._make(file)
                        continue
                except LockHeld:
                    raise
                except HostUnreachable:
                    self._silent_until[file.where] = self._site.clock.monotonic() + SILENCE
                    continue
                except GuardError:
                    continue
                if self._is_foreign(owner):
                    raise held(file.where, owner, self._site.clock)
                self._believed_until[file.where] = now + BELIEVED

    def release(self, cluster: Cluster | None) -> tuple[str, ...]:
        """Take it away where it is ours. What could not be done, as sentences: the run itself has ended well."""
        problems = []
        for file in self._on(cluster):
            try:
                owner = file.owner()
                if owner is not None and owner.run == self._owner.run:
                    file.beside(LAST).replace(replace(owner, head=self._head()))
                    file.remove()
            except GuardError as problem:
                problems.append(f"The lock {file.where} could not be taken away: {problem.message}.")
        return tuple(problems)

    def stranger(self, cluster: Cluster | None) -> LockOwner | None:
        """Another run that holds the cluster now, as far as its control planes can be asked. Changes nothing."""
        files, _ = self._reachable(cluster)
        return next((owner for _, owner in files if self._is_foreign(owner)), None)

    def kept_heads(self, cluster: Cluster | None) -> tuple[tuple[KeptHead, ...], tuple[str, ...]]:
        """What the control planes have of heads, of any run, and a sentence for each that could not be asked."""
        found: list[KeptHead] = []
        problems: list[str] = []
        for file in self._on(cluster):
            try:
                for one in (file, file.beside(LAST)):
                    owner = one.owner()
                    if owner is not None and owner.head:
                        found.append(KeptHead(owner.head, owner.run, one.where))
            except GuardError as problem:
                problems.append(f"{file.where} cannot be looked at: {problem.message}")
        return tuple(found), tuple(problems)

    def _now(self) -> LockOwner:
        return replace(self._owner, head=self._head())

    def _reachable(
        self, cluster: Cluster | None
    ) -> tuple[list[tuple[LockFile, LockOwner | None]], list[HostUnreachable]]:
        found: list[tuple[LockFile, LockOwner | None]] = []
        unreachable: list[HostUnreachable] = []
        for file in self._on(cluster):
            try:
                found.append((file, file.owner()))
            except HostUnreachable as problem:
                unreachable.append(problem)
        return found, unreachable

    def _make(self, file: LockFile) -> None:
        if file.make(self._now()):
            return
        other = file.owner()
        if other is not None and other.run != self._owner.run:
            raise held(file.where, other, self._site.clock)

    def _is_foreign(self, owner: LockOwner | None) -> bool:
        """Does another run hold it that may still go on?"""
        if owner is None or owner.run == self._owner.run:
            return False
        return owner.run not in self._taken_over and not (owner.run and self._over(owner.run))

    def _on(self, cluster: Cluster | None) -> tuple[LockFile, ...]:
        names = () if cluster is None else tuple(node.name for node in cluster.control_planes)
        if names not in self._files:
            tools = [self._site.first_control_plane()]
            if cluster is not None:
                known = [self._site.on(node) for node in cluster.control_planes]
                # The one that the configuration names is among them, perhaps under another name.
                tools = [*(one for one in tools if not any(_same_place(one, other) for other in known)), *known]
            self._files[names] = tuple(LockFile(one.files, f"{one.settings.work_dir}/{NAME}") for one in tools)
        return self._files[names]


def _same_place(one: NodeTools, other: NodeTools) -> bool:
    return (one.settings.address, one.settings.work_dir) == (other.settings.address, other.settings.work_dir)


def held(where: str, owner: LockOwner | None, clock: Clock) -> LockHeld:
    """The refusal: who, since when, and the two ways on."""
    hint = "wait for it; if that run will not go on, take the lock over: upgrade-guard resume --take-over"
    if owner is None or not owner.run:
        return LockHeld(f"the cluster is locked by {where}, and what lies there cannot be read", hint=hint)
    since = f"since {owner.since}{' (by a clock that is ahead of this one)' if _is_ahead(owner.since, clock) else ''}"
    who = f"{owner.operator} on {owner.host} (process {owner.pid}), {since}"
    return LockHeld(f"the cluster is locked by {who}: run {owner.run}, {owner.doing} ({where})", hint=hint)


def _is_ahead(since: str, clock: Clock) -> bool:
    try:
        return datetime.fromisoformat(since) > clock.now()
    except (ValueError, TypeError):  # not a time, or one without a zone
        return False
