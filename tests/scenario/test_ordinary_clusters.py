"""What ordinary clusters have: pods of operators, of tenants and of nobody, static pods beside the four."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from scenario.ends import (
    AFTER,
    BEFORE,
    OLD,
    assert_completed,
    assert_data_went_back,
    assert_rolled_back,
    commands_with,
)
from scenario.stage import TARGET, Stage

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


def containers(stage: Stage, node: str, name: str, namespace: str) -> list[tuple[str, str]]:
    """Id and state of the containers of that name in that namespace."""
    rows = json.loads(stage.shell(node, "crictl", "ps", "--all", "-o", "json").stdout)["containers"]
    ours = (row for row in rows if row["labels"]["io.kubernetes.pod.namespace"] == namespace)
    return [(row["id"], row["state"]) for row in ours if row["metadata"]["name"] == name]


def bare_pod(node: str, name: str = "debug") -> str:
    spec = {
        "nodeSelector": {"kubernetes.io/hostname": node},
        "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}],
        "containers": [{"name": "debug", "image": "docker.io/library/nginx:1.25.3"}],
    }
    metadata = {"name": name, "namespace": "default"}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def test_a_tenants_etcd_and_the_own_static_pods_run_through_a_rollback(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage(faults=("apply-fails-after-etcd",))
    stage.starts = True
    stage.put_key(BEFORE, "written before the run")
    before = stage.truth()
    seen = [containers(stage, "cp1", *which) for which in (("etcd", "tenant"), ("keepalived", "kube-system"))]
    assert [state for [(_, state)] in seen] == ["CONTAINER_RUNNING"] * 2
    going = stage.start("run", TARGET, "--yes")
    stage.await_state("planned", going)
    stage.put_key(AFTER, "written after the snapshot")
    answer = going.wait()
    assert answer.exit_code == 7, str(answer)
    assert_rolled_back(stage, before)
    assert_data_went_back(stage)
    assert [containers(stage, "cp1", *which) for which in (("etcd", "tenant"), ("keepalived", "kube-system"))] == seen


def test_an_upgrade_of_three_with_all_of_it_completes(new_stage: Callable[..., Stage]) -> None:
    """crictl as containerd 1.x gives it, components that restarted before, an operator that comes straight back."""
    stage = new_stage(control_planes=3)
    rows = json.loads(stage.shell("cp1", "crictl", "ps", "-o", "json").stdout)["containers"]
    assert not any("userSpecifiedImage" in row["image"] for row in rows)
    assert max(row["metadata"]["attempt"] for row in rows) >= 2
    stage.run()
    assert_completed(stage)


def test_a_pod_of_nobody_is_found_before_anything_is_changed(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage()
    stage.shell("cp1", "kubectl", "apply", "-f", "-", stdin=bare_pod("w1"))
    refused = stage.run(ends=3)
    assert refused.data["state"] == "started"
    assert "default/debug on w1" in "".join(refused.error["reasons"])
    assert "drain_force" in refused.error["hint"]
    stage.configure(drain_force="true")
    stage.guard("resume", "--yes")
    assert_completed(stage)
    assert stage.get("pods", "--namespace=default")["items"] == []


def test_a_node_that_is_not_to_be_drained_keeps_its_pods(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage()
    stage.shell("cp1", "kubectl", "apply", "-f", "-", stdin=bare_pod("w1"))
    path = stage.lab.directory / "config.toml"
    path.write_text(path.read_text().replace("[nodes.w1]\n", "[nodes.w1]\ndrain = false\n"))
    stage.run()
    assert_completed(stage)
    [pod] = stage.get("pods", "--namespace=default")["items"]
    assert pod["spec"]["nodeName"] == "w1"


def test_what_people_delete_meanwhile_is_no_failure(copied_stage: Callable[..., Stage]) -> None:
    stage = copied_stage()
    going = stage.start("resume", "--yes")
    stage.await_state("planned", going)
    gone = [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "ledger", "namespace": "shop"}}]
    stage.shell("cp1", "kubectl", "delete", "-f", "-", "--wait=false", stdin=json.dumps(gone[0]))
    answer = going.wait()
    assert answer.exit_code == 0, str(answer)
    [row] = stage.rows("select result from steps where name = 'verify/workloads' and outcome = 'succeeded'")
    assert "Deployment shop/ledger is missing" in row["result"]


def test_a_worker_that_leaves_the_cluster_in_the_middle_is_gone_on_without(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage(workers=3)  # so that the pods of a drained one find a place
    going = stage.start("run", TARGET, "--yes")
    stage.await_state("planned", going)
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w3"}}
    stage.shell("cp1", "kubectl", "delete", "-f", "-", "--wait=false", stdin=json.dumps(node))
    answer = going.wait()
    assert answer.exit_code == 0, str(answer)
    assert stage.kubelet_versions() == dict.fromkeys(("cp1", "w1", "w2"), TARGET)
    assert stage.node_truth("w3")["packages"]["kubelet"].startswith(OLD[1:])
    [row] = stage.rows("select result from steps where name = 'verify/nodes' and outcome = 'succeeded'")
    assert json.loads(row["result"])["left"] == ["w3"]


def test_a_rollback_needs_no_package_repository(copied_stage: Callable[..., Stage]) -> None:
    stage = copied_stage()
    stage.switch_on("apply-fails-after-etcd")
    going = stage.start("resume", "--yes")
    stage.await_state("planned", going)
    stage.put_key(AFTER, "written after the snapshot")
    repository = stage.lab.layout.repository / "v1.27"
    repository.rename(repository.with_name("gone"))
    answer = going.wait()
    assert answer.exit_code == 7, str(answer)
    assert_rolled_back(stage, stage.before)
    assert_data_went_back(stage)


def test_apt_daily_beside_the_run_is_waited_for(new_stage: Callable[..., Stage]) -> None:
    """While it fetches lists and while it fetches packages: apt-get says each in words of its own."""
    stage = new_stage()
    held, cases = [], ""
    for word, lock in (("update", "/var/lib/apt/lists/lock"), ("install", "/var/cache/apt/archives/lock")):
        held.append(stage.lab.directory / f"apt-daily-{word}")
        held[-1].touch()
        said = f"E: Could not get lock {lock}. It is held by process 812 (apt-get)"
        cases += f'*\\ {word}*) if [ -e {held[-1]} ]; then rm {held[-1]}; echo "{said}" >&2; exit 100; fi;;\n'
    stage.put_before(stage.lab.layout.programs("cp1") / "apt-get", f'case " $*" in\n{cases}esac\nexec "$real" "$@"')
    stage.run()
    assert_completed(stage)
    assert not any(path.exists() for path in held)


def test_a_repository_that_goes_away_in_the_middle(stage: Stage) -> None:
    """Everything was fetched on every node before the gate."""
    going = stage.start("run", TARGET, "--yes")
    stage.await_outcome("stage/w1/packages", "succeeded", going)
    stage.lab.layout.repository.rename(stage.lab.directory / "away")
    assert going.wait().exit_code == 0
    assert_completed(stage)


FOREIGN: dict[str, tuple[dict[str, Any], str]] = {
    "windows": ({"nodeInfo": {"operatingSystem": "windows"}}, "it runs windows"),
    "virtual": ({"addresses": [], "nodeInfo": {"operatingSystem": "linux"}}, "it has no InternalIP"),
}


def test_nodes_that_kubeadm_does_not_know_are_left_out(stage: Stage) -> None:
    """Windows, and no machine at all; each is named, and stays as it is."""
    for name, (change, _) in FOREIGN.items():
        node = stage.get("node", "w1")
        node["metadata"] = {"name": name, "labels": {}}
        node["status"]["conditions"] = [
            {"type": "Ready", "status": "False", "reason": "Other"}
        ]  # or pods would go there
        node["status"]["nodeInfo"].update(change["nodeInfo"])
        node["status"] = {**node["status"], **change, "nodeInfo": node["status"]["nodeInfo"]}
        stage.put_key(f"/registry/nodes/{name}", json.dumps(node))
    stage.run()
    versions = stage.kubelet_versions()
    assert [versions.pop(name) for name in FOREIGN] == [OLD, OLD]
    assert set(versions.values()) == {TARGET}
    [checks] = [step for step in stage.show()["steps"] if step["name"] == "inspect/checks" and step["result"]]
    said = [one["message"] for one in checks["result"]["findings"] if one["check"] == "nodes-left-out"]
    for name, (_, why) in FOREIGN.items():
        assert any(name in message and why in message for message in said), said


def test_patches_of_kubeadm_are_handed_to_it(stage: Stage) -> None:
    """A directory of patches that nobody named is refused: without them kubeadm takes away what was patched."""
    patches = stage.lab.layout.kubernetes("cp1") / "patches"
    patches.mkdir()
    (patches / "kube-apiserver0+merge.yaml").write_text("spec: {}\n")
    answer = stage.run(ends=3)
    assert "has patches for kubeadm which it would not be given" in " ".join(answer.error["reasons"])
    stage.configure(patches=json.dumps(str(patches)))
    stage.run()
    assert_completed(stage)
    [apply] = commands_with(stage.show()["commands"], "kubeadm", "upgrade", "apply")
    assert f"--patches={patches}" in apply["argv"]


def there_and_back_and_there(stage: Stage) -> None:
    """After a failure on the first control plane a person takes all of them back; without it the upgrade completes."""
    first = stage.lab.settings.control_planes[0]
    stage.put_key(BEFORE, "written before the run", first)
    before = stage.truth()
    stage.switch_on("apply-fails-after-etcd")
    going = stage.start("run", TARGET, "--yes", "--no-auto-rollback")
    stage.await_state("planned", going)
    stage.put_key(AFTER, "written after the snapshot", first)
    answer = going.wait()
    assert answer.exit_code == 6, str(answer)
    stage.guard("rollback", "--everything", "--confirm-cluster", "lab")
    assert stage.truth().keys() == before.keys()
    assert (stage.key(BEFORE, first), stage.key(AFTER, first)) == ("written before the run", None)
    assert len(set(stage.hashes().values())) == 1
    stage.switch_off("apply-fails-after-etcd")
    stage.run()
    assert set(stage.kubelet_versions().values()) == {TARGET}


def test_whole_names_of_nodes_other_names_of_members_and_addresses_of_ipv6(new_stage: Callable[..., Stage]) -> None:
    """Names that have dots, etcd members that are called otherwise than their nodes, and IPv6 for nodes, members, the
    endpoint, pods and services.
    """
    stage = new_stage(control_planes=3, domain="lab.example", ipv6=True)
    settings = stage.lab.settings
    assert [settings.member(name) for name in settings.control_planes] == ["infra0", "infra1", "infra2"]
    assert all(":" in address for address in (*settings.addresses.values(), settings.endpoint))
    there_and_back_and_there(stage)


def test_five_control_planes(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage(control_planes=5)
    stage.run()
    assert_completed(stage)
    assert len(stage.hashes()) == 5
    assert len(set(stage.hashes().values())) == 1
