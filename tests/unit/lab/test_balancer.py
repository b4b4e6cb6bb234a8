"""Which API server answers at which address, in a lab with several control planes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from unit.lab.conftest import Operator, until

from upgrade_guard.errors import UsageProblem
from upgrade_guard.lab import balancer, cluster
from upgrade_guard.lab.gateway import Connections
from upgrade_guard.lab.layout import TURN, VIRTUAL_ADDRESS, LabSettings, Ports
from upgrade_guard.lab.simulation import Simulation

ENDPOINT = "https://127.9.9.10:6443"
PLANES = ("cp1", "cp2", "cp3")
NEW, OLD = "v1.28.0", "v1.27.16"


def three(tmp_path: Path, how: str, *answering: str) -> Simulation:
    settings = LabSettings(
        directory=str(tmp_path),
        from_version="v1.27.16",
        control_planes=PLANES,
        workers=(),
        addresses={name: f"127.9.9.1{number}" for number, name in enumerate(PLANES, 1)},
        ports=Ports(),
        pace=0.0,
        patience=1.0,
        grace=1.0,
        offsite="",
        offsite_is_ours=True,
        etcd_binaries="",
        python_paths=(),
        endpoint="127.9.9.10",
        balancer=how,
    )
    (tmp_path / "lab").mkdir(exist_ok=True)
    made = Simulation(settings, Connections())
    made.answering = answering
    return made


def test_the_endpoint_answers_with_one_after_the_other(tmp_path: Path) -> None:
    whole = three(tmp_path, TURN, *PLANES)
    assert [balancer.answers_at(whole, ENDPOINT) for _ in range(4)] == ["cp1", "cp2", "cp3", "cp1"]


def test_a_server_that_is_not_ready_gets_no_request(tmp_path: Path) -> None:
    assert [balancer.answers_at(three(tmp_path, TURN, "cp1", "cp3"), ENDPOINT) for _ in range(3)] == [
        "cp1",
        "cp3",
        "cp1",
    ]
    assert balancer.answers_at(three(tmp_path, TURN), ENDPOINT) == ""


def test_a_virtual_address_stays_until_its_server_is_not_ready(tmp_path: Path) -> None:
    def holder(*answering: str) -> str:
        return balancer.answers_at(three(tmp_path, VIRTUAL_ADDRESS, *answering), ENDPOINT)

    assert [holder(*PLANES) for _ in range(3)] == ["cp1", "cp1", "cp1"]
    assert holder("cp2", "cp3") == "cp2"
    assert holder(*PLANES) == "cp2"
    assert holder() == ""
    assert holder(*PLANES) == "cp2"
    assert holder("cp1", "cp3") == "cp3"
    assert holder("cp1", "cp2") == "cp1"


@pytest.mark.parametrize(
    ("server", "answer"),
    [
        ("https://127.9.9.12:6443", "cp2"),
        ("https://127.9.9.12:6444", ""),
        ("https://127.9.9.13:6443", ""),
        ("https://127.9.9.99:6443", ""),
        ("https://[::1]:6443", ""),
    ],
)
def test_a_server_of_its_own_address_answers_for_itself_alone(tmp_path: Path, server: str, answer: str) -> None:
    assert balancer.answers_at(three(tmp_path, TURN, "cp1", "cp2"), server) == answer


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://[fd00::1]:6443", ("fd00::1", "6443")),
        ("https://[fd00::1]", ("fd00::1", "443")),
        ("https://10.96.0.1/", ("10.96.0.1", "443")),
        ("10.0.0.1:6443", ("10.0.0.1", "6443")),
    ],
)
def test_a_url_is_taken_apart(url: str, parts: tuple[str, str]) -> None:
    assert balancer.host_and_port(url) == parts


def test_one_control_plane_has_no_balancer(lab: cluster.LabCluster) -> None:
    assert lab.settings.endpoint == ""
    own = f"server: https://{lab.settings.addresses['cp1']}:6443"
    for node in ("cp1", "w1"):
        assert own in (lab.layout.kubernetes(node) / "kubelet.conf").read_text()


def test_an_unknown_balancer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="no balancer 'both'"):
        cluster.up(tmp_path / "lab", balancer="both")


def own_url(operator: Operator, node: str) -> str:
    return f"--server=https://{operator.lab.settings.addresses[node]}:6443"


def version(operator: Operator, *words: str) -> str:
    return str(json.loads(operator.kubectl(*words, "get", "--raw", "/version").stdout)["gitVersion"])


def stop_api_server(operator: Operator, node: str) -> Path:
    """Its manifest leaves manifests/; where to."""
    aside = operator.lab.directory / f"{node}.yaml"
    operator.manifest(node, "kube-apiserver").rename(aside)
    return aside


def sans(path: Path) -> set[str]:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(address) for address in names.get_values_for_type(x509.IPAddress)}


def test_an_old_and_new_servers_behind_one_endpoint(new_lab: Callable[..., Operator]) -> None:
    operator = new_lab(control_planes=3)
    made = operator.lab
    assert_the_endpoint_is_written_everywhere(operator)
    operator.upgrade_first()
    assert_the_endpoint_is_written_everywhere(operator)
    assert sorted(version(operator) for _ in range(3)) == [OLD, OLD, NEW]
    assert [version(operator, own_url(operator, node)) for node in PLANES] == [NEW, OLD, OLD]
    assert_every_verb_takes_a_server(operator, own_url(operator, "cp2"))

    aside = stop_api_server(operator, "cp1")
    assert {version(operator) for _ in range(4)} == {OLD}
    refused = operator.kubectl(own_url(operator, "cp1"), "get", "nodes", ok=False)
    address = made.settings.addresses["cp1"]
    assert refused.returncode == 1
    assert refused.stderr == (
        f"The connection to the server {address}:6443 was refused - did you specify the right host or port?\n"
    )
    # The kubelet of cp1 reports through the endpoint, and its kubeadm works on it.
    assert {condition(operator, node) for node in made.settings.names} == {"True"}
    assert "Cluster version" in operator.run("cp1", "kubeadm", "upgrade", "plan", NEW).stdout

    for node in ("cp2", "cp3"):
        stop_api_server(operator, node)
    gone = operator.kubectl("get", "--raw", "/readyz", ok=False)
    assert (gone.returncode, gone.stderr) == (1, "Unable to connect to the server: EOF\n")
    aside.rename(operator.manifest("cp1", "kube-apiserver"))
    until(operator.ready)


def condition(operator: Operator, node: str) -> str:
    return str(operator.nodes()[node]["status"]["conditions"][-1]["status"])


def assert_the_endpoint_is_written_everywhere(operator: Operator) -> None:
    made = operator.lab
    server = f"server: https://{made.settings.endpoint}:6443"
    kubernetes = {node: made.layout.kubernetes(node) for node in made.settings.names}
    assert all(server in (path / "kubelet.conf").read_text() for path in kubernetes.values())
    for node in PLANES:
        own = f"server: https://{made.settings.addresses[node]}:6443"
        assert server in (kubernetes[node] / "admin.conf").read_text()
        assert own in (kubernetes[node] / "scheduler.conf").read_text()
        assert own in (kubernetes[node] / "controller-manager.conf").read_text()
        assert {made.settings.endpoint, made.settings.addresses[node]} <= sans(made.layout.pki(node) / "apiserver.crt")
    text = str(operator.get("configmap", "kubeadm-config", "-n", "kube-system"))
    assert f"controlPlaneEndpoint: {made.settings.endpoint}:6443" in text


def assert_every_verb_takes_a_server(operator: Operator, server: str) -> None:
    given = (f"--kubeconfig={operator.lab.layout.kubernetes('cp1')}/admin.conf", server, "--request-timeout=15s")

    def asked(*words: str, **more: Any) -> str:
        return operator.kubectl(*given, *words, **more).stdout

    assert asked("get", "--raw", "/readyz") == "ok"
    assert "apiserver_requested_deprecated_apis" in asked("get", "--raw", "/metrics")
    assert len(json.loads(asked("get", "nodes", "-o", "json"))["items"]) == 4
    assert "cp1" in asked("get", "nodes")
    one = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "through-one"}, "data": {}})
    assert "created" in asked("apply", "-f", "-", stdin=one)
    assert "deleted" in asked("delete", "-f", "-", "--ignore-not-found", stdin=one)
    assert "cordoned" in asked("cordon", "w1")
    assert "drained" in asked("drain", "w1", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=30s")
    assert "uncordoned" in asked("uncordon", "w1")
    assert OLD in asked("version", "-o", "json")
