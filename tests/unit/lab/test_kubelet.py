"""What stopping kubelet does and does not do, and that API objects really live in etcd."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from unit.lab.conftest import until

from upgrade_guard.lab import processes
from upgrade_guard.lab.gateway import Gateway
from upgrade_guard.lab.simulation import credentials

CANARY = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "canary", "namespace": "kube-system", "labels": {"canary": "true"}},
    "spec": {
        "nodeSelector": {"kubernetes.io/hostname": "w1"},
        "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "canary", "image": "registry.k8s.io/pause:3.9"}],
    },
}


def canary_service(lab) -> list[dict]:
    address, port = lab.settings.addresses["cp1"], lab.settings.ports.api_server
    metadata = {"name": "canary", "namespace": "kube-system", "labels": {"canary": "true"}}
    labels = {**metadata["labels"], "kubernetes.io/service-name": "canary"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"ports": [{"name": "https", "port": 443}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": labels},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        },
    ]


def apply(operator, objects: list[dict]) -> None:
    operator.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def delete(operator, objects: list[dict]) -> None:
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    operator.kubectl("delete", "-f", "-", "--ignore-not-found", "--wait=false", stdin=listed)


def write_elsewhere(operator, revisions: int) -> None:
    """Let the cluster's revision grow."""
    settings = operator.lab.settings
    context = credentials(operator.lab.layout).context()
    gateway = Gateway(settings.addresses["cp1"], settings.ports.etcd_client, context)
    for number in range(revisions):
        gateway.write({"/elsewhere": str(number)})
    gateway.close()


def canary_phase(operator) -> str:
    return operator.get("pod", "canary", "--namespace=kube-system")["status"]["phase"]


def reaches_canary_service(operator, node: str) -> bool:
    service = operator.get("service", "canary", "--namespace=kube-system")
    return ask_at(operator, node, service["spec"]["clusterIP"]).returncode == 0


def ask_at(operator, node: str, cluster_ip: str) -> subprocess.CompletedProcess[str]:
    """Ask for the version at a service's address, as the kubelet of that node."""
    kubeconfig = operator.lab.layout.kubernetes(node) / "kubelet.conf"
    words = (f"--kubeconfig={kubeconfig}", f"--server=https://{cluster_ip}:443", "--tls-server-name=kubernetes")
    return operator.run(node, "kubectl", *words, "--request-timeout=5s", "get", "--raw", "/version", ok=False)


def test_stopping_kubelet_stops_no_container(new_lab: Callable) -> None:
    operator = new_lab()
    before = {name: operator.running("cp1", name) for name in ("etcd", "kube-apiserver", "kube-scheduler")}
    operator.run("cp1", "systemctl", "stop", "kubelet")
    assert operator.run("cp1", "systemctl", "is-active", "kubelet", ok=False).returncode == 3
    operator.manifest("cp1", "kube-scheduler").unlink()
    operator.manifest("cp1", "etcd").rename(operator.lab.directory / "etcd.yaml")
    assert {name: operator.running("cp1", name) for name in before} == before
    assert operator.ready()
    # The node is found to be silent, by a controller that still runs.
    until(lambda: operator.nodes()["cp1"]["status"]["conditions"][-1]["status"] == "Unknown")


def test_a_removed_manifest_stops_its_container_once_kubelet_runs(new_lab: Callable) -> None:
    operator = new_lab()
    [(pid, since)] = processes.running_with(f"--data-dir={operator.lab.layout.etcd('cp1')}")
    operator.manifest("cp1", "etcd").rename(operator.lab.directory / "etcd.yaml")
    assert operator.running("cp1", "etcd") == ""
    assert not processes.alive(pid, since)
    refused = operator.kubectl("get", "nodes", ok=False)
    assert refused.returncode == 1
    assert "was refused - did you specify the right host or port?" in refused.stderr
    (operator.lab.directory / "etcd.yaml").rename(operator.manifest("cp1", "etcd"))
    until(operator.ready)


def test_every_file_in_manifests_counts(new_lab: Callable) -> None:
    operator = new_lab()
    text = operator.manifest("cp1", "kube-scheduler").read_text()
    backup = operator.manifest("cp1", "kube-scheduler").with_name("kube-scheduler.yaml.bak")
    backup.write_text(text.replace("v1.27.16", "v1.26.15"))
    newest = operator.containers("cp1", "kube-scheduler")[0]
    assert operator.image("cp1", newest).endswith(":v1.26.15")
    backup.rename(backup.with_name(".kube-scheduler.yaml.bak"))
    newest = operator.containers("cp1", "kube-scheduler")[0]
    assert operator.image("cp1", newest).endswith(":v1.27.16")


def test_an_etcd_that_dies_is_started_again_by_kubelet_only(new_lab: Callable) -> None:
    operator = new_lab()
    [(pid, _)] = processes.running_with(f"--data-dir={operator.lab.layout.etcd('cp1')}")
    operator.run("cp1", "systemctl", "stop", "kubelet")
    os.kill(pid, signal.SIGKILL)
    until(lambda: operator.running("cp1", "etcd") == "")
    assert not operator.ready()
    operator.run("cp1", "systemctl", "start", "kubelet")
    until(operator.ready)
    assert operator.containers("cp1", "etcd")[0]["metadata"]["attempt"] == 1


def test_a_restore_takes_objects_back(new_lab: Callable, tmp_path: Path) -> None:
    operator = new_lab()
    snapshot = operator.save_snapshot(tmp_path / "before.db")
    operator.kubectl("create", "configmap", "written-since", "--from-literal=says=lost")
    operator.kubectl("delete", "configmap", "filler-7")
    operator.roll_back(snapshot)
    assert operator.kubectl("get", "configmap", "written-since", ok=False).returncode == 1
    assert operator.get("configmap", "filler-7")["metadata"]["name"] == "filler-7"
    assert operator.get("configmap", "marker")["data"]["says"] == "before the upgrade"


def test_a_restore_under_a_running_etcd_is_lost(new_lab: Callable, tmp_path: Path) -> None:
    """The trap that the product exists for: no error anywhere, until etcd restarts."""
    operator = new_lab()
    snapshot = operator.save_snapshot(tmp_path / "before.db")
    operator.kubectl("create", "configmap", "written-since", "--from-literal=says=kept")
    operator.run("cp1", "systemctl", "stop", "kubelet")
    data = operator.lab.layout.etcd("cp1")
    data.rename(data.with_name("moved"))
    restore = ("snapshot", "restore", str(snapshot), f"--data-dir={data}")
    operator.run("cp1", str(operator.etcd_tools("cp1") / "etcdutl"), *restore)
    assert operator.get("configmap", "written-since")["data"]["says"] == "kept"


def test_new_pods_and_services_work_on_every_node(operator, lab) -> None:
    objects = [CANARY, *canary_service(lab)]
    apply(operator, objects)
    assert canary_phase(operator) == "Running"
    assert [reaches_canary_service(operator, node) for node in ("cp1", "w1")] == [True, True]
    delete(operator, objects)
    assert operator.items("pods,services", "-l", "canary=true", "--namespace=kube-system") == []


def test_a_service_address_that_nobody_has_does_not_answer(operator) -> None:
    ended = ask_at(operator, "w1", "10.96.99.99")
    assert ended.returncode == 1
    assert "i/o timeout" in ended.stderr


def test_watchers_that_saw_the_future_do_nothing_new(new_lab: Callable, tmp_path: Path) -> None:
    operator = new_lab()
    lab = operator.lab
    snapshot = operator.save_snapshot(tmp_path / "before.db")
    write_elsewhere(operator, 30)
    operator.kubectl("get", "nodes")  # kubelets and proxies see it
    operator.roll_back(snapshot)
    apply(operator, [CANARY, *canary_service(lab)])
    # Everything looks well, and the worker, where nothing was restarted, does nothing new (measured).
    assert all(node["status"]["conditions"][-1]["status"] == "True" for node in operator.nodes().values())
    assert canary_phase(operator) == "Pending"
    assert not reaches_canary_service(operator, "w1")
    operator.run("w1", "systemctl", "restart", "kubelet")
    until(lambda: canary_phase(operator) == "Running")
    assert not reaches_canary_service(operator, "w1")
    operator.kubectl("--namespace=kube-system", "delete", "pods", "-l", "k8s-app=kube-proxy", "--wait=false")
    assert reaches_canary_service(operator, "w1")


def test_revisions_that_pass_what_was_seen_wake_the_watchers(new_lab: Callable, tmp_path: Path) -> None:
    operator = new_lab()
    snapshot = operator.save_snapshot(tmp_path / "before.db")
    write_elsewhere(operator, 30)
    operator.kubectl("get", "nodes")
    operator.roll_back(snapshot)
    apply(operator, [CANARY])
    assert canary_phase(operator) == "Pending"
    write_elsewhere(operator, 60)
    until(lambda: canary_phase(operator) == "Running")
