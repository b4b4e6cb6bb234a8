from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from upgrade_guard.errors import CommandFailed, StepFailed, UnexpectedOutput
from upgrade_guard.hosts.scripted import ScriptedHost
from upgrade_guard.tools.containers import (
    Container,
    Containers,
    full_image_name,
    parse_container_ids,
    parse_containerd_container,
    parse_containerd_sandbox,
    parse_crictl_containers,
    parse_crictl_pods,
    parse_tasks,
)

CTR = ("ctr", "-n", "k8s.io")
FIXTURES = Path(__file__).parents[2] / "fixtures" / "ctr"
CRICTL = json.dumps(
    {
        "containers": [
            {
                "id": "36deff",
                "podSandboxId": "6b632e",
                "metadata": {"name": "etcd", "attempt": 2},
                "image": {"image": "sha256:abc", "userSpecifiedImage": "registry.k8s.io/etcd:3.5.24-0"},
                "imageRef": "sha256:abc",
                "state": "CONTAINER_RUNNING",
                "createdAt": "1795340000000000000",
                "labels": {
                    "io.kubernetes.container.name": "etcd",
                    "io.kubernetes.pod.name": "etcd-cp1",
                    "io.kubernetes.pod.namespace": "kube-system",
                },
            },
            {"id": "246ca3", "metadata": {"name": "kube-apiserver"}, "image": None, "state": "CONTAINER_EXITED"},
        ]
    }
)


def containerd_container(name: str, attempt: int) -> str:
    metadata = json.dumps({"Version": "v1", "Metadata": {"Config": {"metadata": {"name": name, "attempt": attempt}}}})
    return json.dumps(
        {
            "ID": "36deff",
            "Labels": {
                "io.kubernetes.container.name": name,
                "io.kubernetes.pod.name": f"{name}-cp1",
                "io.kubernetes.pod.namespace": "kube-system",
            },
            "Image": "registry.k8s.io/etcd:3.5.24-0",
            "Extensions": {
                "io.cri-containerd.container.metadata": {"value": base64.b64encode(metadata.encode()).decode()}
            },
        }
    )


def without_crictl() -> ScriptedHost:
    host = ScriptedHost("cp1")
    host.answers("crictl", ..., exit_status=127, stderr="crictl: not found\n")
    return host


def test_crictl_rows() -> None:
    assert parse_crictl_containers(CRICTL) == (
        Container("36deff", "etcd", "registry.k8s.io/etcd:3.5.24-0", True, 2, "etcd-cp1", "kube-system"),
        Container("246ca3", "kube-apiserver", "", False),
    )
    assert parse_crictl_containers('{"containers": null}') == ()
    assert parse_crictl_containers("{}") == ()


@pytest.mark.parametrize("text", ["", "no json", '{"containers": [{}]}', '{"containers": "many"}'])
def test_crictl_rows_of_an_unknown_shape_are_refused(text: str) -> None:
    with pytest.raises(UnexpectedOutput):
        parse_crictl_containers(text)


def test_ctr_tables_as_captured() -> None:
    ids = parse_container_ids((FIXTURES / "containers.txt").read_text())
    tasks = parse_tasks((FIXTURES / "tasks.txt").read_text())
    assert len(ids) == 14
    assert set(ids) == set(tasks)
    assert set(tasks.values()) == {"RUNNING"}


def test_ctr_tables_of_another_program_are_refused() -> None:
    with pytest.raises(UnexpectedOutput):
        parse_tasks("ctr: cannot access socket\n")
    with pytest.raises(UnexpectedOutput):
        parse_container_ids("")


def test_a_containerd_container_is_named_by_its_label() -> None:
    assert parse_containerd_container(containerd_container("etcd", 3), running=True) == Container(
        "36deff", "etcd", "registry.k8s.io/etcd:3.5.24-0", True, 3, "etcd-cp1", "kube-system"
    )
    assert (
        parse_containerd_container('{"ID": "x", "Labels": {"io.cri-containerd.kind": "sandbox"}}', running=True) is None
    )


def test_ctr_serves_where_crictl_is_missing() -> None:
    host = without_crictl()
    host.answers(*CTR, "tasks", "ls", stdout="TASK PID STATUS\n36deff 378 RUNNING\ngone 1 STOPPED\n")
    host.answers(*CTR, "containers", "ls", stdout="CONTAINER IMAGE RUNTIME\n36deff i r\ngone i r\n")
    host.answers(*CTR, "containers", "info", "36deff", stdout=containerd_container("etcd", 0))
    host.answers(*CTR, "containers", "info", "gone", exit_status=1, stderr="ctr: not found\n")
    assert [(one.name, one.running) for one in Containers(host).all()] == [("etcd", True)]


OLD_ID, NEW_ID = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


def crictl_of_containerd_1(*rows: tuple[str, str, str, int]) -> str:
    """Name, image id, namespace and attempt of each container, as crictl shows them: the image is an id."""
    return json.dumps(
        {
            "containers": [
                {
                    "id": f"{name}-{attempt}",
                    "metadata": {"name": name, "attempt": attempt},
                    "image": {"image": image, "annotations": {}},
                    "imageRef": image,
                    "state": "CONTAINER_RUNNING",
                    "labels": {
                        "io.kubernetes.pod.name": f"{name}-cp1",
                        "io.kubernetes.pod.namespace": namespace,
                        "io.kubernetes.pod.uid": f"uid-{name}",
                    },
                }
                for name, image, namespace, attempt in rows
            ]
        }
    )


def test_an_image_that_is_an_id_gets_its_names_and_they_are_asked_for_once() -> None:
    host = ScriptedHost("cp1")
    rows = crictl_of_containerd_1(("kube-apiserver", OLD_ID, "kube-system", 0), ("etcd", NEW_ID, "kube-system", 0))
    names = {"id": OLD_ID, "repoTags": ["r.example/kube-apiserver:v1.27.16"], "repoDigests": ["r.example/k@sha256:1"]}
    host.answers("crictl", "ps", ..., stdout=rows)
    host.answers("crictl", "images", "-o", "json", stdout=json.dumps({"images": [names, {"id": NEW_ID}]}))
    containers = Containers(host)
    for _ in range(2):
        first, second = containers.all()
        assert first.names == ("r.example/kube-apiserver:v1.27.16", "r.example/k@sha256:1")
        assert second.names == ()
    assert [argv[1] for argv in host.argvs].count("images") == 1


def test_a_tenant_has_an_etcd_too() -> None:
    own, theirs = parse_crictl_containers(
        crictl_of_containerd_1(("etcd", OLD_ID, "kube-system", 0), ("etcd", OLD_ID, "tenant", 0))
    )
    assert (own.is_of_static_pod("cp1"), theirs.is_of_static_pod("cp1")) == (True, False)
    assert not own.is_of_static_pod("cp2")


def test_a_crictl_that_points_nowhere_is_given_the_usual_sockets() -> None:
    host = ScriptedHost("cp1")
    stale = "validate service connection: dial unix /var/run/dockershim.sock: connect: no such file or directory\n"
    host.answers("crictl", "ps", ..., exit_status=1, stderr=stale)
    given = ("crictl", "--runtime-endpoint", "unix:///run/containerd/containerd.sock")
    host.answers(*given, "ps", ..., stdout=CRICTL)
    containers = Containers(host)
    assert [one.name for one in containers.all()] == ["etcd", "kube-apiserver"]
    host.answers(*given, "stop", ...)
    containers.stop(("a",), 3)
    assert host.argvs[-1] == (*given, "stop", "--timeout", "3", "a")


def test_without_any_socket_ctr_serves_and_without_it_crictl_says_why() -> None:
    host = ScriptedHost("cp1")
    host.answers("crictl", ..., exit_status=1, stderr="no such socket\n")
    host.answers(*CTR, "tasks", "ls", stdout="TASK PID STATUS\n")
    host.answers(*CTR, "containers", "ls", stdout="CONTAINER IMAGE RUNTIME\n")
    assert Containers(host).all() == ()
    host = ScriptedHost("cp1")
    host.answers("crictl", ..., exit_status=1, stderr="no such socket\n")
    host.answers(*CTR, ..., exit_status=127, stderr="ctr: not found\n")
    with pytest.raises(CommandFailed, match="no such socket"):
        Containers(host).all()


def test_stop_with_crictl_is_one_command_for_each() -> None:
    host = ScriptedHost("cp1")
    host.answers("crictl", "ps", "-o", "json", stdout=CRICTL)
    host.answers("crictl", "stop", "--timeout", "30", "a")
    host.answers("crictl", "stop", "--timeout", "30", "b")
    Containers(host).stop(("a", "b"), grace_seconds=30)
    assert sorted(host.argvs[-2:]) == [("crictl", "stop", "--timeout", "30", one) for one in ("a", "b")]
    assert host.commands[-1].changes


def test_stop_of_nothing_asks_nothing() -> None:
    host = ScriptedHost("cp1")
    Containers(host).stop(())
    assert host.argvs == []


def test_stop_with_ctr_asks_waits_and_makes() -> None:
    host = without_crictl()
    waited: list[float] = []
    host.answers(*CTR, "tasks", "kill", "-s", "SIGTERM", "a")
    host.answers(*CTR, "tasks", "kill", "-s", "SIGTERM", "b", exit_status=1, stderr="ctr: task b not found\n")
    host.answers(*CTR, "tasks", "kill", "-s", "SIGKILL", "a")
    for _ in range(9):
        host.answers(*CTR, "tasks", "ls", stdout="TASK PID STATUS\na 7 RUNNING\n")
    host.answers(*CTR, "tasks", "ls", stdout="TASK PID STATUS\na 7 STOPPED\n")
    Containers(host, pause=waited.append).stop(("a", "b"), grace_seconds=2)
    assert (*CTR, "tasks", "kill", "-s", "SIGKILL", "a") in host.argvs
    assert sum(waited) >= 2


def test_stop_says_which_container_does_not_end() -> None:
    host = without_crictl()
    host.answers(*CTR, "tasks", "kill", ...)
    host.answers(*CTR, "tasks", "ls", stdout="TASK PID STATUS\na 7 RUNNING\n")
    with pytest.raises(StepFailed, match="do not end: a"):
        Containers(host, pause=lambda _: None).stop(("a",), grace_seconds=1)


def test_extract_copies_what_the_image_has_and_always_unmounts() -> None:
    host = ScriptedHost("cp1")
    host.answers("mkdir", ...)
    host.answers(*CTR, "images", "mount", "registry.k8s.io/etcd:3.5.9-0", "/w/m")
    host.answers("test", "-f", "/w/m/usr/local/bin/etcd")
    host.answers("test", "-f", "/w/m/usr/local/bin/etcdutl", exit_status=1)
    host.answers("install", "--mode=0755", "--", "/w/m/usr/local/bin/etcd", "/w/etcd")
    host.answers(*CTR, "images", "unmount", "--rm", "/w/m")
    host.answers("rmdir", ...)
    wanted = {"/usr/local/bin/etcd": "/w/etcd", "/usr/local/bin/etcdutl": "/w/etcdutl"}
    assert Containers(host).extract("registry.k8s.io/etcd:3.5.9-0", wanted, "/w/m") == ("/w/etcd",)
    assert (*CTR, "images", "unmount", "--rm", "/w/m") in host.argvs


def test_extract_unmounts_after_a_failure_too() -> None:
    host = ScriptedHost("cp1")
    host.answers("mkdir", ...)
    host.answers(*CTR, "images", "mount", ..., exit_status=1, stderr="ctr: image not found\n")
    host.answers(*CTR, "images", "unmount", "--rm", "/w/m", exit_status=1)
    host.answers("rmdir", ...)
    with pytest.raises(CommandFailed, match="image not found"):
        Containers(host).extract("etcd:3.5", {}, "/w/m")
    assert host.argvs[-2:] == [(*CTR, "images", "unmount", "--rm", "/w/m"), ("rmdir", "--", "/w/m")]


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("registry.k8s.io/etcd:3.5", "registry.k8s.io/etcd:3.5"),
        ("localhost/etcd:3.5", "localhost/etcd:3.5"),
        ("mirror:5000/k8s/etcd:3.5", "mirror:5000/k8s/etcd:3.5"),
        ("bitnami/etcd:3.5", "docker.io/bitnami/etcd:3.5"),
        ("etcd:3.5", "docker.io/library/etcd:3.5"),
    ],
)
def test_images_have_their_full_names(short: str, full: str) -> None:
    assert full_image_name(short) == full


UID = "6a8d04cf-2c3c-4b6e-9f5e-0d6a4a3f1c55"


def test_a_sandbox_as_crictl_gives_it() -> None:
    row = {
        "id": "34e805",
        "metadata": {"name": "db-0", "uid": UID, "namespace": "shop", "attempt": 0},
        "state": "SANDBOX_READY",
        "createdAt": "1795848457313191629",
    }
    [found] = parse_crictl_pods(json.dumps({"items": [row]}))
    assert (found.id, found.namespace, found.pod, found.pod_uid) == ("34e805", "shop", "db-0", UID)
    assert found.created == pytest.approx(1795848457.313191)
    assert not found.is_of_static_pod
    assert parse_crictl_pods("{}") == ()


def test_a_sandbox_as_containerd_1_6_gives_it() -> None:
    document = {
        "ID": "34e805",
        "Labels": {
            "component": "kube-apiserver",
            "io.cri-containerd.kind": "sandbox",
            "io.kubernetes.pod.name": "kube-apiserver-cp1",
            "io.kubernetes.pod.namespace": "kube-system",
            "io.kubernetes.pod.uid": "a2b1e38c65249f666d0602b210f1bf2f",
        },
        "Image": "registry.k8s.io/pause:3.10",
        "CreatedAt": "2026-11-28T06:47:37.313191629Z",
    }
    found = parse_containerd_sandbox(json.dumps(document))
    assert found is not None
    assert (found.pod, found.created) == ("kube-apiserver-cp1", pytest.approx(1795848457.313191))
    assert found.is_of_static_pod
    assert parse_containerd_sandbox(containerd_container("etcd", 0)) is None
