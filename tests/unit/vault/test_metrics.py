from __future__ import annotations

import os
import stat
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from upgrade_guard.errors import StepFailed
from upgrade_guard.vault.metrics import HEAD, METRICS, Figures, exposition, write_metrics

AT = datetime(2026, 11, 22, 2, 0, 0, 500_000, tzinfo=UTC)
FULL = Figures(
    cluster="prod",
    taken_at=AT,
    size=20_480,
    revision=12_345_678,
    copies=2,
    proof_restore_seconds=1.25,
    duration=9.5,
    max_age=93_600.0,
    failed_at=AT,
    last_ok=True,
    drilled_at=AT,
    drill_ok=False,
    drill_restore_seconds=2.0,
    pruned_at=AT,
    history_head="49bc" * 16,
)


def samples(text: str) -> dict[str, float]:
    """What Prometheus' own parser reads; every sample must belong to a documented gauge."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge"
        assert family.documentation
        (sample,) = family.samples
        assert sample.name == family.name
        found[sample.name] = sample.value
    return found


def test_prometheus_reads_every_figure() -> None:
    read = samples(exposition(FULL))

    assert set(read) == {name for name, _, _ in METRICS} | {HEAD}
    assert read["upgrade_guard_backup_last_proven_timestamp_seconds"] == AT.timestamp()
    assert read["upgrade_guard_backup_last_proven_revision"] == 12_345_678
    assert (read["upgrade_guard_backup_last_ok"], read["upgrade_guard_drill_last_ok"]) == (1.0, 0.0)


def test_the_head_of_history_is_a_label() -> None:
    families = {one.name: one for one in text_string_to_metric_families(exposition(FULL))}
    [sample] = families[HEAD].samples
    assert (sample.labels, sample.value) == ({"cluster": "prod", "head": "49bc" * 16}, 1.0)


def test_every_figure_has_a_metric() -> None:
    for field in fields(Figures):
        if field.name != "cluster":
            assert len(samples(exposition(replace(FULL, **{field.name: None})))) == len(METRICS), field.name


def test_what_is_not_known_is_left_out() -> None:
    assert exposition(Figures("prod")) == ""
    assert list(samples(exposition(Figures("prod", copies=0)))) == ["upgrade_guard_backup_last_proven_copies"]


@pytest.mark.parametrize("cluster", ['a"} 1', "back\\slash", "two\nlines", "größer"])
def test_no_name_of_a_cluster_breaks_the_format(cluster: str) -> None:
    (family,) = text_string_to_metric_families(exposition(Figures(cluster, size=1)))
    assert family.samples[0].labels == {"cluster": cluster}


def test_the_file_is_readable_for_the_collector_and_replaced_as_a_whole(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        path = write_metrics(tmp_path, FULL)
        write_metrics(tmp_path, replace(FULL, copies=3))
    finally:
        os.umask(before)

    assert path == tmp_path / "upgrade-guard-prod.prom"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert samples(path.read_text())["upgrade_guard_backup_last_proven_copies"] == 3
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("cluster", ["../../etc/passwd", "a/b", "", "."])
def test_the_name_of_a_cluster_leads_nowhere_else(tmp_path: Path, cluster: str) -> None:
    assert write_metrics(tmp_path, Figures(cluster, size=1)).parent == tmp_path
    assert len(list(tmp_path.glob("*.prom"))) == 1


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"backup\.metrics_dir: .*gone is not a directory"):
        write_metrics(tmp_path / "gone", FULL)
