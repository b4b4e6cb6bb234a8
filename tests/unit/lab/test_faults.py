"""Every fault strikes where it says, and only there."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from unit.lab.conftest import Operator, until

from upgrade_guard.errors import UsageProblem
from upgrade_guard.lab import fault_switch, faults, processes

NEW, OLD = "v1.28.0", "v1.27.16"


def trailer_is_right(snapshot: Path) -> bool:
    content = snapshot.read_bytes()
    return len(content) % 512 == 32 and hashlib.sha256(content[:-32]).digest() == content[-32:]


def apply(operator: Operator, *, ok: bool = False):
    operator.switch_source("cp1", "v1.27", "v1.28")
    operator.install("cp1", "kubeadm=1.28.0-1.1")
    return operator.run("cp1", "kubeadm", "upgrade", "apply", NEW, "--yes", ok=ok)


def test_every_fault_says_what_it_does_and_how_it_ends() -> None:
    assert len(set(faults.NAMES)) == len(faults.NAMES)
    for fault in faults.FAULTS:
        assert fault.summary.endswith(".")
        assert "exit" in fault.ends


def test_an_unknown_fault_is_refused_with_the_names(lab) -> None:
    with pytest.raises(UsageProblem, match="no fault") as refused:
        fault_switch.switch_on(lab.directory, "no-such-fault")
    assert "apply-hangs" in refused.value.hint
    with pytest.raises(UsageProblem, match="is not a lab"):
        fault_switch.switch_on(lab.directory / "nodes", "apply-hangs")


def test_switching_on_and_off(lab) -> None:
    fault_switch.switch_on(lab.directory, "plan-refuses")
    fault_switch.switch_on(lab.directory, "apply-hangs")
    assert faults.armed(lab.directory) == ("plan-refuses", "apply-hangs")
    for name in ("plan-refuses", "apply-hangs"):
        fault_switch.switch_off(lab.directory, name)
    assert faults.armed(lab.directory) == ()


@pytest.mark.parametrize("name", ["snapshot-truncated", "snapshot-flipped-byte"])
@pytest.mark.parametrize("extracted_before", [True, False])
def test_a_spoilt_snapshot_once(new_lab: Callable, tmp_path: Path, name: str, extracted_before: bool) -> None:
    operator = new_lab()
    if extracted_before:
        operator.etcd_tools("cp1")
    fault_switch.switch_on(operator.lab.directory, name)
    spoilt = operator.save_snapshot(tmp_path / "spoilt.db")
    assert not trailer_is_right(spoilt)
    etcdutl = str(operator.etcd_tools("cp1") / "etcdutl")
    status = operator.run("cp1", etcdutl, "snapshot", "status", str(spoilt), ok=False)
    # A flipped byte goes unnoticed by etcd's own look (measured).
    assert (status.returncode == 0) == (name == "snapshot-flipped-byte")
    assert trailer_is_right(operator.save_snapshot(tmp_path / "good.db"))


def test_an_alarm_is_raised_in_the_real_etcd(new_lab: Callable) -> None:
    operator = new_lab()
    fault_switch.switch_on(operator.lab.directory, "etcd-alarm")
    assert "alarm:NOSPACE" in operator.etcdctl("alarm", "list").stdout
    ended = operator.kubectl("create", "configmap", "one-more", ok=False)
    assert ended.returncode == 1
    assert "etcdserver: mvcc: database space exceeded" in ended.stderr
    assert set(operator.nodes()) == {"cp1", "w1"}
    fault_switch.switch_off(operator.lab.directory, "etcd-alarm")
    assert operator.etcdctl("alarm", "list").stdout == ""
    operator.kubectl("create", "configmap", "one-more")


def test_an_expired_certificate_is_seen_by_kubeadm(new_lab: Callable) -> None:
    operator = new_lab()
    fault_switch.switch_on(operator.lab.directory, "certificate-expired")
    rows = operator.run("cp1", "kubeadm", "certs", "check-expiration").stdout.splitlines()
    expired = [row.split()[0] for row in rows if "<invalid>" in row]
    assert expired == ["apiserver"]
    fault_switch.switch_off(operator.lab.directory, "certificate-expired")
    assert "<invalid>" not in operator.run("cp1", "kubeadm", "certs", "check-expiration").stdout


def test_offsite_bytes_differ_however_they_are_written(new_lab: Callable) -> None:
    operator = new_lab()
    offsite = operator.lab.offsite
    fault_switch.switch_on(operator.lab.directory, "offsite-copy-differs")
    content = bytes(100_000)
    (offsite / "bundle.part").mkdir()
    written = offsite / "bundle.part" / "snapshot.db"
    written.write_bytes(content)
    until(lambda: written.read_bytes() != content)
    (offsite / "bundle.part").rename(offsite / "bundle")
    (offsite / "bundle" / "snapshot.db").write_bytes(content)
    until(lambda: (offsite / "bundle" / "snapshot.db").read_bytes() != content)
    watcher = json.loads((operator.lab.layout.lab / "rot.json").read_text())
    fault_switch.switch_off(operator.lab.directory, "offsite-copy-differs")
    assert not processes.alive(watcher["pid"], watcher["begun"])
    (offsite / "bundle" / "snapshot.db").write_bytes(content)
    assert (offsite / "bundle" / "snapshot.db").read_bytes() == content


def test_plan_refuses_until_it_is_switched_off(new_lab: Callable) -> None:
    operator = new_lab()
    fault_switch.switch_on(operator.lab.directory, "plan-refuses")
    for _ in range(2):
        ended = operator.run("cp1", "kubeadm", "upgrade", "plan", NEW, ok=False)
        assert ended.returncode == 1
        assert "[ERROR CoreDNSMigration]" in ended.stderr
    words = ("kubeadm", "upgrade", "plan", NEW, "--ignore-preflight-errors=CoreDNSMigration")
    assert operator.run("cp1", *words).returncode == 0
    fault_switch.switch_off(operator.lab.directory, "plan-refuses")
    operator.run("cp1", "kubeadm", "upgrade", "plan", NEW)


def test_a_package_is_missing(new_lab: Callable) -> None:
    operator = new_lab()
    fault_switch.switch_on(operator.lab.directory, "package-missing")
    operator.switch_source("cp1", "v1.27", "v1.28")
    assert "1.28.0-1.1" in operator.run("cp1", "apt-cache", "madison", "kubeadm").stdout
    assert operator.run("cp1", "apt-cache", "madison", "kubelet").stdout == ""


def test_apply_fails_before_it_changes_anything(new_lab: Callable) -> None:
    operator = new_lab()
    fault_switch.switch_on(operator.lab.directory, "apply-fails-before-change")
    before = {path.name: path.read_bytes() for path in operator.manifest("cp1", "etcd").parent.iterdir()}
    ended = apply(operator)
    assert ended.returncode == 1
    assert "[ERROR CreateJob]" in ended.stderr
    assert {path.name: path.read_bytes() for path in operator.manifest("cp1", "etcd").parent.iterdir()} == before
    fault_switch.switch_off(operator.lab.directory, "apply-fails-before-change")
    assert apply(operator, ok=True).returncode == 0


def test_apply_fails_once_and_the_next_one_ends_well(new_lab: Callable) -> None:
    operator = new_lab()
    fault_switch.switch_on(operator.lab.directory, "apply-fails-once")
    assert apply(operator).returncode == 1
    until(operator.ready)
    assert apply(operator, ok=True).returncode == 0
    assert NEW in operator.manifest("cp1", "kube-apiserver").read_text()


def test_apply_fails_after_etcd_and_leaves_etcd_new(new_lab: Callable) -> None:
    operator = new_lab()
    fault_switch.switch_on(operator.lab.directory, "apply-fails-after-etcd")
    ended = apply(operator)
    assert ended.returncode == 1
    assert "kubeadm has tried to recover everything into the earlier state" in ended.stderr
    assert "3.5.1-2" in operator.manifest("cp1", "etcd").read_text()
    assert OLD in operator.manifest("cp1", "kube-apiserver").read_text()
    until(operator.ready)
    assert f"kubernetesVersion: {OLD}" in str(operator.get("configmap", "kubeadm-config", "-n", "kube-system"))


def test_apply_hangs_after_etcd(new_lab: Callable) -> None:
    operator = new_lab()
    fault_switch.switch_on(operator.lab.directory, "apply-hangs")
    operator.switch_source("cp1", "v1.27", "v1.28")
    operator.install("cp1", "kubeadm=1.28.0-1.1")
    hanging = operator.start("cp1", "kubeadm", "upgrade", "apply", NEW, "--yes")
    try:
        until(lambda: "3.5.1-2" in operator.manifest("cp1", "etcd").read_text())
        until(lambda: json.loads(operator.lab.layout.faults.read_text())["apply-hangs"]["fired"])
        assert hanging.poll() is None
    finally:
        os.killpg(hanging.pid, signal.SIGKILL)
        hanging.communicate()
    until(operator.ready)
    assert OLD in operator.manifest("cp1", "kube-apiserver").read_text()


def test_a_new_api_server_crash_loops_for_all_to_see(new_lab: Callable) -> None:
    operator = new_lab(patience=4.0)
    fault_switch.switch_on(operator.lab.directory, "apiserver-never-ready")
    operator.switch_source("cp1", "v1.27", "v1.28")
    operator.install("cp1", "kubeadm=1.28.0-1.1")
    waiting = operator.start("cp1", "kubeadm", "upgrade", "apply", NEW, "--yes")

    def restarts() -> int:
        rows = operator.containers("cp1", "kube-apiserver")
        return max((row["metadata"]["attempt"] for row in rows if NEW in operator.image("cp1", row)), default=0)

    until(lambda: restarts() >= 3)
    assert not operator.ready()
    _, said = waiting.communicate(timeout=60)
    assert waiting.returncode == 1
    assert "kubeadm has tried to recover everything" in said
    until(operator.ready)
    assert OLD in operator.manifest("cp1", "kube-apiserver").read_text()


@pytest.mark.parametrize(("name", "node"), [("kubelet-fails-control-plane", "cp1"), ("kubelet-fails-worker", "w1")])
def test_a_new_kubelet_does_not_come_up_and_the_old_one_does(new_lab: Callable, name: str, node: str) -> None:
    operator = new_lab()
    fault_switch.switch_on(operator.lab.directory, name)
    containers = operator.running(node, "kube-proxy")
    operator.switch_source(node, "v1.27", "v1.28")
    operator.upgrade_kubelet(node)
    assert operator.run(node, "systemctl", "is-active", "kubelet", ok=False).stdout == "activating\n"
    until(lambda: operator.nodes()[node]["status"]["conditions"][-1]["status"] == "Unknown")
    operator.run(node, "systemctl", "start", "kubelet")
    assert operator.run(node, "systemctl", "is-active", "kubelet", ok=False).stdout == "activating\n"
    operator.run(node, "systemctl", "stop", "kubelet")
    assert operator.run(node, "systemctl", "is-active", "kubelet", ok=False).stdout == "inactive\n"
    operator.run(node, "systemctl", "start", "kubelet")
    assert operator.running(node, "kube-proxy") == containers
    operator.switch_source(node, "v1.28", "v1.27")
    operator.install(node, "kubelet=1.27.16-1.1", "kubectl=1.27.16-1.1")
    # systemd has gone on trying all the time, so that the old kubelet comes up without being asked.
    until(lambda: operator.run(node, "systemctl", "is-active", "kubelet", ok=False).stdout == "active\n")
    assert operator.nodes()[node]["status"]["conditions"][-1]["status"] == "True"


def test_drains_are_blocked(new_lab: Callable) -> None:
    operator = new_lab()
    fault_switch.switch_on(operator.lab.directory, "drain-blocked")
    [budget] = operator.items("pdb", "--all-namespaces")
    assert budget["status"]["disruptionsAllowed"] == 0
    ended = operator.kubectl("drain", "w1", "--ignore-daemonsets", "--timeout=1s", ok=False)
    assert ended.returncode == 1
    assert "Cannot evict pod" in ended.stderr
    # The control plane has none of these pods and can be drained.
    operator.kubectl("drain", "cp1", "--ignore-daemonsets", "--timeout=30s")
    fault_switch.switch_off(operator.lab.directory, "drain-blocked")
    operator.kubectl("uncordon", "cp1")
    operator.kubectl("drain", "w1", "--ignore-daemonsets", "--timeout=30s")


def test_a_workload_breaks_when_every_node_is_new(new_lab: Callable) -> None:
    operator = new_lab(workers=0)
    fault_switch.switch_on(operator.lab.directory, "workload-broken")

    def ledger() -> dict:
        return operator.get("deployment", "ledger", "--namespace=shop")["status"]

    assert ledger()["readyReplicas"] == 1
    operator.upgrade_first()
    assert ledger()["readyReplicas"] == 1
    operator.upgrade_kubelet("cp1")
    until(lambda: operator.kubectl("get", "nodes", ok=False).returncode == 0 and ledger()["readyReplicas"] == 0)
    [pod] = [pod for pod in operator.pods("shop") if pod["metadata"]["labels"]["app"] == "ledger"]
    until(lambda: "CrashLoopBackOff" in operator.kubectl("get", "pods", "--namespace=shop").stdout)
    assert pod["metadata"]["name"].startswith("ledger-")


def test_a_restore_for_a_node_fails_once_and_leaves_a_mess(new_lab: Callable, tmp_path: Path) -> None:
    operator = new_lab()
    fault_switch.switch_on(operator.lab.directory, "restore-fails-once")
    snapshot = operator.save_snapshot(tmp_path / "good.db")
    etcdutl = str(operator.etcd_tools("cp1") / "etcdutl")

    def restore(into: Path):
        return operator.run("cp1", etcdutl, "snapshot", "restore", str(snapshot), f"--data-dir={into}", ok=False)

    assert restore(tmp_path / "scratch").returncode == 0
    beside = operator.lab.layout.etcd("cp1").with_name("etcd.new")
    first = restore(beside)
    assert first.returncode == 1
    assert "no space left on device" in first.stderr
    assert (beside / "member" / "snap" / "db").exists()
    assert "not empty" in restore(beside).stderr
    assert restore(beside.with_name("etcd.newer")).returncode == 0


def test_restores_for_a_node_fail_until_the_fault_is_off(new_lab: Callable, tmp_path: Path) -> None:
    operator = new_lab()
    snapshot = operator.save_snapshot(tmp_path / "good.db")
    etcdutl = str(operator.etcd_tools("cp1") / "etcdutl")
    fault_switch.switch_on(operator.lab.directory, "restore-fails")

    def restore(name: str) -> int:
        into = operator.lab.layout.etcd("cp1").with_name(name)
        return operator.run(
            "cp1", etcdutl, "snapshot", "restore", str(snapshot), f"--data-dir={into}", ok=False
        ).returncode

    assert [restore("one"), restore("two")] == [1, 1]
    fault_switch.switch_off(operator.lab.directory, "restore-fails")
    assert restore("three") == 0
