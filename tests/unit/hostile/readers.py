"""Everything in the product that reads what others wrote, each with the errors that it may answer with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from upgrade_guard.checks import kubelet
from upgrade_guard.errors import GuardError, Refused, UnexpectedOutput, UsageProblem
from upgrade_guard.hosts import base, ssh_settings
from upgrade_guard.journal import encoding as journal_text
from upgrade_guard.journal import export, storage
from upgrade_guard.model import ssh_words
from upgrade_guard.model.version import Version
from upgrade_guard.tools import (
    api_server,
    apt,
    commands,
    containers,
    etcd_manifest,
    etcdctl,
    etcdutl,
    files,
    known_failures,
    kubeadm,
    kubectl_objects,
    lock_file,
    own_directory,
    plain_yaml,
    static_pod,
    systemctl,
)
from upgrade_guard.vault import addresses, disk, manifest, schedule

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
    "tools.containers.parse_crictl_containers": Reader(containers.parse_crictl_containers),
    "tools.containers.parse_crictl_image_names": Reader(containers.parse_crictl_image_names),
    "tools.containers.parse_crictl_images": Reader(containers.parse_crictl_images),
    "tools.containers.parse_crictl_pods": Reader(containers.parse_crictl_pods),
    "tools.containers.parse_containerd_sandbox": Reader(containers.parse_containerd_sandbox),
    "tools.containers.parse_tasks": Reader(containers.parse_tasks),
    "tools.api_server.parse_server_version": Reader(api_server.parse_server_version),
    "tools.api_server.own_url": Reader(api_server.own_url, ()),
    "tools.containers.parse_container_ids": Reader(containers.parse_container_ids),
    "tools.containers.parse_containerd_container": Reader(
        lambda text: containers.parse_containerd_container(text, running=True)
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
    "tools.files.parse_entries": Reader(files.parse_entries),
    "tools.known_failures.hint_for": Reader(known_failures.hint_for, ()),
    "tools.kubeadm.parse_certificates": Reader(kubeadm.parse_certificates),
    "tools.kubeadm.parse_kubeadm_config": Reader(kubeadm.parse_kubeadm_config),
    "tools.kubeadm.parse_kubeadm_document": Reader(kubeadm.parse_kubeadm_document),
    "tools.kubeadm.parse_upgrade_plan": Reader(kubeadm.parse_upgrade_plan),
    "tools.kubectl_objects.parse_api_services": Reader(kubectl_objects.parse_api_services),
    "tools.kubectl_objects.parse_deprecated_apis": Reader(kubectl_objects.parse_deprecated_apis),
    "tools.kubectl_objects.parse_webhooks": Reader(kubectl_objects.parse_webhooks),
    "tools.kubectl_objects.parse_nodes": Reader(kubectl_objects.parse_nodes),
    "tools.kubectl_objects.parse_pods": Reader(kubectl_objects.parse_pods),
    "tools.kubectl_objects.parse_cron_jobs": Reader(kubectl_objects.parse_cron_jobs),
    "tools.kubectl_objects.parse_budgets": Reader(kubectl_objects.parse_budgets),
    "tools.kubectl_objects.parse_services": Reader(kubectl_objects.parse_services),
    "tools.kubectl_objects.parse_workloads": Reader(kubectl_objects.parse_workloads),
    "tools.systemctl.parse_elapses": Reader(systemctl.parse_elapses),
    # files of a node
    "tools.etcd_manifest.read_etcd_manifest": Reader(etcd_manifest.read_etcd_manifest, ()),
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
    "journal.storage.file_system": Reader(lambda text: storage.file_system(storage.Path("/tmp"), text), ()),
    "journal.encoding.instant": Reader(journal_text.instant, (ValueError,)),
    "journal.encoding.plain_text": Reader(journal_text.plain_text, ()),
    "vault.manifest.manifest_from_text": Reader(
        lambda text: manifest.manifest_from_text(text, "manifest.json"), (Refused,)
    ),
    "vault.disk.file_system_of": Reader(lambda text: disk.file_system_of(disk.Path("/tmp"), text), ()),
    # what people type
    "hosts.ssh_settings.objection_to": Reader(ssh_settings.objection_to, ()),
    "hosts.base.check_name": Reader(base.check_name, (UsageProblem,)),
    "model.ssh_words.checked_destination": Reader(ssh_words.checked_destination, (ValueError,)),
    "model.ssh_words.checked_option": Reader(ssh_words.checked_option, (ValueError,)),
    "model.version.Version.parse": Reader(Version.parse, (ValueError,)),
    "vault.addresses.parse_place": Reader(addresses.parse_place, (UsageProblem,)),
    "vault.schedule.unit_name": Reader(schedule.unit_name, (UsageProblem,)),
    "vault.schedule.timer_text": Reader(schedule.timer_text, (GuardError,)),
}
