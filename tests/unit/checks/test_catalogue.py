"""Every check together: names, hints, and what cannot be asked."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from unit.checks.healthy import TARGET, healthy

from upgrade_guard.checks.catalogue import CHECKS, blocking, judge
from upgrade_guard.checks.gathered import Gathered, Unanswered
from upgrade_guard.checks.reference import reference_markdown
from upgrade_guard.model.finding import Severity


def test_a_healthy_cluster_gets_only_good_answers() -> None:
    findings = judge(healthy(), TARGET)

    assert [finding for finding in findings if finding.severity is not Severity.OK] == []
    silent = {check.name for check in CHECKS} - {finding.check for finding in findings}
    assert silent == {"cgroups-supported"}, "asked from v1.35 on only"


def test_names_are_unique_and_readable() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", name)] == []


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_check_says_what_it_asks(check: object) -> None:
    assert re.fullmatch(r"\S.{20,}", check.question)  # type: ignore[attr-defined]


def test_an_unanswered_question_is_as_bad_as_its_check_can_be() -> None:
    whole = replace(
        healthy(),
        unanswered=(
            Unanswered("certificates-valid", "cp2", "kubeadm on cp2 ended with 1"),
            Unanswered("deprecated-apis", "", "no metrics"),
        ),
    )
    findings = judge(whole, TARGET)

    wrong = [finding for finding in findings if finding.severity is not Severity.OK]
    assert [(finding.check, finding.severity, finding.where) for finding in wrong] == [
        ("certificates-valid", Severity.BLOCKING, "cp2"),
        ("deprecated-apis", Severity.WARNING, ""),
    ]
    assert wrong[0].message == "cp2: could not be asked: kubeadm on cp2 ended with 1"
    assert [finding.where for finding in findings if finding.check == "certificates-valid"] == ["cp1", "cp3", "cp2"]
    assert blocking(findings) == (wrong[0],)


def test_nothing_gathered_is_no_crash_and_no_praise_for_etcd() -> None:
    bare = Gathered(cluster=replace(healthy().cluster, addons=()), now=0.0)
    praised = {finding.check for finding in judge(bare, TARGET) if finding.severity is Severity.OK}
    assert not [name for name in praised if name.startswith("etcd-")]


def test_the_reference_has_a_row_for_every_check() -> None:
    rows = [line for line in reference_markdown().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [check.name for check in CHECKS]
    assert [row for row in rows if row.count("|") != 4] == []
