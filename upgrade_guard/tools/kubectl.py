"""kubectl on one node, with the administrator's kubeconfig there: questions about the cluster, and its changes.

Questions about one API server are in `tools/api_server.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from upgrade_guard.hosts.base import Host, check_name
from upgrade_guard.model.command import Command, Result
from upgrade_guard.tools.commands import failure, run_checked
from upgrade_guard.tools.kubeadm import KubeadmConfig, parse_kubeadm_config, parse_kubeadm_document
from upgrade_guard.tools.kubectl_objects import (
    ApiService,
    Budget,
    CronJobRow,
    NodeRow,
    PodRow,
    ServiceRow,
    Webhook,
    WorkloadRow,
    items,
    parse_api_services,
    parse_budgets,
    parse_cron_jobs,
    parse_nodes,
    parse_pods,
    parse_services,
    parse_webhooks,
    parse_workloads,
)

__all__ = [
    "ApiService",
    "Budget",
    "KubeadmConfig",
    "Kubectl",
    "NodeRow",
    "PodRow",
    "ServiceRow",
    "Webhook",
    "WorkloadRow",
]

_ALL = "--all-namespaces"
_JSON = ("-o", "json")


class Kubectl:
    """The API as the administrator sees it, through `server` (a URL), else through what the kubeconfig names.

    Every answer is limited to `request_timeout` seconds.
    """

    def __init__(self, host: Host, kubeconfig: str, server: str = "", *, request_timeout: int = 15) -> None:
        self._host = host
        self._access = (f"--kubeconfig={kubeconfig}", *((f"--server={server}",) if server else ()))
        self._request_timeout = request_timeout

    # Reading

    def nodes(self) -> tuple[NodeRow, ...]:
        """Every node, by name."""
        return parse_nodes(self._get("nodes", *_JSON))

    def pods(self) -> tuple[PodRow, ...]:
        """Every pod of every namespace."""
        return parse_pods(self._get("pods", _ALL, *_JSON))

    def pods_on(self, node: str, namespace: str = "") -> tuple[PodRow, ...]:
        """The pods of one node, of one namespace where it is named: a wait must not read the whole cluster."""
        scope = _namespace(namespace) if namespace else _ALL
        field = f"--field-selector=spec.nodeName={check_name(node, 'node name')}"
        return parse_pods(self._get("pods", scope, field, *_JSON))

    def has_node(self, name: str) -> bool:
        """Does the cluster have a node of that name?"""
        return bool(self._get("node", check_name(name, "node name"), "--ignore-not-found", "-o", "name").strip())

    def workloads(self) -> tuple[WorkloadRow, ...]:
        """Every Deployment, DaemonSet and StatefulSet."""
        return parse_workloads(self._get("deployments,daemonsets,statefulsets", _ALL, *_JSON))

    def services(self) -> tuple[ServiceRow, ...]:
        """Every service."""
        return parse_services(self._get("services", _ALL, *_JSON))

    def disruption_budgets(self) -> tuple[Budget, ...]:
        """Every PodDisruptionBudget."""
        return parse_budgets(self._get("poddisruptionbudgets", _ALL, *_JSON))

    def cron_jobs(self) -> tuple[CronJobRow, ...]:
        """Every CronJob."""
        return parse_cron_jobs(self._get("cronjobs", _ALL, *_JSON))

    def kubeadm_config(self) -> KubeadmConfig:
        """What kubeadm believes of this cluster, from its ConfigMap."""
        return parse_kubeadm_config(self._kubeadm_config_map())

    def kubeadm_document(self) -> dict[str, Any]:
        """The same as kubeadm reads it from a file."""
        return parse_kubeadm_document(self._kubeadm_config_map())

    def _kubeadm_config_map(self) -> str:
        return self._run("--namespace=kube-system", "get", "configmap", "kubeadm-config", *_JSON)

    def api_services(self) -> tuple[ApiService, ...]:
        """The API groups, local ones and those that another server answers."""
        return parse_api_services(self._get("apiservices", *_JSON))

    def webhooks(self) -> tuple[Webhook, ...]:
        """Every admission webhook: one that fails can refuse what an upgrade needs."""
        return parse_webhooks(self._get("validatingwebhookconfigurations,mutatingwebhookconfigurations", *_JSON))

    def labelled(self, namespace: str, kinds: str, label: str) -> list[dict[str, Any]]:
        """The raw objects of `kinds` ("pods,services") with `label` ("KEY=VALUE") in a namespace."""
        words = (_namespace(namespace), "get", kinds, "-l", label, *_JSON)
        return items("kubectl get", self._run(*words))

    # Changing

    def drain(self, node: str, timeout: float = 300.0, *, force: bool = False, delete_emptydir: bool = True) -> None:
        """Cordon it and evict its pods, respecting disruption budgets; `timeout` in seconds for all of them.

        `force`: pods without a controller too, which are gone for good then. `delete_emptydir`: pods with an emptyDir
        too, whose content is lost.
        """
        words = ["drain", check_name(node, "node name"), "--ignore-daemonsets"]
        words += ["--delete-emptydir-data"] if delete_emptydir else []
        words += ["--force"] if force else []
        self._change(*words, f"--timeout={timeout:g}s", timeout=timeout + 60)

    def cordon(self, node: str) -> None:
        """No new pods there."""
        self._change("cordon", check_name(node, "node name"))

    def uncordon(self, node: str) -> None:
        """New pods there again."""
        self._change("uncordon", check_name(node, "node name"))

    def apply(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """Apply these objects."""
        self._change("apply", "-f", "-", stdin=_list_of(objects))

    def delete(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """Ask for the removal of these objects; those that are not there are no error."""
        self._change("delete", "-f", "-", "--ignore-not-found", "--wait=false", stdin=_list_of(objects))

    def delete_pods(self, namespace: str, label: str) -> None:
        """Ask for the removal of the pods with that label; their owners make new ones."""
        self._change(_namespace(namespace), "delete", "pods", "-l", label, "--wait=false")

    def set_last_schedule(self, namespace: str, cron_job: str, moment: datetime) -> None:
        """Let a CronJob know that it ran for that time: its controller makes up for nothing before it."""
        patch = json.dumps({"status": {"lastScheduleTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}})
        words = ("patch", "cronjob", check_name(cron_job, "name of a CronJob"), "--subresource=status")
        self._change(_namespace(namespace), *words, "--type=merge", "--patch", patch)

    def _get(self, *words: str) -> str:
        return self._run("get", *words)

    def _run(self, *words: str) -> str:
        command = self._command(*words)
        result = self._host.run(command)
        if not result.ok:
            raise failure(self._host, command.argv, result, command.timeout)
        return result.stdout

    def _command(self, *words: str) -> Command:
        limit = f"--request-timeout={self._request_timeout}s"
        argv = ("kubectl", *self._access, limit, *words)
        # kubectl asks several times (discovery first), each limited for itself.
        return Command(argv, timeout=3.0 * self._request_timeout + 15)

    def _change(self, *words: str, stdin: bytes | None = None, timeout: float = 90.0) -> Result:
        argv = ("kubectl", *self._access, *words)
        return run_checked(self._host, argv, timeout=timeout, changes=True, stdin=stdin)


def _list_of(objects: Sequence[Mapping[str, Any]]) -> bytes:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}).encode()


def _namespace(name: str) -> str:
    return f"--namespace={check_name(name, 'namespace')}"
