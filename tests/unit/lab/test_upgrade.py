"""An upgrade by hand with the nodes' programs, and the way back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from unit.lab.conftest import Operator, in_kube_system, until

from upgrade_guard.lab.kubeadm_certificates import expiry
from upgrade_guard.tools.kubeadm import parse_upgrade_plan

NEW, OLD = "v1.28.0", "v1.27.16"


def images(operator: Operator, node: str) -> dict[str, str]:
    """Component to image tag, of the running containers."""
    rows = json.loads(operator.run(node, "crictl", "ps", "-o", "json").stdout)["containers"]
    return {row["metadata"]["name"]: operator.image(node, row).rsplit(":", 1)[1] for row in rows if in_kube_system(row)}


def bring_up_worker(operator: Operator, node: str) -> None:
    operator.install(node, "kubeadm=1.28.0-1.1")
    operator.run(node, "kubeadm", "upgrade", "node")
    operator.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=30s")
    operator.upgrade_kubelet(node)
    operator.kubectl("uncordon", node)


def test_one_control_plane_all_the_way(new_lab: Callable) -> None:
    operator = new_lab()
    lab = operator.lab
    certificate = lab.layout.pki("cp1") / "apiserver.crt"
    before = certificate.read_bytes()
    operator.upgrade_first()
    tags = images(operator, "cp1")
    assert tags["kube-apiserver"] == tags["kube-scheduler"] == tags["kube-controller-manager"] == NEW
    assert tags["etcd"] == "3.5.1-2"
    assert tags["kube-proxy"] == NEW
    assert certificate.read_bytes() != before
    assert expiry(certificate) is not None
    # kubelets stay what they are until their package and their process are new.
    assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in operator.nodes().values()} == {OLD}
    operator.install("cp1", "kubelet=1.28.0-1.1", "kubectl=1.28.0-1.1")
    assert operator.nodes()["cp1"]["status"]["nodeInfo"]["kubeletVersion"] == OLD
    operator.run("cp1", "systemctl", "restart", "kubelet")
    until(operator.ready)
    assert operator.nodes()["cp1"]["status"]["nodeInfo"]["kubeletVersion"] == NEW
    bring_up_worker(operator, "w1")
    assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in operator.nodes().values()} == {NEW}
    assert all(pod["status"]["phase"] == "Running" for pod in operator.pods())
    backups = sorted(path.name for path in (lab.layout.kubernetes("cp1") / "tmp").iterdir())
    assert any(name.startswith("kubeadm-backup-manifests-") for name in backups)
    assert any(name.startswith("kubeadm-backup-etcd-") for name in backups)


def test_three_control_planes_one_after_the_other_and_back(new_lab: Callable, tmp_path: Path) -> None:
    operator = new_lab(control_planes=3)
    planes = operator.lab.settings.control_planes
    snapshot = operator.save_snapshot(tmp_path / "before.db")
    for node in planes:
        operator.etcd_tools(node)
    manifests = {(node, path.name): path.read_text() for node in planes for path in manifest_files(operator, node)}
    operator.upgrade_first()
    assert images(operator, "cp2")["kube-apiserver"] == OLD
    # Addons wait for the last API server.
    assert all(images(operator, node)["kube-proxy"] == OLD for node in planes)
    for node in planes[1:]:
        operator.install(node, "kubeadm=1.28.0-1.1")
        operator.run(node, "kubeadm", "upgrade", "node")
    assert all(images(operator, node)["kube-apiserver"] == NEW for node in planes)
    assert all(images(operator, node)["kube-proxy"] == NEW for node in planes)
    hashes = {row.split(",")[1] for row in operator.etcdctl("endpoint", "hashkv", "--cluster").stdout.splitlines()}
    assert len(hashes) == 1
    for (node, name), text in manifests.items():
        (operator.manifest(node, "etcd").parent / name).write_text(text)
    operator.roll_back(snapshot)
    until(lambda: operator.etcdctl("member", "list", ok=False).stdout.count("started") == 3)
    assert all(images(operator, node)["kube-apiserver"] == OLD for node in planes)
    assert f"kubernetesVersion: {OLD}" in str(operator.get("configmap", "kubeadm-config", "-n", "kube-system"))


def manifest_files(operator: Operator, node: str) -> list[Path]:
    return sorted(operator.manifest(node, "etcd").parent.glob("*.yaml"))


def test_a_new_kubeadm_plans_the_truth(new_lab: Callable) -> None:
    operator = new_lab()
    operator.switch_source("cp1", "v1.27", "v1.28")
    operator.install("cp1", "kubeadm=1.28.0-1.1")
    plan = parse_upgrade_plan(operator.run("cp1", "kubeadm", "upgrade", "plan", NEW).stdout)
    assert ("etcd", "3.5.1-1", "3.5.1-2") in [(row.component, row.current, row.target) for row in plan.components]
    assert not plan.must_update_kubeadm


def test_apply_again_changes_nothing(new_lab: Callable) -> None:
    operator = new_lab()
    operator.upgrade_first()
    etcd = operator.running("cp1", "etcd")
    said = operator.run("cp1", "kubeadm", "upgrade", "apply", NEW, "--yes").stdout
    assert "equal, skipping upgrade" in said
    assert operator.running("cp1", "etcd") == etcd


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("v1.29.0", "too high; kubeadm can upgrade only 1 minor version at a time"),
        ("v1.28.0", "is at least one minor release higher than the kubeadm minor release (28 > 27)"),
        ("v1.26.0", "too low"),
        ("nonsense", "couldn't parse version"),
    ],
)
def test_kubeadm_refuses_a_version(operator: Operator, target: str, said: str) -> None:
    ended = operator.run("cp1", "kubeadm", "upgrade", "apply", target, "--yes", ok=False)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert images(operator, "cp1")["kube-apiserver"] == OLD


def test_a_worker_needs_its_own_kubeadm(new_lab: Callable) -> None:
    operator = new_lab()
    operator.upgrade_first()
    ended = operator.run("w1", "kubeadm", "upgrade", "node", ok=False)
    assert ended.returncode == 1
    assert "this version of kubeadm only supports" in ended.stderr


def test_kubeadm_needs_an_api_server(new_lab: Callable) -> None:
    operator = new_lab()
    operator.manifest("cp1", "kube-apiserver").unlink()
    ended = operator.run("cp1", "kubeadm", "upgrade", "plan", NEW, ok=False)
    assert ended.returncode == 1
    assert "connection refused" in ended.stderr


def test_the_kubelets_lock_of_a_caller_is_not_inherited_by_etcd(new_lab: Callable) -> None:
    """flock(1) hands its lock to the program that it starts; etcd would hold it for ever."""
    operator = new_lab()
    lock = operator.lab.layout.work("cp1") / "lock"
    operator.manifest("cp1", "etcd").rename(operator.lab.directory / "etcd.yaml")
    operator.run("cp1", "crictl", "ps")
    (operator.lab.directory / "etcd.yaml").rename(operator.manifest("cp1", "etcd"))
    operator.run("cp1", "flock", "--exclusive", str(lock), "crictl", "ps")
    until(operator.ready)
    assert operator.run("cp1", "flock", "--nonblock", str(lock), "true", ok=False).returncode == 0


def test_apt_keeps_its_rules(new_lab: Callable) -> None:
    operator = new_lab()

    def install(*words: str) -> subprocess.CompletedProcess[str]:
        return operator.run("w1", "apt-get", "install", "--yes", *words, ok=False)

    assert "was not found" in install("kubeadm=1.28.0-1.1").stderr
    operator.switch_source("w1", "v1.27", "v1.28")
    assert "Held packages were changed" in install("kubeadm=1.28.0-1.1").stderr
    assert install("--allow-change-held-packages", "--download-only", "kubeadm=1.28.0-1.1").returncode == 0
    assert operator.run("w1", "kubeadm", "version", "-o", "short").stdout == f"{OLD}\n"
    assert install("--allow-change-held-packages", "kubeadm=1.28.0-1.1").returncode == 0
    assert operator.run("w1", "kubeadm", "version", "-o", "short").stdout == f"{NEW}\n"
    operator.switch_source("w1", "v1.28", "v1.27")
    assert "--allow-downgrades" in install("--allow-change-held-packages", "kubeadm=1.27.16-1.1").stderr
    assert install("--allow-change-held-packages", "--allow-downgrades", "kubeadm=1.27.16-1.1").returncode == 0
    operator.switch_source("w1", "v1.27", "v1.28")
    operator.lab.layout.package_source("w1").write_text("deb file:/no/such/repository ./\n")
    assert operator.run("w1", "apt-get", "update", ok=False).returncode == 100


def test_a_drain_respects_disruption_budgets(new_lab: Callable) -> None:
    operator = new_lab(workers=2)
    before = {pod["metadata"]["name"] for pod in operator.pods("shop")}
    words = ("drain", "w1", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=30s")
    said = operator.kubectl(*words)
    assert "ignoring DaemonSet-managed Pods" in said.stderr
    assert "node/w1 drained" in said.stdout
    pods = operator.pods("shop")
    assert all(pod["spec"]["nodeName"] == "w2" for pod in pods)
    assert {pod["metadata"]["name"] for pod in pods} != before
    assert operator.nodes()["w1"]["spec"]["unschedulable"]
    # With nowhere to go, the first evicted pod stays pending and the budget holds the others where they are.
    ended = operator.kubectl("drain", "w2", "--ignore-daemonsets", "--timeout=1s", ok=False)
    assert ended.returncode == 1
    assert "Cannot evict pod as it would violate the pod's disruption budget." in ended.stderr
    assert "global timeout reached: 1s" in ended.stderr
    running = [pod for pod in operator.pods("shop") if pod["metadata"]["labels"]["app"] == "shop"]
    assert sum(1 for pod in running if pod["status"]["phase"] == "Running") == 2
    operator.kubectl("uncordon", "w1")
    operator.kubectl("uncordon", "w2")
    assert all(pod["status"]["phase"] == "Running" for pod in operator.pods("shop"))


def test_a_drain_says_what_it_was_not_allowed(operator: Operator) -> None:
    ended = operator.kubectl("drain", "w1", "--timeout=5s", ok=False)
    assert ended.returncode == 1
    assert "use --ignore-daemonsets to ignore" in ended.stderr
    operator.kubectl("uncordon", "w1")
