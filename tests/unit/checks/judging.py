"""The runner of the tables beside it: what is wrong is said, what is right is not held against a cluster."""

from __future__ import annotations

from dataclasses import dataclass

from unit.checks.healthy import TARGET

from upgrade_guard.checks.catalogue import judge
from upgrade_guard.checks.gathered import Gathered
from upgrade_guard.model.finding import Severity
from upgrade_guard.model.version import Version

B, W = Severity.BLOCKING, Severity.WARNING
V = Version.parse


@dataclass(frozen=True)
class Case:
    """One thing that is wrong: which check says it, how badly, in which words, and where."""

    check: str
    severity: Severity
    says: str
    gathered: Gathered
    target: Version = TARGET
    where: str | None = None

    def __str__(self) -> str:
        return f"{self.check}: {self.says}"


@dataclass(frozen=True)
class Good:
    """Something that looks wrong and is not."""

    check: str
    gathered: Gathered
    target: Version = TARGET

    def __str__(self) -> str:
        return self.check


def assert_said(case: Case) -> None:
    found = [finding for finding in judge(case.gathered, case.target) if finding.check == case.check]
    wrong = [finding for finding in found if finding.severity is not Severity.OK]

    said = [finding for finding in wrong if case.says in finding.message]
    assert said, [finding.message for finding in found]
    assert said[0].severity is case.severity
    if case.where is not None:
        assert said[0].where == case.where
    assert all(finding.hint and "\n" not in finding.hint for finding in wrong)
    assert case.severity is B or all(finding.severity is not B for finding in wrong)


def assert_quiet(good: Good) -> None:
    found = [finding for finding in judge(good.gathered, good.target) if finding.check == good.check]
    assert [finding.message for finding in found if finding.severity is not Severity.OK] == []
