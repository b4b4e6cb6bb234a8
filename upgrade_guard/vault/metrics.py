"""Figures of backups in Prometheus' text format, for the textfile collector of node_exporter."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from upgrade_guard.errors import StepFailed
from upgrade_guard.vault.disk import storage, write_synced


@dataclass(frozen=True)
class Figures:
    """What monitoring is told of one cluster's backups. Times are aware, the rest is in seconds and bytes.

    None where there is nothing yet: its metric is then left out, so that an alert on a missing one fires.
    """

    cluster: str
    taken_at: datetime | None = None
    size: int | None = None
    revision: int | None = None
    copies: int | None = None
    proof_restore_seconds: float | None = None
    duration: float | None = None
    max_age: float | None = None
    failed_at: datetime | None = None
    last_ok: bool | None = None
    drilled_at: datetime | None = None
    drill_ok: bool | None = None
    drill_restore_seconds: float | None = None
    pruned_at: datetime | None = None
    history_head: str = ""


def _at(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()


# All are gauges: each says how something stands, and may go down.
METRICS: tuple[tuple[str, str, Callable[[Figures], float | bool | None]], ...] = (
    (
        "upgrade_guard_backup_last_proven_timestamp_seconds",
        "When the newest proven snapshot was taken; its age is time() minus this.",
        lambda figures: _at(figures.taken_at),
    ),
    (
        "upgrade_guard_backup_last_proven_size_bytes",
        "Size of the newest proven snapshot.",
        lambda figures: figures.size,
    ),
    (
        "upgrade_guard_backup_last_proven_revision",
        "Revision of etcd that the newest proven snapshot holds.",
        lambda figures: figures.revision,
    ),
    (
        "upgrade_guard_backup_last_proven_copies",
        "Copies of the newest proven snapshot that were read back equal.",
        lambda figures: figures.copies,
    ),
    (
        "upgrade_guard_backup_last_proven_restore_seconds",
        "How long restoring and starting the newest proven snapshot took in its proof.",
        lambda figures: figures.proof_restore_seconds,
    ),
    (
        "upgrade_guard_backup_last_duration_seconds",
        "How long the newest backup took, from its start to its last copy.",
        lambda figures: figures.duration,
    ),
    (
        "upgrade_guard_backup_max_age_seconds",
        "The greatest age of the newest proven snapshot that is expected; absent when none is.",
        lambda figures: figures.max_age,
    ),
    (
        "upgrade_guard_backup_last_ok",
        "Whether the newest backup succeeded (1) or failed (0).",
        lambda figures: figures.last_ok,
    ),
    (
        "upgrade_guard_backup_last_failure_timestamp_seconds",
        "When the newest failed backup ended; absent when none failed yet.",
        lambda figures: _at(figures.failed_at),
    ),
    (
        "upgrade_guard_drill_last_timestamp_seconds",
        "When the newest restore drill ended.",
        lambda figures: _at(figures.drilled_at),
    ),
    (
        "upgrade_guard_drill_last_ok",
        "Whether the newest restore drill succeeded (1) or failed (0).",
        lambda figures: figures.drill_ok,
    ),
    (
        "upgrade_guard_drill_last_restore_seconds",
        "How long restoring and starting etcd took in the newest drill that succeeded.",
        lambda figures: figures.drill_restore_seconds,
    ),
    (
        "upgrade_guard_prune_last_timestamp_seconds",
        "When old bundles were last pruned.",
        lambda figures: _at(figures.pruned_at),
    ),
)


HEAD = "upgrade_guard_history_info"


def exposition(figures: Figures) -> str:
    """The figures as text: HELP, TYPE and one sample for each that is known."""
    label = figures.cluster.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    lines = []
    if figures.history_head:  # digits and letters only, which stand as they are
        lines += [
            f"# HELP {HEAD} The head of history when this was written, as a label: give it to audit verify --head.",
            f"# TYPE {HEAD} gauge",
            f'{HEAD}{{cluster="{label}",head="{figures.history_head}"}} 1.0',
        ]
    for name, meaning, read in METRICS:
        value = read(figures)
        if value is not None:
            sample = f'{name}{{cluster="{label}"}} {float(value)!r}'
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", sample]
    return "\n".join((*lines, ""))


def write_metrics(directory: Path, figures: Figures) -> Path:
    """Write the cluster's file whole or not at all, readable for node_exporter (0644); its path.

    Raises StepFailed when the directory is not there or cannot be written.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "-", figures.cluster)
    path = directory / (f"upgrade-guard-{name}.prom" if name else "upgrade-guard.prom")
    if not directory.is_dir():
        raise StepFailed(
            f"backup.metrics_dir: {directory} is not a directory",
            hint="name the one that node_exporter reads: --collector.textfile.directory",
        )
    with storage("Writing the metrics", directory):
        write_synced(path, exposition(figures).encode(), mode=0o644)
    return path
