"""A lab comes up whole, stays what it is, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from upgrade_guard.errors import UsageProblem
from upgrade_guard.lab import cluster, processes
from upgrade_guard.lab.cluster import LabCluster
from upgrade_guard.lab.records import read_record


def etcd_processes(lab: LabCluster) -> list[tuple[int, int]]:
    names = lab.settings.control_planes
    return [one for name in names for one in processes.running_with(f"--data-dir={lab.layout.etcd(name)}")]


def test_a_lab_is_whole_when_up_returns(operator) -> None:
    nodes = operator.nodes()
    assert set(nodes) == {"cp1", "w1"}
    assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes.values()} == {"v1.27.16"}
    assert all(pod["status"]["phase"] == "Running" for pod in operator.pods())
    assert len(operator.items("configmaps")) == 201
    assert operator.get("configmap", "marker")["data"] == {"says": "before the upgrade"}


def test_the_configuration_is_an_ordinary_one(lab: LabCluster) -> None:
    read = tomllib.loads(lab.config_path.read_text())
    assert read["cluster"] == {"name": "lab", "control_plane": "local", "node": "cp1"}
    assert set(read["nodes"]) == {"cp1", "w1"}
    assert read["vault"]["offsite"] == [f"file://{lab.offsite}"]
    assert read["vault"]["separate_storage"] == [str(lab.offsite)]
    for node in read["nodes"].values():
        assert node["address"] == "local"
        assert Path(node["kubernetes_dir"]).is_dir()
        assert Path(node["package_source"]).is_file()
        assert all(Path(path).exists() for path in node["host_files"])


def test_the_offsite_directory_is_private_and_on_another_device(lab: LabCluster) -> None:
    assert lab.offsite.stat().st_mode & 0o777 == 0o700
    assert lab.offsite.stat().st_dev != lab.layout.etcd("cp1").stat().st_dev


def test_a_manifest_has_kubeadms_flags_and_real_files(lab: LabCluster) -> None:
    lines = (lab.layout.kubernetes("cp1") / "manifests" / "etcd.yaml").read_text().splitlines()
    flags = dict(line.strip()[4:].split("=", 1) for line in lines if line.startswith("    - --"))
    for flag in ("cert-file", "key-file", "trusted-ca-file", "data-dir"):
        assert Path(flags[flag]).exists(), flag
    assert flags["unsafe-no-fsync"] == "true"


def test_up_twice_is_once(new_lab: Callable) -> None:
    operator = new_lab()
    before = etcd_processes(operator.lab)
    again = cluster.up(operator.lab.directory)
    assert again.settings == operator.lab.settings
    assert etcd_processes(operator.lab) == before


def test_up_starts_again_what_died(new_lab: Callable) -> None:
    operator = new_lab()
    [(pid, _)] = etcd_processes(operator.lab)
    os.kill(pid, signal.SIGKILL)
    cluster.up(operator.lab.directory)
    [(after, _)] = etcd_processes(operator.lab)
    assert after != pid
    assert operator.get("configmap", "marker")["data"]["says"] == "before the upgrade"


def test_up_completes_what_was_cut_short(tmp_path: Path) -> None:
    directory = tmp_path / "lab"
    killed = (
        "import os, signal, sys; from pathlib import Path; from upgrade_guard.lab import cluster, nodes\n"
        "real = nodes.certificates.issue_kubelet\n"
        "nodes.certificates.issue_kubelet = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        "cluster.up(Path(sys.argv[1]))"
    )
    ended = subprocess.run([sys.executable, "-c", killed, str(directory)], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    made = cluster.up(directory)
    try:
        assert made.config_path.exists()
        assert len(etcd_processes(made)) == 1
    finally:
        cluster.down(directory)


def test_down_stops_and_removes_everything(new_lab: Callable) -> None:
    operator = new_lab()
    lab = operator.lab
    cluster.down(lab.directory)
    assert etcd_processes(lab) == []
    assert not lab.directory.exists()
    assert not lab.offsite.exists()


def test_down_leaves_what_is_not_the_labs(new_lab: Callable) -> None:
    lab = new_lab().lab
    (lab.directory / "notes.txt").write_text("mine")
    cluster.down(lab.directory)
    assert [path.name for path in lab.directory.iterdir()] == ["notes.txt"]


def test_down_refuses_a_directory_that_is_no_lab(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(UsageProblem, match="is not a lab"):
        cluster.down(tmp_path)
    assert (tmp_path / "precious").exists()


def test_up_refuses_a_directory_with_something_else_in_it(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(UsageProblem, match="holds no lab"):
        cluster.up(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_up_refuses_to_change_a_lab_into_another(lab: LabCluster) -> None:
    with pytest.raises(UsageProblem, match="already holds another lab"):
        cluster.up(lab.directory, control_planes=3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"from_version": "1.27"}, "couldn't parse version"),
        ({"from_version": "v1.12.0"}, "cannot begin with v1.12.0"),
        ({"from_version": "v1.99.0"}, "cannot begin with v1.99.0"),
        ({"control_planes": 2}, "one, three or five"),
        ({"workers": 12}, "none to nine"),
        ({"faults": ("no-such-fault",)}, "there is no fault"),
    ],
)
def test_what_cannot_be_had_is_refused_before_anything_is_made(tmp_path: Path, options: dict, said: str) -> None:
    with pytest.raises(UsageProblem, match=said):
        cluster.up(tmp_path / "lab", **options)
    assert not (tmp_path / "lab").exists()


def programs_of_etcd(directory: Path, **versions: str) -> Path:
    """A directory with programs that say which version they are, and do nothing else."""
    directory.mkdir()
    for name, version in versions.items():
        (directory / name).write_text(f"#!/bin/sh\necho '{name} version: {version}'\n")
        (directory / name).chmod(0o755)
    return directory


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ({"etcd": "3.5.33", "etcdctl": "3.5.33"}, "no program etcdutl"),
        ({"etcd": "3.5.33", "etcdctl": "3.5.33", "etcdutl": "3.5.1"}, "several versions: .*etcdutl is 3.5.1"),
        ({"etcd": "3.6.8", "etcdctl": "3.6.8", "etcdutl": "3.6.8"}, "plays with 3.5"),
    ],
)
def test_other_programs_of_etcd_are_looked_at_before_anything_is_made(tmp_path: Path, versions, said: str) -> None:
    with pytest.raises(UsageProblem, match=said):
        cluster.up(tmp_path / "lab", etcd=programs_of_etcd(tmp_path / "etcd", **versions))
    assert not (tmp_path / "lab").exists()


def test_every_image_of_etcd_is_called_by_the_version_that_runs(operator) -> None:
    running = json.loads(operator.etcdctl("endpoint", "status", "--write-out=json").stdout)[0]["Status"]["version"]
    assert f"image: registry.k8s.io/etcd:{running}-1\n" in operator.manifest("cp1", "etcd").read_text()
    assert operator.lab.settings.etcd_version == running


def test_an_offsite_directory_on_the_same_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="same device") as refused:
        cluster.up(tmp_path / "lab", offsite=tmp_path / "copies")
    assert "--offsite" in refused.value.hint


def test_three_control_planes_are_one_etcd_cluster(new_lab: Callable) -> None:
    operator = new_lab(control_planes=3)
    assert operator.etcdctl("member", "list").stdout.count("started") == 3
    assert operator.lab.settings.control_planes == ("cp1", "cp2", "cp3")
    assert [read_record(operator.lab.layout, name).kubelet.works for name in operator.lab.settings.names] == [True] * 4


def test_taking_down_what_is_not_there_is_nothing_to_do(tmp_path: Path) -> None:
    cluster.down(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
