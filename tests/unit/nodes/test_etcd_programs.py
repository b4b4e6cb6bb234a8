from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from upgrade_guard.errors import Refused
from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.hosts.scripted import ScriptedHost
from upgrade_guard.nodes.etcd_programs import digests_here, fetch_programs, kept_programs
from upgrade_guard.tools.etcd_tools import EtcdTools
from upgrade_guard.tools.files import Files


def kept(path: Path, *names: str) -> Path:
    for name in names:
        (path / name).mkdir(parents=True)
        for program in ("etcd", "etcdctl", "etcdutl"):
            (path / name / program).write_text("")
    return path


def test_the_programs_of_that_version_are_found_whatever_their_directory_is_called(tmp_path: Path) -> None:
    kept(tmp_path, "3.5.9-0", "mirror-build")
    host = ScriptedHost("here")
    for name, version in (("3.5.9-0", "3.5.9"), ("mirror-build", "3.5.24")):
        host.answers(
            ..., str(tmp_path / name / "etcdctl"), ..., stdout=f"etcdctl version: {version}\nAPI version: 3.5\n"
        )

    assert kept_programs(tmp_path, "3.5.24", host).etcd == tmp_path / "mirror-build" / "etcd"


@pytest.mark.parametrize("name", ["etcd", "etcdctl", "etcdutl"])
def test_programs_that_are_not_those_on_record_are_not_run(tmp_path: Path, name: str) -> None:
    directory = kept(tmp_path, "3.5.24-0") / "3.5.24-0"
    recorded = {f"here:{directory}": digests_here(directory)}
    host = ScriptedHost("here")
    host.answers(..., str(directory / "etcdctl"), ..., stdout="etcdctl version: 3.5.24\nAPI version: 3.5\n")
    assert kept_programs(tmp_path, "3.5.24", host, lambda: recorded).etcd == directory / "etcd"
    asked = len(host.argvs)

    (directory / name).write_text("somebody else's")
    with pytest.raises(Refused, match=f"{directory}/{name} on this machine is not the program"):
        kept_programs(tmp_path, "3.5.24", host, lambda: recorded)
    assert len(host.argvs) == asked, "none of them was run"


def test_a_program_that_is_gone_is_not_called_another_one(tmp_path: Path) -> None:
    directory = kept(tmp_path, "3.5.24-0") / "3.5.24-0"
    recorded = {f"here:{directory}": digests_here(directory)}
    (directory / "etcdutl").unlink()
    with pytest.raises(Refused, match=f"{directory}/etcdutl on this machine, .* is gone"):
        kept_programs(tmp_path, "3.5.24", ScriptedHost("here"), lambda: recorded)


def test_what_is_half_fetched_is_not_asked(tmp_path: Path) -> None:
    kept(tmp_path, ".3.5.9-0.part-1234")
    with pytest.raises(Refused):
        kept_programs(tmp_path, "3.5.9", ScriptedHost("here"))


@pytest.mark.parametrize("there", [True, False])
def test_where_to_put_them_is_said(tmp_path: Path, there: bool) -> None:
    directory = tmp_path / "etcd"
    if there:
        directory.mkdir()

    with pytest.raises(Refused, match=r"the programs of etcd 3\.5\.24 are not on this machine") as refused:
        kept_programs(directory, "3.5.24", ScriptedHost("here"))

    assert str(directory / "3.5.24") in refused.value.hint


def test_what_a_killed_fetch_left_is_removed_by_the_next(tmp_path: Path) -> None:
    here = tmp_path / "here"
    ended = subprocess.Popen(("true",))
    ended.wait()
    kept(here, f".3.5.9-0.part-{ended.pid}", f".3.5.9-0.part-{os.getppid()}")
    kept(tmp_path, "node")
    tools = EtcdTools(*(str(tmp_path / "node" / name) for name in ("etcd", "etcdctl", "etcdutl")))

    fetch_programs(Files(LocalHost("cp1")), tools, here / "3.5.9-0")

    assert {path.name for path in here.iterdir()} == {"3.5.9-0", f".3.5.9-0.part-{os.getppid()}"}
