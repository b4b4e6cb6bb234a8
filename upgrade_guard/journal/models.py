"""The tables. Portable on purpose: text, whole numbers and booleans, so that another database can hold them too.

Only rows of `runs` change, and only in `chain.MUTABLE`; everything else is history. Rows of all tables but `chain`
share one sequence, and each carries the digest of its content and of the row before it (chain.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum as PythonEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Double, Enum, ForeignKey, Index, Integer, MetaData, String, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column
from sqlalchemy.types import TypeDecorator

from upgrade_guard.journal.encoding import instant_text, json_text, plain_text
from upgrade_guard.model.run import Event, Kind, Outcome, State

# SQLite keeps a row under its INTEGER primary key; elsewhere a sequence of history wants 64 bits by name.
_WHOLE = BigInteger().with_variant(Integer(), "sqlite")


class Instant(TypeDecorator[datetime]):
    """Aware UTC as text of one width, which sorts as time does."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """As it is stored. Raises ValueError for a naive time."""
        return None if value is None else instant_text(value)


class Words(TypeDecorator[str]):
    """Text from the world."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """As it is stored."""
        return None if value is None else plain_text(value)


class Document(TypeDecorator[Any]):
    """JSON as text with sorted keys."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        """As it is stored. Raises TypeError or ValueError for what JSON cannot say."""
        return None if value is None else json_text(value)


def _values(kind: type[PythonEnum]) -> list[str]:
    return [member.value for member in kind]


def _stored(kind: type[PythonEnum]) -> Enum:
    # Values and not names, and no constraint: neither renaming a member nor a new one needs a migration.
    return Enum(kind, native_enum=False, values_callable=_values, length=32, create_constraint=False)


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True):
    """What all tables share. The naming convention gives every constraint a name that a migration can use."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads it as declared)
        str: Words(),
        int: _WHOLE,
        float: Double(),
        datetime: Instant(),
        Mapping[str, Any]: Document(),
        tuple[str, ...]: Document(),
        State: _stored(State),
        Event: _stored(Event),
        Outcome: _stored(Outcome),
        Kind: _stored(Kind),
    }


class ChainHead(Base):
    """The newest row of the chain, as one row of its own: a tail that was cut off shows."""

    __tablename__ = "chain"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))


class RunEntry(Base):
    """One run; `state`, `outcome`, `finished_at`, `cluster` and `from_version` may change. No `kind`: an upgrade."""

    __tablename__ = "runs"
    __table_args__ = (
        Index(None, "seq", unique=True),
        Index(None, "finished_at", "seq"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    seq: Mapped[int] = mapped_column(init=False)
    started_at: Mapped[datetime]
    cluster: Mapped[str]
    from_version: Mapped[str]
    target: Mapped[str]
    state: Mapped[State]
    outcome: Mapped[str]
    finished_at: Mapped[datetime | None]
    offsite_required: Mapped[int]
    snapshot_max_age: Mapped[float]
    settings: Mapped[Mapping[str, Any]]
    operator: Mapped[str]
    host: Mapped[str]
    tool_version: Mapped[str]
    kind: Mapped[Kind | None]
    previous: Mapped[str] = mapped_column(String(64), init=False)
    digest: Mapped[str] = mapped_column(String(64), init=False)


class HistoryEntry(Base):
    """What every row of history carries. `at` is when it was written, by this machine's clock."""

    __abstract__ = True

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, init=False)
    run_id: Mapped[str] = mapped_column(String(64), ForeignKey("runs.id"))
    at: Mapped[datetime]
    previous: Mapped[str] = mapped_column(String(64), init=False)
    digest: Mapped[str] = mapped_column(String(64), init=False)


class TransitionEntry(HistoryEntry):
    """The run moved."""

    __tablename__ = "transitions"
    __table_args__ = (Index(None, "run_id", "seq"),)

    event: Mapped[Event]
    from_state: Mapped[State]
    to_state: Mapped[State]
    reasons: Mapped[tuple[str, ...]]


class StepEntry(HistoryEntry):
    """An attempt at a step started, or ended."""

    __tablename__ = "steps"
    __table_args__ = (Index(None, "run_id", "seq"), Index(None, "run_id", "name", "seq"))

    name: Mapped[str] = mapped_column(String(255))
    lane: Mapped[str] = mapped_column(String(255))
    attempt: Mapped[int]
    state: Mapped[State]
    outcome: Mapped[Outcome]
    changes_node: Mapped[bool]
    result: Mapped[Mapping[str, Any]]
    detail: Mapped[str]


class CommandEntry(HistoryEntry):
    """One command that ran; secrets are masked in `argv`, `stdout` and `stderr` are tails, `duration` is in seconds."""

    __tablename__ = "commands"
    __table_args__ = (Index(None, "run_id", "seq"),)

    step: Mapped[str] = mapped_column(String(255))
    attempt: Mapped[int]
    host: Mapped[str] = mapped_column(String(255))
    argv: Mapped[tuple[str, ...]]
    exit_status: Mapped[int | None]
    started_at: Mapped[datetime]
    duration: Mapped[float]
    changes: Mapped[bool]
    stdout: Mapped[str]
    stderr: Mapped[str]


class ApprovalEntry(HistoryEntry):
    """Somebody said yes."""

    __tablename__ = "approvals"
    __table_args__ = (Index(None, "run_id", "seq"),)

    subject: Mapped[str]
    by: Mapped[str]
    how: Mapped[str]
    said: Mapped[str]
    approved_at: Mapped[datetime]


class NodeEntry(HistoryEntry):
    """A node as inspected."""

    __tablename__ = "nodes"
    __table_args__ = (Index(None, "run_id", "seq"),)

    name: Mapped[str]
    role: Mapped[str]
    address: Mapped[str]
    kubelet_version: Mapped[str]
    packages: Mapped[Mapping[str, Any]]


class SnapshotEntry(HistoryEntry):
    """A bundle that was published."""

    __tablename__ = "snapshots"
    __table_args__ = (Index(None, "run_id", "seq"),)

    bundle: Mapped[str]
    path: Mapped[str]
    snapshot_sha256: Mapped[str]
    manifest_sha256: Mapped[str]
    size: Mapped[int]
    revision: Mapped[int]
    cluster_id: Mapped[str]
    taken_at: Mapped[datetime]


class ProofEntry(HistoryEntry):
    """A bundle was restored and compared, or could not be."""

    __tablename__ = "proofs"
    __table_args__ = (Index(None, "run_id", "seq"),)

    bundle: Mapped[str]
    snapshot_sha256: Mapped[str]
    ok: Mapped[bool]
    revision: Mapped[int]
    hashkv: Mapped[int]
    restore_seconds: Mapped[float]
    proven_at: Mapped[datetime]
    levels: Mapped[Mapping[str, Any]]


class CopyEntry(HistoryEntry):
    """A bundle was copied to `target`."""

    __tablename__ = "copies"
    __table_args__ = (Index(None, "run_id", "seq"),)

    bundle: Mapped[str]
    target: Mapped[str]
    location: Mapped[str]
    sha256: Mapped[str]
    read_back: Mapped[bool]
    off_control_plane: Mapped[bool]
    copied_at: Mapped[datetime]
