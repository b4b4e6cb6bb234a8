"""What the journal can be asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import Any

from upgrade_guard.errors import UsageProblem
from upgrade_guard.journal import chain, history
from upgrade_guard.journal.audit import audited
from upgrade_guard.journal.export import exported
from upgrade_guard.journal.problems import no_such_run
from upgrade_guard.journal.rows import Rows
from upgrade_guard.model.audit import Audit
from upgrade_guard.model.run import (
    OF_THE_CLUSTER,
    ApprovalRecord,
    CommandRow,
    CopyRecord,
    Kind,
    NodeRecord,
    ProofRecord,
    ProvenSnapshot,
    Recorded,
    Run,
    SnapshotRecord,
    StepRow,
    Transition,
)
from upgrade_guard.model.step import Facts


class Answers:
    """Every question that the other rooms ask; each answer is of one moment."""

    def _rows(self) -> AbstractContextManager[Rows]:
        raise NotImplementedError

    def run(self, run_id: str) -> Run:
        """The run with that id, or the only one whose id begins so. Raises UsageProblem."""
        with self._rows() as rows:
            found = history.run_named(rows, run_id)
        if not found:
            raise no_such_run(run_id)
        if len(found) > 1:
            raise UsageProblem(
                f"{run_id!r} is the beginning of more than one run",
                hint="give more of it: `upgrade-guard history`",
                reasons=tuple(run.id for run in found),
            )
        return found[0]

    def open_run(self, kinds: Collection[Kind] = OF_THE_CLUSTER) -> Run | None:
        """The newest run of these kinds that is not finished; a run whose rollback failed is not."""
        with self._rows() as rows:
            return history.open_run(rows, kinds)

    def runs(
        self,
        *,
        kinds: Collection[Kind] = OF_THE_CLUSTER,
        limit: int | None = 50,
        cluster: str | None = None,
        target: str | None = None,
        outcome: str | None = None,
        since: datetime | None = None,
    ) -> tuple[Run, ...]:
        """Newest first. `outcome` is "" for runs that are open; `since` is about their start."""
        with self._rows() as rows:
            return history.runs(
                rows, kinds=kinds, limit=limit, cluster=cluster, target=target, outcome=outcome, since=since
            )

    def newest_proven(self, cluster: str = "") -> ProvenSnapshot | None:
        """The newest snapshot that was proven in its own run, of any kind; of that cluster unless it is ""."""
        with self._rows() as rows:
            return history.newest_proven(rows, cluster)

    def latest(self, run_id: str, step_name: str) -> StepRow | None:
        """The newest row of a step; an outcome of STARTED means that it is under way, or in doubt."""
        with self._rows() as rows:
            return history.latest(rows, run_id, step_name)

    def facts(self, run_id: str) -> Facts:
        """Results of the steps that count as done, and the names of all that ever started."""
        with self._rows() as rows:
            return history.facts(rows, run_id)

    def results_of(self, step_name: str) -> tuple[Mapping[str, Any], ...]:
        """What a step has left behind in every run in which it succeeded, oldest first."""
        with self._rows() as rows:
            return history.results_of(rows, step_name)

    def transitions(self, run_id: str) -> tuple[Transition, ...]:
        """Oldest first, like all that follow."""
        with self._rows() as rows:
            return history.transitions(rows, run_id)

    def steps(self, run_id: str) -> tuple[StepRow, ...]:
        """Every attempt's beginning and end."""
        with self._rows() as rows:
            return history.steps(rows, run_id)

    def commands(self, run_id: str) -> tuple[CommandRow, ...]:
        """Commands that ran."""
        with self._rows() as rows:
            return history.commands(rows, run_id)

    def approvals(self, run_id: str) -> tuple[ApprovalRecord, ...]:
        """Who said yes."""
        with self._rows() as rows:
            return history.approvals(rows, run_id)

    def snapshots(self, run_id: str) -> tuple[SnapshotRecord, ...]:
        """Bundles; the last one is the one that counts."""
        with self._rows() as rows:
            return history.snapshots(rows, run_id)

    def proofs(self, run_id: str) -> tuple[ProofRecord, ...]:
        """Proofs, those that failed included."""
        with self._rows() as rows:
            return history.proofs(rows, run_id)

    def copies(self, run_id: str) -> tuple[CopyRecord, ...]:
        """Copies."""
        with self._rows() as rows:
            return history.copies(rows, run_id)

    def recorded(self) -> tuple[Recorded, ...]:
        """Every bundle that was ever published, of all runs, with what is on record of it."""
        with self._rows() as rows:
            return history.recorded(rows)

    def nodes(self, run_id: str) -> tuple[NodeRecord, ...]:
        """Nodes as inspected."""
        with self._rows() as rows:
            return history.nodes(rows, run_id)

    def edited(self, run_id: str) -> tuple[str, ...]:
        """Sentences about rows of one run that do not hold, or whose neighbours are gone. Quick; for the gate."""
        with self._rows() as rows:
            return tuple(chain.edited(rows, run_id))

    def run_ids(self) -> frozenset[str]:
        """Every run that the journal has."""
        with self._rows() as rows:
            return frozenset(str(row["id"]) for row in rows.select("SELECT id FROM runs"))

    def head(self) -> str:
        """Digest of the newest row: kept elsewhere, it shows whether history was rewritten as a whole."""
        with self._rows() as rows:
            return chain.head(rows)[1]

    def audit(
        self,
        kept: str = "",
        heard: Callable[[int, int], None] = lambda _read, _of: None,
        elsewhere: Mapping[str, str] = MappingProxyType({}),
    ) -> Audit:
        """Look over all of history: the chain, the states of runs, the triggers and the file itself.

        `kept` is the digest of a newest row that was kept elsewhere; `elsewhere` has such digests that were found, and
        where. `heard` is told how many rows were read, of how many. Takes constant memory and about half a minute for a
        million rows.
        """
        with self._rows() as rows:
            return audited(rows, kept, heard, elsewhere)

    def verify(self) -> tuple[str, ...]:
        """What `audit` found, as sentences; none when all of history holds."""
        return tuple(breach.what for breach in self.audit().breaches)

    @contextmanager
    def exported(self, run_id: str | None = None) -> Iterator[Iterator[str]]:
        """All of history, or one run's, as lines of JSON that carry the chain; of one moment, read while it is used."""
        with self._rows() as rows, closing(exported(rows, run_id)) as lines:
            yield lines
