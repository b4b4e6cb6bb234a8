from __future__ import annotations

import pytest

from upgrade_guard.hosts.scripted import ScriptedHost
from upgrade_guard.tools.api_server import ApiServer, own_url

VERSION = '{"gitVersion": "v1.28.0+vendor"}'
MANIFEST = """
apiVersion: v1
kind: Pod
spec:
  containers:
  - name: kube-apiserver
    image: registry.k8s.io/kube-apiserver:v1.28.0
    command:
    - kube-apiserver
"""


def manifest(*flags: str) -> str:
    return MANIFEST + "".join(f"    - {flag}\n" for flag in flags)


def test_a_question_about_one_server_goes_to_its_own_address() -> None:
    host = ScriptedHost("cp1")
    words = ("--kubeconfig=/k", "--server=https://10.0.0.11:6443", "--request-timeout=15s")
    host.answers("kubectl", *words, "get", "--raw", "/version", stdout=VERSION)
    assert str(ApiServer(host, "/k", "https://10.0.0.11:6443").version()) == "v1.28.0"


def test_the_endpoint_of_the_cluster_is_what_the_kubeconfig_names() -> None:
    host = ScriptedHost("cp1")
    host.answers("kubectl", "--kubeconfig=/k", "--request-timeout=15s", "get", "--raw", "/readyz", stdout="ok")
    assert ApiServer(host, "/k").ready()


def test_a_service_address_is_asked_from_any_node_with_the_name_of_the_certificate() -> None:
    host = ScriptedHost("w1")
    words = ("--kubeconfig=/kubelet.conf", "--server=https://10.96.0.17:443", "--tls-server-name=kubernetes")
    host.answers("kubectl", *words, "--request-timeout=5s", "get", "--raw", "/version", stdout=VERSION)
    url = "https://10.96.0.17:443"
    ApiServer(host, "/kubelet.conf", url, tls_server_name="kubernetes", request_timeout=5).version()


def test_an_api_that_does_not_answer_in_time_is_not_ready() -> None:
    host = ScriptedHost("cp1")
    host.hang_at(1)
    assert ApiServer(host, "/k").ready() is False


@pytest.mark.parametrize(
    ("flags", "internal_ip", "url"),
    [
        (("--advertise-address=10.0.0.11", "--secure-port=6443"), "10.0.0.11", "https://10.0.0.11:6443"),
        (("--advertise-address=10.0.0.11", "--secure-port=8443"), "10.0.0.99", "https://10.0.0.11:8443"),
        (("--advertise-address=10.0.0.11",), "", "https://10.0.0.11:6443"),
        (("--advertise-address=fd00::11", "--bind-address=::"), "", "https://[fd00::11]:6443"),
        (("--bind-address=0.0.0.0",), "10.0.0.11", "https://10.0.0.11:6443"),
        (("--bind-address=10.0.1.11",), "10.0.0.11", "https://10.0.1.11:6443"),
        ((), "10.0.0.11", "https://10.0.0.11:6443"),
        ((), "", ""),
    ],
)
def test_where_an_api_server_is_reached_itself(flags: tuple[str, ...], internal_ip: str, url: str) -> None:
    assert own_url(manifest(*flags), internal_ip) == url


def test_a_manifest_that_cannot_be_read_leaves_the_address_of_the_node() -> None:
    assert own_url("}", "fd00::11") == "https://[fd00::11]:6443"
