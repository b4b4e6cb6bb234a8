"""Everything in the product that reads what others wrote, each with the errors that it may answer with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from upgrade_guard.checks import gather_node, kubelet
from upgrade_guard.errors import GuardError, Refused, UnexpectedOutput, UsageProblem
from upgrade_guard.hosts import names, ssh_settings
from upgrade_guard.journal import export, place
from upgrade_guard.journal import text as journal_text
from upgrade_guard.model import ssh_words
from upgrade_guard.model.version import Version
from upgrade_guard.tools import (
    api_server,
    apt,
    commands,
    container_rows,
    etcd_manifest,
    etcdctl,
    etcdutl,
    file_entries,
    known_failures,
    kubeadm_certificates,
    kubeadm_config,
    kubeadm_plan,
    kubectl_cron_jobs,
    kubectl_extensions,
    kubectl_nodes,
    kubectl_pods,
    kubectl_workloads,
    lock_file,
    own_directory,
    plain_yaml,
    static_pod,
    systemd_analyze,
)
from upgrade_guard.vault import addresses, manifest, mounts, schedule

Refusals = tuple[type[Exception], ...]


@dataclass(frozen=True)
class Reader:
    """`read` takes any text and answers with a value or one of `refuses`; an empty tuple: it always has a value."""

    read: Callable[[str], Any]
    refuses: Refusals = (UnexpectedOutput,)


V27, V28 = Version(1, 27, 16), Version(1, 28, 0)
READERS: dict[str, Reader] = {
    # what programs print
    "tools.apt.parse_installed": Reader(apt.parse_installed, ()),
    "tools.apt.parse_madison": Reader(lambda text: apt.parse_madison(text, "kubeadm"), ()),
    "tools.apt.point_source_at": Reader(lambda text: apt.point_source_at(text, V27, V28), ()),
    "tools.commands.parse_json": Reader(lambda text: commands.parse_json("x", text)),
    "tools.container_rows.parse_crictl_containers": Reader(container_rows.parse_crictl_containers),
    "tools.container_rows.parse_crictl_image_names": Reader(container_rows.parse_crictl_image_names),
    "tools.container_rows.parse_crictl_images": Reader(container_rows.parse_crictl_images),
    "tools.container_rows.parse_crictl_pods": Reader(container_rows.parse_crictl_pods),
    "tools.container_rows.parse_containerd_sandbox": Reader(container_rows.parse_containerd_sandbox),
    "tools.container_rows.parse_tasks": Reader(container_rows.parse_tasks),
    "tools.api_server.parse_server_version": Reader(api_server.parse_server_version),
    "tools.api_server.own_url": Reader(api_server.own_url, ()),
    "tools.container_rows.parse_container_ids": Reader(container_rows.parse_container_ids),
    "tools.container_rows.parse_containerd_container": Reader(
        lambda text: container_rows.parse_containerd_container(text, running=True)
    ),
    "tools.etcdctl.parse_version": Reader(etcdctl.parse_version),
    "tools.etcdctl.parse_member_list": Reader(etcdctl.parse_member_list),
    "tools.etcdctl.parse_endpoint_status": Reader(etcdctl.parse_endpoint_status),
    "tools.etcdctl.parse_endpoint_health": Reader(etcdctl.parse_endpoint_health),
    "tools.etcdctl.parse_hashkv": Reader(lambda text: etcdctl.parse_hashkv(text, 0)),
    "tools.etcdctl.parse_alarms": Reader(etcdctl.parse_alarms),
    "tools.etcdctl.parse_revision": Reader(etcdctl.parse_revision),
    "tools.etcdctl.parse_count": Reader(etcdctl.parse_count),
    "tools.etcdctl.parse_keys": Reader(etcdctl.parse_keys),
    "tools.etcdutl.parse_snapshot_status": Reader(etcdutl.parse_snapshot_status),
    "tools.file_entries.parse_entries": Reader(file_entries.parse_entries),
    "tools.known_failures.hint_for": Reader(known_failures.hint_for, ()),
    "tools.kubeadm_certificates.parse_certificates": Reader(kubeadm_certificates.parse_certificates),
    "tools.kubeadm_config.parse_kubeadm_config": Reader(kubeadm_config.parse_kubeadm_config),
    "tools.kubeadm_config.parse_kubeadm_document": Reader(kubeadm_config.parse_kubeadm_document),
    "tools.kubeadm_plan.parse_upgrade_plan": Reader(kubeadm_plan.parse_upgrade_plan),
    "tools.kubectl_extensions.parse_api_services": Reader(kubectl_extensions.parse_api_services),
    "tools.kubectl_extensions.parse_deprecated_apis": Reader(kubectl_extensions.parse_deprecated_apis),
    "tools.kubectl_extensions.parse_webhooks": Reader(kubectl_extensions.parse_webhooks),
    "tools.kubectl_nodes.parse_nodes": Reader(kubectl_nodes.parse_nodes),
    "tools.kubectl_pods.parse_pods": Reader(kubectl_pods.parse_pods),
    "tools.kubectl_cron_jobs.parse_cron_jobs": Reader(kubectl_cron_jobs.parse_cron_jobs),
    "tools.kubectl_workloads.parse_budgets": Reader(kubectl_workloads.parse_budgets),
    "tools.kubectl_workloads.parse_services": Reader(kubectl_workloads.parse_services),
    "tools.kubectl_workloads.parse_workloads": Reader(kubectl_workloads.parse_workloads),
    "tools.systemd_analyze.parse_elapses": Reader(systemd_analyze.parse_elapses),
    # files of a node
    "checks.gather_node.read_etcd_manifest": Reader(gather_node.read_etcd_manifest, ()),
    "checks.kubelet.flags_in": Reader(kubelet.flags_in, ()),
    "tools.etcd_manifest.parse_etcd_manifest": Reader(etcd_manifest.parse_etcd_manifest),
    "tools.own_directory.parse_places": Reader(own_directory.parse_places),
    "tools.lock_file.parse_owner": Reader(lock_file.parse_owner),
    "tools.plain_yaml.plain_yaml": Reader(plain_yaml.plain_yaml, (ValueError,)),
    "tools.static_pod.command_flags": Reader(static_pod.command_flags),
    "tools.static_pod.host_paths": Reader(static_pod.host_paths),
    "tools.static_pod.image_of": Reader(static_pod.image_of),
    "tools.static_pod.parse_static_pod": Reader(static_pod.parse_static_pod),
    # files of this machine
    "journal.export.audited_export": Reader(
        lambda text: list(export.audited_export(text.splitlines(keepends=True), "", lambda _, __: None).breaches),
        (UsageProblem,),
    ),
    "journal.place.file_system": Reader(lambda text: place.file_system(place.Path("/tmp"), text), ()),
    "journal.text.instant": Reader(journal_text.instant, (ValueError,)),
    "journal.text.plain_text": Reader(journal_text.plain_text, ()),
    "vault.manifest.manifest_from_text": Reader(
        lambda text: manifest.manifest_from_text(text, "manifest.json"), (Refused,)
    ),
    "vault.mounts.file_system_of": Reader(lambda text: mounts.file_system_of(mounts.Path("/tmp"), text), ()),
    # what people type
    "hosts.ssh_settings.objection_to": Reader(ssh_settings.objection_to, ()),
    "hosts.names.check_name": Reader(names.check_name, (UsageProblem,)),
    "model.ssh_words.checked_destination": Reader(ssh_words.checked_destination, (ValueError,)),
    "model.ssh_words.checked_option": Reader(ssh_words.checked_option, (ValueError,)),
    "model.version.Version.parse": Reader(Version.parse, (ValueError,)),
    "vault.addresses.parse_place": Reader(addresses.parse_place, (UsageProblem,)),
    "vault.schedule.unit_name": Reader(schedule.unit_name, (UsageProblem,)),
    "vault.schedule.timer_text": Reader(schedule.timer_text, (GuardError,)),
}
