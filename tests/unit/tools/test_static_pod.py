from __future__ import annotations

from pathlib import Path

import pytest

from upgrade_guard.checks.gather_node import components_in
from upgrade_guard.errors import UnexpectedOutput
from upgrade_guard.model.etcd import EtcdManifest
from upgrade_guard.tools.api_server import own_url
from upgrade_guard.tools.etcd_manifest import parse_etcd_manifest
from upgrade_guard.tools.static_pod import command_flags, host_paths, image_of, parse_static_pod

MANIFESTS = Path(__file__).parents[2] / "fixtures" / "manifests"
KUBEADMS = EtcdManifest(
    image="registry.k8s.io/etcd:3.5.24-0",
    name="z-cp1",
    data_dir="/var/lib/etcd",
    cert_file="/etc/kubernetes/pki/etcd/server.crt",
    key_file="/etc/kubernetes/pki/etcd/server.key",
    trusted_ca_file="/etc/kubernetes/pki/etcd/ca.crt",
    listen_client_urls=("https://127.0.0.1:2379", "https://10.92.0.11:2379"),
    initial_advertise_peer_urls="https://10.92.0.11:2380",
)


def manifest(*flags: str, program: str = "etcd", more: str = "", mounts: str = "", volumes: str = "") -> str:
    command = "".join(f"    - {word!r}\n" for word in (program, *flags))
    return (
        f"kind: Pod\nspec:\n  containers:\n  - name: etcd\n    image: etcd:3.5.9-0\n    command:\n{command}"
        f"{more}{mounts}{volumes}"
    )


def test_reads_the_etcd_manifest_of_kubeadm_1_33() -> None:
    assert parse_etcd_manifest((MANIFESTS / "etcd-1.33.yaml").read_text()) == KUBEADMS


def test_reads_the_etcd_manifest_of_kubeadm_1_34() -> None:
    found = parse_etcd_manifest((MANIFESTS / "etcd-1.34.yaml").read_text())
    assert (found.image, found.data_dir, found.endpoint) == (
        "registry.k8s.io/etcd:3.6.5-0",
        "/var/lib/etcd",
        "https://127.0.0.1:2379",
    )


def test_reads_flags_image_and_mounts_of_an_api_server() -> None:
    text = (MANIFESTS / "kube-apiserver-1.33.yaml").read_text()
    assert image_of(text) == "registry.k8s.io/kube-apiserver:v1.33.13"
    assert command_flags(text)["service-cluster-ip-range"] == "10.96.0.0/12"
    assert host_paths(text) == (
        "/etc/ssl/certs",
        "/etc/ca-certificates",
        "/etc/kubernetes/pki",
        "/usr/local/share/ca-certificates",
        "/usr/share/ca-certificates",
    )


def test_a_flag_that_is_not_given_is_empty_so_that_a_check_can_name_it() -> None:
    found = parse_etcd_manifest(manifest("--data-dir=/var/lib/etcd"))
    assert (found.cert_file, found.key_file, found.trusted_ca_file, found.name) == ("", "", "", "")
    assert found.listen_client_urls == ("http://localhost:2379",)


def test_values_in_a_word_of_their_own_bare_flags_and_repeated_flags() -> None:
    flags = parse_static_pod(manifest("--data-dir", "/srv/etcd", "--client-cert-auth", "--name=a", "--name=b")).flags
    assert flags == {"data-dir": "/srv/etcd", "client-cert-auth": "true", "name": "b"}


def test_flags_may_stand_in_args() -> None:
    text = manifest(more="    args: [--name=cp1]\n")
    assert parse_etcd_manifest(text).name == "cp1"


def test_flags_may_come_from_the_environment_and_a_flag_wins() -> None:
    env = "    env:\n    - {name: ETCD_DATA_DIR, value: /srv/env}\n    - {name: ETCD_NAME, value: env}\n"
    found = parse_etcd_manifest(manifest("--name=flag", more=env))
    assert (found.data_dir, found.name) == ("/srv/env", "flag")


def test_paths_are_those_on_the_node() -> None:
    mounts = (
        "    volumeMounts:\n"
        "    - {name: d, mountPath: /var/lib/etcd}\n"
        "    - {name: c, mountPath: /certs, subPath: etcd}\n"
        "    - {name: elsewhere, mountPath: /var}\n"
    )
    volumes = (
        "  volumes:\n"
        "  - {name: d, hostPath: {path: /srv/disk1/etcd}}\n"
        "  - {name: c, hostPath: {path: /etc/kubernetes/pki}}\n"
        "  - {name: elsewhere, emptyDir: {}}\n"
    )
    found = parse_etcd_manifest(
        manifest("--data-dir=/var/lib/etcd/", "--cert-file=/certs/server.crt", mounts=mounts, volumes=volumes)
    )
    assert (found.data_dir, found.cert_file) == ("/srv/disk1/etcd", "/etc/kubernetes/pki/etcd/server.crt")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "document is not a mapping"),
        ("just words", "document is not a mapping"),
        ("a: [", "not YAML"),
        ("!!python/object/apply:os.system ['true']", "not YAML"),
        ("spec: {}", "no containers"),
        ("spec: {containers: []}", "no containers"),
        ("spec: {containers: [text]}", "container is not a mapping"),
        ("spec: {containers: [{image: x}]}", "does not say which program it runs"),
        ("spec: {containers: [{image: x, command: etcd --name=x}]}", "command is not a list"),
        ("spec: {containers: [{command: [etcd]}]}", "None is not a path or name"),
        (manifest("-c", "etcd --name=x", program="sh"), "runs 'sh' and not etcd itself"),
        (manifest("--config-file=/etc/etcd.yaml"), "takes its settings from /etc/etcd.yaml"),
        (manifest("--data-dir=default.etcd"), "not an absolute path"),
        (manifest("--data-dir=/var/lib/../../etc"), "not an absolute path"),
        ("spec: " + "[" * 2_000, "not YAML"),
        ("x" * (256 * 1024 + 1), "larger than 256 KiB"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_an_odd_manifest_is_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(UnexpectedOutput, match=why):
        parse_etcd_manifest(text)


def test_a_sidecar_that_stands_first_is_not_the_component() -> None:
    text = (
        "kind: Pod\nspec:\n  containers:\n"
        "  - {name: kms-plugin, image: 'r.example/kms:v1', args: ['--listen=/run/kms.sock']}\n"
        "  - {name: kube-apiserver, image: 'r.example/kube-apiserver:v1.33.13',"
        " command: [kube-apiserver, --secure-port=6444]}\n"
    )
    assert image_of(text, "kube-apiserver") == "r.example/kube-apiserver:v1.33.13"
    assert command_flags(text, "kube-apiserver") == {"secure-port": "6444"}
    assert own_url(text, "10.0.0.1") == "https://10.0.0.1:6444"
    assert components_in(parse_static_pod(text)) == ("kube-apiserver",)


@pytest.mark.parametrize("name", ["keepalived", "haproxy", "kube-vip"])
def test_static_pods_of_the_high_availability_guides_are_pods_of_their_own(name: str) -> None:
    """As kubeadm's guide (docs/ha-considerations.md) and `kube-vip manifest pod` write them: without a command."""
    text = (MANIFESTS / f"{name}.yaml").read_text()
    pod = parse_static_pod(text)
    assert (pod.name, pod.program, components_in(pod)) == (name, "", ())
    assert pod.image and pod.host_paths


def test_every_value_of_a_repeated_flag_is_there() -> None:
    pod = parse_static_pod(manifest("--feature-gates=A=true", "--feature-gates", "B=false", "--v=2"))
    assert pod.given["feature-gates"] == ("A=true", "B=false")
    assert pod.flags["feature-gates"] == "B=false"


@pytest.mark.parametrize(
    ("urls", "endpoint"),
    [
        ("https://127.0.0.1:2379,https://10.0.0.1:2379", "https://127.0.0.1:2379"),
        ("https://10.0.0.1:2379, https://127.0.0.1:2379", "https://127.0.0.1:2379"),
        ("https://0.0.0.0:2379", "https://127.0.0.1:2379"),
        ("https://[::]:2379", "https://[::1]:2379"),
        ("https://[fd00::11]:2379, https://[::1]:2379", "https://[::1]:2379"),
        ("https://10.0.0.1:2379", "https://10.0.0.1:2379"),
        ("https://[fd00::11]:2379", "https://[fd00::11]:2379"),
    ],
)
def test_etcd_is_asked_at_loopback_where_it_listens_there(urls: str, endpoint: str) -> None:
    assert parse_etcd_manifest(manifest(f"--listen-client-urls={urls}")).endpoint == endpoint


def test_peer_urls_of_both_address_families() -> None:
    urls = "https://10.0.0.1:2380, https://[fd00::11]:2380"
    found = parse_etcd_manifest(manifest(f"--initial-advertise-peer-urls={urls}"))
    assert found.peer_urls == ("https://10.0.0.1:2380", "https://[fd00::11]:2380")
    assert found.initial_advertise_peer_urls == "https://10.0.0.1:2380,https://[fd00::11]:2380"
