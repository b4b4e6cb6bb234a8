"""kubeadm on one node: argv and parsers."""

from __future__ import annotations

import re

from upgrade_guard.errors import CommandFailed
from upgrade_guard.hosts.base import Host
from upgrade_guard.model.node import NodeSettings
from upgrade_guard.model.version import Version
from upgrade_guard.tools.commands import failure, run_checked, unexpected
from upgrade_guard.tools.kubeadm_certificates import Certificate, parse_certificates
from upgrade_guard.tools.kubeadm_plan import PlannedComponent, UpgradePlan, parse_upgrade_plan

__all__ = ["Certificate", "Kubeadm", "PlannedComponent", "UpgradePlan", "parse_upgrade_plan"]

_LOCK_HELD = 75
DEFAULT_DIRECTORY = "/etc/kubernetes"
PLAN_TIMEOUT = 180.0  # seconds; measured 3 to 5, its health-check Job may take a minute and more
PULL_TIMEOUT = 1800.0  # seconds; half a gigabyte over a slow line
APPLY_TIMEOUT = 1800.0  # seconds; measured 158 to 183, kubeadm gives each of four components five minutes


class Kubeadm:
    """The kubeadm package that is installed there now decides what it can do, or the one that is named by `program`."""

    def __init__(self, host: Host, settings: NodeSettings, program: str = "kubeadm") -> None:
        self._host = host
        self._settings = settings
        self._program = program

    def version(self) -> Version:
        """Its own version. Raises UnexpectedOutput for a pre-release."""
        text = run_checked(self._host, (self._program, "version", "-o", "short")).stdout
        try:
            return Version.parse(text)
        except ValueError as problem:
            raise unexpected("kubeadm version", text) from problem

    def upgrade_plan(self, target: Version, ignore: tuple[str, ...] = (), *, timeout: float = PLAN_TIMEOUT) -> str:
        """What `kubeadm upgrade plan` prints. With a kubeadm older than `target` it exits 0 and the table misleads."""
        argv = (self._program, "upgrade", "plan", str(target), *_ignoring(ignore), *self._kubeconfig("admin.conf"))
        return run_checked(self._host, argv, timeout=timeout).stdout

    def upgrade_apply(
        self, target: Version, ignore: tuple[str, ...] = (), patches: str = "", *, timeout: float = APPLY_TIMEOUT
    ) -> str:
        """Upgrade the first control plane, with the patches of that directory; what it printed. Running it again after
        a failure is safe by its design.
        """
        words = ("kubeadm", "upgrade", "apply", str(target), "--yes")
        return self._upgrade((*words, *_ignoring(ignore), *_with(patches), *self._kubeconfig("admin.conf")), timeout)

    def upgrade_node(self, ignore: tuple[str, ...] = (), patches: str = "", *, timeout: float = APPLY_TIMEOUT) -> str:
        """Upgrade another control plane, or the kubelet configuration of a worker; what it printed."""
        words = ("kubeadm", "upgrade", "node", *_ignoring(ignore), *_with(patches))
        argv = (*words, *self._kubeconfig(*self._node_kubeconfig()))
        return self._upgrade(argv, timeout)

    def at_work(self) -> bool:
        """Does a kubeadm upgrade that we started on this node still run, perhaps orphaned by an earlier process?"""
        if run_checked(self._host, ("test", "-e", self._lock), accept=(0, 1)).exit_status != 0:
            return False
        argv = (*self._locked(), "true")
        return run_checked(self._host, argv, accept=(0, _LOCK_HELD)).exit_status == _LOCK_HELD

    def certificates(self) -> tuple[Certificate, ...]:
        """Every certificate that kubeadm knows on this node, its authorities too."""
        argv = ("kubeadm", "certs", "check-expiration")
        result = run_checked(self._host, (*argv, "-o", "json"), timeout=60.0, accept=tuple(range(256)))
        if result.exit_status != 0:
            if "unknown" not in result.stderr:  # older versions do not know -o
                raise failure(self._host, argv, result)
            result = run_checked(self._host, argv, timeout=60.0)
        return parse_certificates(result.stdout)

    def images(self, configuration: str) -> tuple[str, ...]:
        """The images that this kubeadm wants for a control plane of the cluster that the file `configuration` tells."""
        argv = (self._program, "config", "images", "list", "--config", configuration)
        return tuple(line.strip() for line in run_checked(self._host, argv).stdout.splitlines() if line.strip())

    def pull_images(self, configuration: str) -> None:
        """Have the runtime pull them. Raises CommandFailed where one cannot be had."""
        argv = (self._program, "config", "images", "pull", "--config", configuration)
        run_checked(self._host, argv, timeout=PULL_TIMEOUT, changes=True)

    def stop_upgrade(self) -> None:
        """End a kubeadm upgrade that is at work there, by SIGTERM. None at work is no error."""
        own = "".join(f".*{re.escape(word)}" for word in self._kubeconfig(""))
        argv = ("pkill", "--full", "--signal", "TERM", "--", f"kubeadm upgrade (apply|node){own}")
        run_checked(self._host, argv, changes=True, accept=(0, 1))

    @property
    def _lock(self) -> str:
        return f"{self._settings.work_dir}/kubeadm.lock"

    def _locked(self) -> tuple[str, ...]:
        return ("flock", "--nonblock", "--exclusive", f"--conflict-exit-code={_LOCK_HELD}", self._lock)

    def _upgrade(self, argv: tuple[str, ...], timeout: float) -> str:
        """Under a lock that the kernel keeps as long as kubeadm lives, even when nobody waits for it any more."""
        run_checked(self._host, ("mkdir", "--parents", "--mode=0700", "--", self._settings.work_dir), changes=True)
        locked = (*self._locked(), *argv)
        result = run_checked(self._host, locked, timeout=timeout, changes=True, accept=(0, _LOCK_HELD))
        if result.exit_status == _LOCK_HELD and not result.stdout:
            raise CommandFailed(
                f"kubeadm is already at work on {self._host.name}",
                exit_status=_LOCK_HELD,
                stderr=result.stderr,
                hint=f"Wait for it (pgrep -a kubeadm on {self._host.name}), then: upgrade-guard resume",
            )
        if result.exit_status != 0:
            raise failure(self._host, locked, result, timeout)
        return result.stdout

    def _kubeconfig(self, *names: str) -> tuple[str, ...]:
        directory = self._settings.kubernetes_dir
        return () if directory == DEFAULT_DIRECTORY else tuple(f"--kubeconfig={directory}/{name}" for name in names)

    def _node_kubeconfig(self) -> tuple[str, ...]:
        """A worker has only kubelet.conf; kubeadm finds out by itself where everything is at its usual place."""
        directory = self._settings.kubernetes_dir
        if directory == DEFAULT_DIRECTORY:
            return ()
        there = run_checked(self._host, ("test", "-e", f"{directory}/admin.conf"), accept=(0, 1))
        return ("admin.conf" if there.exit_status == 0 else "kubelet.conf",)


def _with(patches: str) -> tuple[str, ...]:
    return (f"--patches={patches}",) if patches else ()


def _ignoring(checks: tuple[str, ...]) -> tuple[str, ...]:
    return (f"--ignore-preflight-errors={','.join(checks)}",) if checks else ()
