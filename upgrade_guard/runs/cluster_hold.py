"""A run's hold on its cluster: its lock on the cluster, and that nobody else changes what it changes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from upgrade_guard.errors import UsageProblem
from upgrade_guard.model.lock import LockOwner
from upgrade_guard.model.run import FINAL, OF_THE_CLUSTER, ApprovalRecord, Kind, Run, State
from upgrade_guard.model.step import Facts, Step
from upgrade_guard.model.step_results import KUBEADM_WORK, StepName, known_cluster
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.cluster_lock import ClusterLock
from upgrade_guard.steps.drift import ByHand

if TYPE_CHECKING:
    from upgrade_guard.journal import Journal
    from upgrade_guard.nodes.site import Site
    from upgrade_guard.ui.console import Screen

_LET_GO = FINAL | {State.STARTED}
"""A run that has only looked holds nothing between two processes: what it saw is looked at again anyway."""


class ClusterHold:
    """The lock of one run on its cluster, for the processes that work on it one after the other.

    Runs that only read the cluster (backups, drills) hold nothing.
    """

    def __init__(self, site: Site, journal: Journal, run: Run, operator: str) -> None:
        self._site = site
        self._journal = journal
        self._run = run
        self._operator = operator
        self._by_hand = ByHand(site, Version.parse(run.target)) if run.kind is Kind.UPGRADE else None
        self._lock = cluster_lock(site, journal, run, operator)

    @contextmanager
    def held(self, screen: Screen, *, take_over: bool) -> Iterator[None]:
        """While it lasts the cluster is ours; afterwards too, until the run has ended. Raises LockHeld."""
        if self._run.kind not in OF_THE_CLUSTER:
            yield
            return
        try:
            self._lock.take(known_cluster(self._journal.facts(self._run.id)), self._approved if take_over else None)
            yield
        finally:
            if self._journal.run(self._run.id).state in _LET_GO:
                for problem in self._lock.release(known_cluster(self._journal.facts(self._run.id))):
                    screen.tell(problem, style="yellow")

    def before_change(self, step: Step, facts: Facts) -> None:
        """Raise LockHeld when somebody took the lock over, DecisionNeeded when somebody else changed the cluster."""
        if self._run.kind not in OF_THE_CLUSTER:
            return
        cluster = known_cluster(facts)
        # Two runs at once would do harm then that nothing takes back: what was seen a moment ago is not enough.
        self._lock.still_held(cluster, look_anew=StepName.of(step.name).work in KUBEADM_WORK)
        if cluster is not None and self._by_hand is not None:
            self._by_hand.refuse(cluster, facts, step)

    def _approved(self, owner: LockOwner) -> None:
        who = f"{owner.operator} on {owner.host}, run {owner.run}, since {owner.since}" if owner.run else "nobody knows"
        subject = f"Take over the lock of the cluster, held by: {who}"
        at = self._site.clock.now()
        self._journal.approve(self._run.id, ApprovalRecord(subject, self._operator, "--take-over", "yes", at))


def cluster_lock(site: Site, journal: Journal, run: Run, operator: str) -> ClusterLock:
    """The lock of that run. A lock of a run that ended in this journal is stale."""

    def over(run_id: str) -> bool:
        try:
            found = journal.run(run_id)
        except UsageProblem:
            return False
        return found.id == run_id and found.state in FINAL

    owner = LockOwner(
        run=run.id,
        operator=operator,
        host=socket.gethostname(),
        pid=os.getpid(),
        since=site.clock.now().isoformat(timespec="seconds"),
        doing=f"{run.kind.value} to {run.target}",
    )
    return ClusterLock(site, owner, over, journal.head)
