"""The first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "chain",
        sa.Column("id", _WHOLE, autoincrement=False, nullable=False),
        sa.Column("seq", _WHOLE, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_chain_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chain")),
    )
    op.execute(f"INSERT INTO chain (id, seq, digest) VALUES (1, 0, '{'0' * 64}')")  # noqa: S608
    op.create_table(
        "runs",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("seq", _WHOLE, nullable=False),
        sa.Column("started_at", sa.String(27), nullable=False),
        _text("cluster"),
        _text("from_version"),
        _text("target"),
        sa.Column("state", sa.String(32), nullable=False),
        _text("outcome"),
        sa.Column("finished_at", sa.String(27), nullable=True),
        sa.Column("offsite_required", _WHOLE, nullable=False),
        sa.Column("snapshot_max_age", sa.Double(), nullable=False),
        _text("settings"),
        _text("operator"),
        _text("host"),
        _text("tool_version"),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index(op.f("ix_runs_seq"), "runs", ["seq"], unique=True)
    op.create_index(op.f("ix_runs_finished_at_seq"), "runs", ["finished_at", "seq"])

    _history(
        "transitions",
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("from_state", sa.String(32), nullable=False),
        sa.Column("to_state", sa.String(32), nullable=False),
        _text("reasons"),
    )
    _history(
        "steps",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("lane", sa.String(255), nullable=False),
        sa.Column("attempt", _WHOLE, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("changes_node", sa.Boolean(), nullable=False),
        _text("result"),
        _text("detail"),
    )
    op.create_index(op.f("ix_steps_run_id_name_seq"), "steps", ["run_id", "name", "seq"])
    _history(
        "commands",
        sa.Column("step", sa.String(255), nullable=False),
        sa.Column("attempt", _WHOLE, nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        _text("argv"),
        sa.Column("exit_status", _WHOLE, nullable=True),
        sa.Column("started_at", sa.String(27), nullable=False),
        sa.Column("duration", sa.Double(), nullable=False),
        sa.Column("changes", sa.Boolean(), nullable=False),
        _text("stdout"),
        _text("stderr"),
    )
    _history(
        "approvals",
        _text("subject"),
        _text("by"),
        _text("how"),
        _text("said"),
        sa.Column("approved_at", sa.String(27), nullable=False),
    )
    _history("nodes", _text("name"), _text("role"), _text("address"), _text("kubelet_version"), _text("packages"))
    _history(
        "snapshots",
        _text("bundle"),
        _text("path"),
        _text("snapshot_sha256"),
        _text("manifest_sha256"),
        sa.Column("size", _WHOLE, nullable=False),
        sa.Column("revision", _WHOLE, nullable=False),
        _text("cluster_id"),
        sa.Column("taken_at", sa.String(27), nullable=False),
    )
    _history(
        "proofs",
        _text("bundle"),
        _text("snapshot_sha256"),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("revision", _WHOLE, nullable=False),
        sa.Column("hashkv", _WHOLE, nullable=False),
        sa.Column("restore_seconds", sa.Double(), nullable=False),
        sa.Column("proven_at", sa.String(27), nullable=False),
        _text("levels"),
    )
    _history(
        "copies",
        _text("bundle"),
        _text("target"),
        _text("location"),
        _text("sha256"),
        sa.Column("read_back", sa.Boolean(), nullable=False),
        sa.Column("off_control_plane", sa.Boolean(), nullable=False),
        sa.Column("copied_at", sa.String(27), nullable=False),
    )


def _text(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.Text(), nullable=False)


def _history(table: str, *columns: "sa.Column[Any]") -> None:
    op.create_table(
        table,
        sa.Column("seq", _WHOLE, autoincrement=False, nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        *columns,
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f(f"fk_{table}_run_id_runs")),
        sa.PrimaryKeyConstraint("seq", name=op.f(f"pk_{table}")),
    )
    op.create_index(op.f(f"ix_{table}_run_id_seq"), table, ["run_id", "seq"])
