"""The nodes' programs speak as the real ones do: what the product's own tools read from them."""

from __future__ import annotations

import json
import subprocess

import pytest

from upgrade_guard.hosts.local import LocalHost
from upgrade_guard.lab.cluster import LabCluster
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.model.version import Version
from upgrade_guard.tools.api_server import ApiServer
from upgrade_guard.tools.apt import Apt
from upgrade_guard.tools.containers import Containers
from upgrade_guard.tools.etcd_manifest import parse_etcd_manifest
from upgrade_guard.tools.etcd_tools import extract_etcd_tools
from upgrade_guard.tools.etcdctl import Etcdctl
from upgrade_guard.tools.etcdutl import Etcdutl
from upgrade_guard.tools.files import Files
from upgrade_guard.tools.kubeadm import Kubeadm, parse_upgrade_plan
from upgrade_guard.tools.kubectl import Kubectl
from upgrade_guard.tools.static_pod import command_flags, image_of
from upgrade_guard.tools.systemctl import Systemctl

OLD = Version.parse("v1.27.16")


def host(lab: LabCluster, node: str = "cp1") -> LocalHost:
    return LocalHost(node, path=lab.path(node))


def settings(lab: LabCluster, node: str = "cp1") -> NodeSettings:
    return NodeSettings(
        address="local",
        kubernetes_dir=str(lab.layout.kubernetes(node)),
        kubelet_dir=str(lab.layout.kubelet(node)),
        work_dir=str(lab.layout.work(node)),
        path=lab.path(node),
        package_source=str(lab.layout.package_source(node)),
    )


@pytest.fixture(scope="module")
def kubectl(lab: LabCluster) -> Kubectl:
    return Kubectl(host(lab), settings(lab).admin_kubeconfig)


@pytest.fixture(scope="module")
def endpoint(lab: LabCluster) -> ApiServer:
    return ApiServer(host(lab), settings(lab).admin_kubeconfig)


def test_kubectl_tells_of_nodes(kubectl: Kubectl) -> None:
    rows = {row.name: row for row in kubectl.nodes()}
    assert {name: row.role for name, row in rows.items()} == {"cp1": "control-plane", "w1": "worker"}
    assert all(row.ready and not row.unschedulable for row in rows.values())
    assert {row.kubelet_version for row in rows.values()} == {"v1.27.16"}
    assert rows["cp1"].runtime == "containerd://1.6.20"
    assert rows["cp1"].internal_ip != rows["w1"].internal_ip


def test_kubectl_tells_of_pods_and_workloads(kubectl: Kubectl) -> None:
    mirrored = {pod.name for pod in kubectl.pods() if pod.mirror}
    assert mirrored == {
        f"{name}-cp1" for name in ("etcd", "keepalived", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    }
    workloads = {(row.kind, row.name): (row.desired, row.ready) for row in kubectl.workloads()}
    assert workloads["Deployment", "shop"] == (3, 3)
    assert workloads["DaemonSet", "kube-proxy"] == (2, 2)
    [budget] = kubectl.disruption_budgets()
    assert (budget.namespace, budget.name, budget.disruptions_allowed) == ("shop", "shop", 1)
    assert {row.name for row in kubectl.services()} == {"kubernetes", "kube-dns", "shop"}


def test_kubectl_tells_of_the_cluster(kubectl: Kubectl, lab: LabCluster) -> None:
    config = kubectl.kubeadm_config()
    assert config.kubernetes_version == "v1.27.16"
    assert config.data_dir == str(lab.layout.etcd("cp1"))
    assert config.extra_args["etcd"]["unsafe-no-fsync"] == "true"
    assert all(row.available for row in kubectl.api_services())
    assert kubectl.webhooks() == ()


def test_an_api_server_tells_of_itself(endpoint: ApiServer) -> None:
    assert endpoint.deprecated_apis() == ()
    assert endpoint.ready()
    assert endpoint.version() == OLD


def test_kubectl_fails_as_the_real_one(operator) -> None:
    missing = operator.kubectl("get", "configmap", "no-such", ok=False)
    assert (missing.returncode, missing.stderr) == (
        1,
        'Error from server (NotFound): configmaps "no-such" not found\n',
    )
    assert "doesn't have a resource type" in operator.kubectl("get", "unicorns", ok=False).stderr
    no_file = operator.kubectl("--kubeconfig=/nowhere", "get", "nodes", ok=False)
    assert "no such file or directory" in no_file.stderr


def test_kubectl_prints_its_own_version_without_a_server(operator) -> None:
    ended = operator.kubectl("--kubeconfig=/nowhere", "version", "-o", "json", ok=False)
    assert ended.returncode == 1
    document = json.loads(ended.stdout)
    assert document["clientVersion"]["gitVersion"] == "v1.27.16"
    assert "serverVersion" not in document


def test_kubeadm_knows_itself_and_its_certificates(lab: LabCluster, tmp_path) -> None:
    kubeadm = Kubeadm(host(lab), settings(lab))
    assert kubeadm.version() == OLD
    certificates = {row.name: row for row in kubeadm.certificates()}
    assert {"apiserver", "etcd-server", "admin.conf", "ca"} <= set(certificates)
    assert all(row.expires is not None and not row.missing for row in certificates.values())
    configuration = tmp_path / "kubeadm.json"
    configuration.write_text(json.dumps({"kubernetesVersion": "v1.28.0"}))
    assert "registry.k8s.io/etcd:3.5.1-2" in kubeadm.images(str(configuration))


def test_an_old_kubeadm_prints_a_misleading_plan(lab: LabCluster) -> None:
    plan = parse_upgrade_plan(Kubeadm(host(lab), settings(lab)).upgrade_plan(Version.parse("v1.28.0")))
    rows = {row.component: (row.current, row.target) for row in plan.components}
    assert rows["etcd"] == ("3.5.1-1", "3.5.1-1")
    assert rows["kube-apiserver"] == ("v1.27.16", "v1.28.0")
    assert plan.must_update_kubeadm
    assert plan.update_kubeadm_to == "v1.28.0"


def test_the_same_version_has_nothing_to_plan(operator) -> None:
    assert "COMPONENT" not in operator.run("cp1", "kubeadm", "upgrade", "plan", "v1.27.16").stdout


def test_apt_sees_one_series_and_holds(lab: LabCluster) -> None:
    apt = Apt(host(lab), settings(lab))
    assert apt.installed(("kubeadm", "kubelet", "no-such")) == {"kubeadm": "1.27.16-1.1", "kubelet": "1.27.16-1.1"}
    assert apt.holds() == ("kubeadm", "kubectl", "kubelet")
    assert apt.available("kubeadm")[0] == "1.27.16-1.1"
    assert all(version.startswith("1.27.") for version in apt.available("kubeadm"))
    apt.unhold(("kubeadm",))
    assert apt.holds() == ("kubectl", "kubelet")
    apt.hold(("kubeadm",))
    assert apt.holds() == ("kubeadm", "kubectl", "kubelet")


def test_containers_through_crictl_and_through_ctr(lab: LabCluster, tmp_path) -> None:
    through_crictl = Containers(host(lab)).all()
    names = {one.name for one in through_crictl if one.running}
    assert {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"} <= names
    without = tmp_path / "bin"
    without.mkdir()
    (without / "ctr").symlink_to(lab.layout.programs("cp1") / "ctr")
    through_ctr = Containers(LocalHost("cp1", path=f"{without}:/usr/bin:/bin")).all()
    assert {one.id: (one.name, one.image, one.pod, one.pod_uid, one.restarts) for one in through_ctr} == {
        one.id: (one.name, one.names[0], one.pod, one.pod_uid, one.restarts) for one in through_crictl
    }
    assert {one.restarts for one in through_crictl if one.name == "kube-controller-manager"} == {7}
    assert len([one for one in through_crictl if one.name == "etcd"]) == 2


def test_images_and_logs(lab: LabCluster) -> None:
    containers = Containers(host(lab))
    assert any("/pause:" in image for image in containers.images())
    etcd = next(one for one in containers.all() if one.name == "etcd")
    assert "ready to serve client requests" in containers.logs(etcd.id)


def test_etcds_programs_come_out_of_its_image(lab: LabCluster) -> None:
    at = host(lab)
    files = Files(at)
    text = files.read_text(f"{settings(lab).manifests_dir}/etcd.yaml")
    manifest = parse_etcd_manifest(text)
    tools = extract_etcd_tools(files, Containers(at), manifest.image, f"{settings(lab).work_dir}/etcd/test")
    assert tools.version == "3.5.1"
    certificates = (manifest.trusted_ca_file, manifest.cert_file, manifest.key_file)
    etcdctl = Etcdctl(at, tools.etcdctl, manifest.endpoint, *certificates)
    [member] = etcdctl.member_list()
    assert (member.name, member.peer_urls) == ("cp1", (manifest.initial_advertise_peer_urls,))
    [status] = etcdctl.endpoint_status()
    assert status.is_leader
    assert etcdctl.alarms() == ()
    assert [row.healthy for row in etcdctl.endpoint_health()] == [True]
    assert not Etcdutl(at, tools.etcdutl, tools.etcdctl).can_bump()


def test_a_mount_directory_shows_what_was_mounted_there_first(operator, lab: LabCluster) -> None:
    mount = lab.layout.work("cp1") / "twice"
    mount.mkdir()
    images = ("registry.k8s.io/pause:3.9", "registry.k8s.io/etcd:3.5.1-1")
    for image in images:
        operator.run("cp1", "ctr", "-n", "k8s.io", "images", "mount", image, str(mount))
        assert not (mount / "usr/local/bin/etcdctl").exists()
        operator.run("cp1", "ctr", "-n", "k8s.io", "images", "unmount", str(mount))
    operator.run("cp1", "ctr", "-n", "k8s.io", "images", "mount", images[1], str(mount))
    assert not (mount / "usr/local/bin/etcdctl").exists()
    operator.run("cp1", "ctr", "-n", "k8s.io", "images", "unmount", "--rm", str(mount))
    operator.run("cp1", "ctr", "-n", "k8s.io", "images", "mount", images[1], str(mount))
    assert (mount / "usr/local/bin/etcdctl").exists()
    operator.run("cp1", "ctr", "-n", "k8s.io", "images", "unmount", "--rm", str(mount))


def test_units(lab: LabCluster, operator) -> None:
    assert Systemctl(host(lab)).is_active("kubelet")
    assert operator.run("cp1", "systemctl", "is-active", "nonsense", ok=False).returncode != 0
    assert operator.run("cp1", "kubelet", "--version").stdout == "Kubernetes v1.27.16\n"


def test_manifests_read_as_kubeadms(lab: LabCluster) -> None:
    text = (lab.layout.kubernetes("cp1") / "manifests" / "kube-apiserver.yaml").read_text()
    assert image_of(text) == "registry.k8s.io/kube-apiserver:v1.27.16"
    assert command_flags(text)["advertise-address"] == lab.settings.addresses["cp1"]


@pytest.mark.parametrize(
    "argv",
    [
        ("kubeadm", "reset"),
        ("kubeadm", "upgrade", "apply", "v1.28.0"),
        ("kubectl", "exec", "etcd-cp1"),
        ("kubectl", "get", "nodes", "--watch"),
        ("kubectl", "get", "nodes", "-o", "yaml"),
        ("systemctl", "mask", "kubelet"),
        ("apt-get", "dist-upgrade"),
        ("apt-cache", "show", "kubeadm"),
        ("apt-mark", "auto", "kubeadm"),
        ("dpkg-query", "-S", "/bin/sh"),
        ("crictl", "exec", "x"),
        ("ctr", "-n", "k8s.io", "run", "x"),
        ("ctr", "containers", "ls"),
        ("kubelet",),
    ],
)
def test_what_a_program_does_not_know_fails_loudly(operator, argv: tuple[str, ...]) -> None:
    ended: subprocess.CompletedProcess[str] = operator.run("cp1", *argv, ok=False)
    assert ended.returncode == 64
    assert "the lab does not know this" in ended.stderr
