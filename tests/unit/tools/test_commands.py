from __future__ import annotations

import pytest

from upgrade_guard.errors import UnexpectedOutput
from upgrade_guard.model.command import Result
from upgrade_guard.tools.commands import last_words, parse_json, program_of, unexpected
from upgrade_guard.tools.known_failures import KNOWN_FAILURES, hint_for


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (("kubeadm", "upgrade", "apply", "v1.28.0", "--yes"), "kubeadm upgrade apply"),
        (
            ("env", "-i", "PATH=/bin", "ETCDCTL_API=3", "/opt/etcdctl", "--endpoints=x", "member", "list"),
            "etcdctl member list",
        ),
        (("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "kubeadm=1"), "apt-get install"),
        (("flock", "--nonblock", "/l", "kubeadm", "upgrade", "node"), "kubeadm upgrade node"),
        (("flock", "--nonblock", "/l", "true"), "flock"),
        (("mv", "--", "a", "b"), "mv"),
        (("systemctl", "stop", "kubelet"), "systemctl stop kubelet"),
        (("env",), "env"),
    ],
)
def test_a_command_is_called_by_its_program_and_verbs(argv: tuple[str, ...], name: str) -> None:
    assert program_of(argv) == name


@pytest.mark.parametrize(
    ("stdout", "stderr", "words"),
    [
        ("", "", ""),
        ("only here\n", "", "only here"),
        ("noise\n", "first\nlast\n", "last"),
        (
            "",
            "error: the reason\nTo see the stack trace of this error execute with --v=5 or higher\n",
            "error: the reason",
        ),
        (
            "",
            (
                "[upgrade/health] FATAL: [preflight] Some fatal errors occurred:\n\t[ERROR CreateJob]: no Job\n"
                "\t[ERROR ControlPlaneNodesReady]: not ready\n[preflight] If you know what you are doing, you can make "
                "a check non-fatal with `--ignore-preflight-errors=...`\n"
            ),
            "[ERROR CreateJob]: no Job [ERROR ControlPlaneNodesReady]: not ready",
        ),
        ("", "Error: the reason\ntrailing talk\n", "Error: the reason"),
        ("", "[x] FATAL: because:\n\n\t- one\n\t- two\n\nPlease try again\n", "[x] FATAL: because: - one - two"),
        ("", "warning: terrors may follow\n", "warning: terrors may follow"),
        (
            "The following packages have unmet dependencies:\n kubelet : Depends: cri-tools (>= 1.34)\n",
            "E: Unable to correct problems, you have held broken packages.\n",
            "E: Unable to correct problems, you have held broken packages. (kubelet : Depends: cri-tools (>= 1.34))",
        ),
        (
            "",
            "W: GPG error: https://pkgs.example InRelease: EXPKEYSIG 23465\nE: Some index files failed to download.\n",
            "E: Some index files failed to download. (W: GPG error: https://pkgs.example InRelease: EXPKEYSIG 23465)",
        ),
    ],
)
def test_the_words_that_say_why(stdout: str, stderr: str, words: str) -> None:
    assert last_words(Result(1, stdout, stderr)) == words


def test_last_words_are_short() -> None:
    assert len(last_words(Result(1, "", "x" * 10_000))) == 500


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ("[]", []),
        ('[\n  {"a": 1}\n]', [{"a": 1}]),
        ('[upgrade] Running cluster health checks\n{"a": 18446744073709551615}\n', {"a": 18446744073709551615}),
    ],
)
def test_json_is_found_after_prose(text: str, value: object) -> None:
    assert parse_json("kubeadm", text) == value


@pytest.mark.parametrize("text", ["", "prose only", '{"cut off": ', "[upgrade] words"])
def test_what_is_not_json_is_refused_with_its_first_line(text: str) -> None:
    with pytest.raises(UnexpectedOutput, match="kubeadm printed something unexpected"):
        parse_json("kubeadm", text)


def test_unexpected_output_carries_the_first_line() -> None:
    assert unexpected("df", "\n  Avail\n12\n").message == "df printed something unexpected: Avail"
    assert unexpected("df", "").message == "df printed something unexpected: nothing"


SAID = {
    "health-check-job": 'Job "upgrade-health-check-x" in the namespace "kube-system" did not complete in 15s: '
    "no condition of type Complete",
    "static-pod-unchanged": "static Pod hash for component kube-apiserver on Node cp1 did not change after 5m0s",
    "etcd-file-copy": "failed to back up etcd data, output: \"cp: cannot stat '/var/lib/etcd/member/wal/1.tmp'\"",
    "no-control-plane": "error: stat /etc/kubernetes/admin.conf: no such file or directory",
    "disk-full": "write /etc/kubernetes/tmp/x: no space left on device",
    "other-file-system": "rename a b: invalid cross-device link",
    "coredns-migration": "[ERROR CoreDNSMigration]: start version 'v1.6.2-100' not supported",
    "certificate-expired": "x509: certificate has expired or is not yet valid",
    "admin-forbidden": 'User "kubernetes-admin" cannot list resource "nodes"',
    "eviction-refused": "Cannot evict pod as it would violate the pod's disruption budget.",
    "bare-pods": "cannot delete Pods that declare no controller (use --force to override): default/debug",
    "local-data": "cannot delete Pods with local storage (use --delete-emptydir-data to override): shop/cache",
    "feature-gate": "failed to set feature gates from initial flags-based config: unrecognized feature gate: X",
    "image-pull": "[ERROR ImagePull]: failed to pull image registry.k8s.io/kube-apiserver:v1.34.2",
    "crictl-endpoint": 'validate service connection: dial unix "/var/run/dockershim.sock": connect: no such file',
    "no-kubeadm-config": 'error: configmaps "kubeadm-config" not found',
    "kubeadm-config-version": 'your configuration file uses an old API spec: "kubeadm.k8s.io/v1beta2"',
    "package-key": "W: GPG error: https://pkgs.example InRelease: EXPKEYSIG 234654DA9A296436 isv:kubernetes",
    "package-forbidden": "E: Failed to fetch https://pkgs.example/Packages  403  Forbidden [IP: 10.0.0.1 443]",
    "package-interrupted": "E: dpkg was interrupted, you must manually run 'dpkg --configure -a'",
    "package-removes": "E: Packages need to be removed but remove is disabled.",
    "package-held-broken": "E: Unable to correct problems, you have held broken packages.",
    "etcd-full": "etcdserver: mvcc: database space exceeded",
    "old-member": "request cluster ID mismatch",
    "snapshot-without-digest": "snapshot missing hash but --skip-hash-check=false",
    "no-shell-in-image": 'exec: "sh": executable file not found in $PATH',
    "cri-version": 'CRI v1 runtime API is not implemented for endpoint "unix:///run/containerd/containerd.sock"',
    "kubelet-flag-gone": "failed to parse kubelet flag: unknown flag: --pod-infra-container-image",
    "kubelet-flags-empty": 'no flags found in file "/var/lib/kubelet/kubeadm-flags.env"',
    "package-locked": "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1 (apt-get)",
    "package-missing": "E: Version '1.28.9-1.1' for 'kubelet' was not found",
    "no-apt": "dpkg-query: not found",
    "api-refused": "The connection to the server 10.0.0.11:6443 was refused",
}


@pytest.mark.parametrize("known", KNOWN_FAILURES, ids=lambda known: known.name)
def test_a_known_failure_is_recognised_by_what_the_program_said(known: object) -> None:
    assert hint_for(f"talk\n{SAID[known.name]}\nmore\n") == known.hint  # type: ignore[attr-defined]


def test_an_unknown_failure_has_no_hint() -> None:
    assert hint_for("something nobody has seen") == ""


def test_names_of_known_failures_are_unique() -> None:
    assert len({known.name for known in KNOWN_FAILURES}) == len(KNOWN_FAILURES) == len(SAID)
