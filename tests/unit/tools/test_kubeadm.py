from __future__ import annotations

import pytest

from upgrade_guard.errors import CommandFailed, UnexpectedOutput
from upgrade_guard.hosts.scripted import ScriptedHost
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.model.version import Version
from upgrade_guard.tools.kubeadm import Kubeadm, parse_upgrade_plan

TARGET = Version(1, 34, 2)
USUAL = NodeSettings()
ODD = NodeSettings(kubernetes_dir="/n/etc/kubernetes", work_dir="/n/work")
LOCK = ("flock", "--nonblock", "--exclusive", "--conflict-exit-code=75")


def host_with_lock() -> ScriptedHost:
    host = ScriptedHost("cp1")
    host.answers("mkdir", ...)
    return host


def test_apply_runs_under_a_lock_with_the_ignored_checks() -> None:
    host = host_with_lock()
    host.answers(*LOCK, "/var/lib/upgrade-guard/node/kubeadm.lock", ..., stdout="SUCCESS\n")
    assert Kubeadm(host, USUAL).upgrade_apply(TARGET, ("CreateJob", "Swap"), "/p", timeout=900) == "SUCCESS\n"
    assert host.argvs[-1][5:] == (
        *("kubeadm", "upgrade", "apply", "v1.34.2", "--yes"),
        "--ignore-preflight-errors=CreateJob,Swap",
        "--patches=/p",
    )
    assert (host.commands[-1].timeout, host.commands[-1].changes) == (900, True)


def test_kubeconfig_is_given_only_where_kubernetes_is_at_an_unusual_place() -> None:
    host = host_with_lock()
    host.answers("flock", ...)
    host.answers("kubeadm", "upgrade", "plan", ...)
    host.answers("test", "-e", "/n/etc/kubernetes/admin.conf")
    kubeadm = Kubeadm(host, ODD)
    kubeadm.upgrade_plan(TARGET)
    assert host.argvs[-1] == ("kubeadm", "upgrade", "plan", "v1.34.2", "--kubeconfig=/n/etc/kubernetes/admin.conf")
    kubeadm.upgrade_node()
    assert host.argvs[-1][-4:] == ("kubeadm", "upgrade", "node", "--kubeconfig=/n/etc/kubernetes/admin.conf")


def test_a_worker_uses_kubelets_own_kubeconfig() -> None:
    host = host_with_lock()
    host.answers("flock", ...)
    host.answers("test", "-e", "/n/etc/kubernetes/admin.conf", exit_status=1)
    Kubeadm(host, ODD).upgrade_node()
    assert host.argvs[-1][-1] == "--kubeconfig=/n/etc/kubernetes/kubelet.conf"


def test_a_second_kubeadm_is_refused_while_one_is_at_work() -> None:
    host = host_with_lock()
    host.answers("flock", ..., exit_status=75)
    with pytest.raises(CommandFailed, match="already at work on cp1") as caught:
        Kubeadm(host, USUAL).upgrade_apply(TARGET)
    assert "resume" in caught.value.hint


def test_a_failed_apply_says_why_and_what_to_do() -> None:
    host = host_with_lock()
    host.answers(
        "flock",
        ...,
        exit_status=1,
        stderr="error: error execution phase control-plane: failed to obtain static Pod hash for component "
        "kube-apiserver on Node cp1: connection refused\nTo see the stack trace of this error execute with --v=5\n",
    )
    with pytest.raises(CommandFailed) as caught:
        Kubeadm(host, USUAL).upgrade_apply(TARGET)
    assert caught.value.message.startswith("kubeadm upgrade apply on cp1 ended with 1: error: error execution phase")
    assert "journalctl -u kubelet" in caught.value.hint


def test_an_apply_out_of_time_has_an_unknown_effect() -> None:
    host = host_with_lock()
    host.hang_at(2)
    with pytest.raises(CommandFailed, match="what it did is unknown") as caught:
        Kubeadm(host, USUAL).upgrade_apply(TARGET)
    assert caught.value.exit_status is None


@pytest.mark.parametrize(("status", "at_work"), [(0, False), (75, True)])
def test_at_work_asks_the_lock(status: int, at_work: bool) -> None:
    host = ScriptedHost("cp1")
    host.answers("test", "-e", "/var/lib/upgrade-guard/node/kubeadm.lock")
    host.answers(*LOCK, "/var/lib/upgrade-guard/node/kubeadm.lock", "true", exit_status=status)
    assert Kubeadm(host, USUAL).at_work() is at_work


def test_nobody_is_at_work_where_no_lock_was_ever_made() -> None:
    host = ScriptedHost("cp1")
    host.answers("test", ..., exit_status=1)
    assert Kubeadm(host, USUAL).at_work() is False


def test_certificates_fall_back_to_the_table_of_older_versions() -> None:
    host = ScriptedHost("cp1")
    table = "admin.conf   Nov 22, 2027 09:27 UTC   364d   ca   no\n"
    host.answers("kubeadm", "certs", "check-expiration", "-o", "json", exit_status=1, stderr="unknown flag: -o\n")
    host.answers("kubeadm", "certs", "check-expiration", stdout=table)
    assert [one.name for one in Kubeadm(host, USUAL).certificates()] == ["admin.conf"]


def test_certificates_that_cannot_be_read_are_an_error() -> None:
    host = ScriptedHost("cp1")
    host.answers("kubeadm", ..., exit_status=1, stderr="error: open /etc/kubernetes/pki/ca.crt: permission denied\n")
    with pytest.raises(CommandFailed, match="permission denied"):
        Kubeadm(host, USUAL).certificates()


def test_a_text_that_is_no_plan_is_refused() -> None:
    with pytest.raises(UnexpectedOutput):
        parse_upgrade_plan("bash: kubeadm: command not found\n")
