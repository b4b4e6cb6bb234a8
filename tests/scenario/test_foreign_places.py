"""Directories and programs that were there before, or were exchanged: nobody else's are used, and none is run."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from scenario.stage import TARGET, Stage

STRANGER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")


def kept_programs(stage: Stage) -> Path:
    """Where etcd's programs are kept on this machine."""
    [directory] = [path for path in (stage.lab.directory / "state" / "etcd").iterdir() if path.is_dir()]
    return directory


def put_trap(program: Path) -> Path:
    """A script in the place of a program, which leaves a trace when it is run; where that is."""
    trace = program.with_name(f"{program.name}-was-run")
    real = program.with_name(f".{program.name}-real")
    program.rename(real)
    program.write_text(f'#!/bin/sh\ntouch {shlex.quote(str(trace))}\nexec {shlex.quote(str(real))} "$@"\n')
    program.chmod(0o700)
    return trace


@as_root
def test_a_state_directory_of_somebody_else_is_not_used(backed_up: Stage) -> None:
    stage = backed_up
    trace = put_trap(kept_programs(stage) / "etcdctl")
    state = stage.lab.directory / "state"
    for path in (state, *state.rglob("*")):
        os.chown(path, STRANGER, -1, follow_symlinks=False)

    for words in (
        ("run", TARGET),
        ("check",),
        ("status",),
        ("backup", "drill"),
        ("backup", "verify", "--all"),
        ("history",),
    ):
        answer = stage.guard(*words, ends=3)
        assert f"belongs to user {STRANGER}" in answer.error["message"], answer
        assert answer.error["hint"], answer
    assert not trace.exists(), "a program of somebody else was run"


@as_root
def test_a_work_directory_of_somebody_else_on_a_node_is_not_used(backed_up: Stage) -> None:
    stage = backed_up
    work = Path(stage.lab.layout.node("cp1")) / "var/lib/upgrade-guard"
    trace = put_trap(next(work.rglob("etcdctl")))
    for path in (work, *work.rglob("*")):
        os.chown(path, STRANGER, -1, follow_symlinks=False)

    for words in (("run", TARGET, "--yes"), ("backup", "create")):
        answer = stage.guard(*words, ends=3)
        assert f"{work} on cp1 belongs to user {STRANGER}" in answer.error["message"], answer
        assert "name another work_dir" in answer.error["hint"], answer
    assert not trace.exists(), "a program of somebody else was run"
    assert not list(work.glob("*lock.json")), "something was written there"


def test_what_others_can_write_is_not_used(backed_up: Stage) -> None:
    stage = backed_up
    trace = put_trap(kept_programs(stage) / "etcdctl")
    vault = stage.lab.directory / "vault"
    for place in (stage.lab.directory, stage.lab.directory / "state", kept_programs(stage), vault):
        mode = place.stat().st_mode & 0o777
        place.chmod(mode | 0o002)
        for words in (("backup", "drill"), ("check",), ("backup", "list")):
            answer = stage.guard(*words, ends=3)
            assert str(place) in answer.error["message"], answer
            assert "chmod go-w" in answer.error["hint"], answer
        place.chmod(mode)
    assert not trace.exists(), "a program that others could write was run"


def test_a_program_that_was_exchanged_is_not_run(backed_up: Stage) -> None:
    stage = backed_up
    [bundle] = [row["bundle"] for row in stage.rows("select bundle from snapshots")]
    for name in ("etcd", "etcdctl", "etcdutl"):
        program = kept_programs(stage) / name
        trace = put_trap(program)
        answer = stage.guard("backup", "drill", bundle, ends=3)
        assert str(program) in answer.error["message"], answer
        assert answer.error["hint"], answer
        assert not trace.exists(), f"{name} was run"
        program.with_name(f".{name}-real").rename(program)

    trace = put_trap(kept_programs(stage) / "etcdctl")
    stage.guard("run", TARGET, ends=6)  # inspected anew, and fetched anew from a control plane
    assert not trace.exists(), "etcdctl was run"


def test_a_program_that_was_exchanged_on_a_node_is_not_run(backed_up: Stage) -> None:
    stage = backed_up
    [directory] = (stage.lab.layout.work("cp1") / "etcd").iterdir()
    trace = put_trap(directory / "etcdctl")
    stage.guard("run", TARGET, ends=6)
    assert not trace.exists(), "etcdctl was run on cp1"

    trace = put_trap(directory / "etcdctl")
    answer = stage.guard("resume", "--yes", ends=None)
    assert answer.exit_code != 0, answer
    assert str(directory) in answer.error["message"] + " ".join(answer.error["reasons"]), answer
    assert not trace.exists(), "etcdctl was run on cp1"
