"""More than one person on one cluster: another machine with its own journal, and hands that do not know of the run."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from scenario.ends import assert_untouched
from scenario.stage import TARGET, Stage, changed

from upgrade_guard.nodes.cluster_lock import NAME


def lock_of(stage: Stage) -> Path:
    """The lock on the first control plane."""
    return stage.lab.layout.work("cp1") / NAME


def test_two_operators_with_two_journals(copied_stage: Callable[..., Stage], tmp_path: Path) -> None:
    stage = copied_stage()
    other = ("--state-dir", str(tmp_path / "other-machine"))
    first = stage.guard("status")
    lock = lock_of(stage)
    owner = json.loads(lock.read_text())
    assert owner["run"] == first.data["id"]
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600

    # Another journal, so another machine as far as the product can tell: refused, with who and since when.
    between = stage.truth()
    refused = stage.guard("run", TARGET, "--yes", *other, ends=5)
    assert refused.error["code"] == "locked"
    for word in (owner["run"], owner["operator"], owner["host"], owner["since"], "cp1"):
        assert word in refused.error["message"], refused
    assert "resume --take-over" in refused.error["hint"]
    assert stage.guard("status", *other).data["locked_by"] == owner
    assert stage.guard("status").data["locked_by"] is None
    assert "The cluster is locked by" in stage.guard("status", *other, json_answer=False).stdout
    assert stage.truth() == between
    assert json.loads(lock.read_text()) == owner

    # On purpose it gives way, which is an approval on the record; the first one notices before it changes anything.
    with ExitStack() as held:
        with stage.held(stage.lab.layout.programs("cp1") / "apt-cache", "madison kubelet") as at_the_last_step:
            going = stage.start("resume", "--yes")
            at_the_last_step(going)
            hold = held.enter_context(stage.held_etcdctl("cp1", "endpoint status"))
        hold(going)  # the gate is judged for `planned`
        assert stage.guard("abort", "--yes", "--take-over", *other).data["state"] == "aborted"
        [taken] = [one for one in stage.guard("show", *other).data["approvals"] if one["how"] == "--take-over"]
        assert owner["run"] in taken["subject"]
        assert not lock.exists()
        lock.write_text(json.dumps(owner | {"run": "20260101-abcdef", "operator": "ben"}))
    stopped = going.wait()
    assert stopped.exit_code == 5, stopped
    assert "ben" in stopped.error["message"]
    assert stopped.data["state"] == "planned"
    assert stage.outcomes("control-plane/cp1/apply") == []

    # What is on its way back asks for the lock too.
    assert stage.guard("abort", "--yes", ends=5).error["code"] == "locked"
    assert stage.guard("abort", "--yes", "--take-over").data["state"] == "aborted"
    assert not lock.exists()
    assert_untouched(stage, stage.before)


def test_hands_that_upgrade_in_the_middle_of_a_run(copied_stage: Callable[..., Stage]) -> None:
    stage = copied_stage()
    source = stage.lab.layout.package_source("cp1")
    was = source.read_text()
    source.write_text(was.replace("v1.27", "v1.28"))
    stage.shell("cp1", "apt-get", "update")
    stage.shell("cp1", "apt-get", "install", "--yes", "--allow-change-held-packages", "kubectl=1.28.0-1.1")
    source.write_text(was)
    stopped = stage.guard("resume", "--yes", ends=6)
    assert "somebody else has changed the cluster" in stopped.error["message"]
    [reason] = stopped.error["reasons"]
    assert "cp1: the package kubectl is 1.28.0-1.1; it was 1.27.16" in reason
    assert stopped.data["state"] == "copied"
    assert stage.outcomes("plan/cp1/package-source") == []
    assert "rolling-back" not in stage.states()
    assert stage.guard("abort", "--yes").data["state"] == "aborted"
    assert changed(stage.before, stage.truth()) == {"cp1 packages kubectl"}, "what others did is theirs"


def test_a_run_that_has_only_looked_holds_nothing(stage: Stage, tmp_path: Path) -> None:
    stage.switch_on("certificate-expired")
    refused = stage.guard("run", TARGET, "--yes", ends=3)
    assert refused.data["state"] == "started"
    assert not lock_of(stage).exists()
    other = ("--state-dir", str(tmp_path / "other-machine"))
    assert stage.guard("run", TARGET, "--yes", *other, ends=3).data["state"] == "started"
