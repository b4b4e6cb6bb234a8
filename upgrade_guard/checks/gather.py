"""Asks the tools for everything that the checks judge. What cannot be asked is said, and stops nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain

from upgrade_guard.checks.findings import Questions
from upgrade_guard.checks.gather_node import NodeQuestions, look_at_node
from upgrade_guard.checks.gathered import ApiLook, DrainLook, EtcdLook, Gathered, MachineLook
from upgrade_guard.errors import GuardError, HostUnreachable
from upgrade_guard.model.clock import Clock
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.etcd import Member, MemberHash, MemberStatus
from upgrade_guard.model.version import Version
from upgrade_guard.nodes.node_tools import NodeTools
from upgrade_guard.tools.api_server import ApiServer
from upgrade_guard.tools.etcdctl import Etcdctl
from upgrade_guard.tools.kubectl import Kubectl

HASH_ATTEMPTS = 3
NOTHING_SAID = DrainLook()


def gather(
    cluster: Cluster,
    nodes: Mapping[str, NodeTools],
    kubectl: Kubectl,
    api_servers: Mapping[str, ApiServer],
    etcdctl: Etcdctl | None,
    *,
    machine: MachineLook,
    clock: Clock,
    target: Version,
    drain: DrainLook = NOTHING_SAID,
    patches: str = "",
) -> Gathered:
    """Everything, read once. `nodes` are the tools of every node of the cluster, `api_servers` those of its control
    planes by name; `etcdctl` None: no etcd answers; `patches` is the configured directory of kubeadm's patches.

    Raises HostUnreachable when a node cannot be reached: such a cluster cannot be upgraded as a whole.
    """
    questions = Questions()
    now = Version.parse(cluster.version)
    api = look_at_api(kubectl, api_servers, questions)
    volumes = () if api.kubeadm_config is None else chain.from_iterable(api.kubeadm_config.extra_volumes.values())
    wanted = NodeQuestions(clock, now, target, patches, tuple(dict.fromkeys(volume.path for volume in volumes)))
    looks = tuple(look_at_node(nodes[node.name], node, questions, wanted) for node in cluster.nodes)
    if etcdctl is None:
        questions.cannot("etcd-members-healthy", "", "no member of etcd answers", "crictl ps --all --name etcd")
    return Gathered(
        cluster=cluster,
        now=clock.now().timestamp(),
        nodes=looks,
        etcd=look_at_etcd(etcdctl, questions) if etcdctl else EtcdLook(),
        api=replace(api, nodes=tuple(row for row in api.nodes if row.name not in cluster.left_out)),
        machine=machine,
        drain=drain,
        unanswered=tuple(questions.unanswered),
        patches=patches,
    )


def look_at_etcd(etcdctl: Etcdctl, questions: Questions) -> EtcdLook:
    """etcd as one of its members describes it."""
    members = questions.ask("etcd-members-agree", "", etcdctl.member_list, ())
    statuses = questions.ask("etcd-one-leader", "", etcdctl.endpoint_status, ())
    hashes, problem = _hashes(etcdctl, members, statuses)
    return EtcdLook(
        members=members,
        statuses=statuses,
        healths=questions.ask("etcd-members-healthy", "", etcdctl.endpoint_health, ()),
        alarms=questions.ask("etcd-no-alarm", "", etcdctl.alarms, ()),
        hashes=hashes,
        hash_problem=problem,
    )


def look_at_api(kubectl: Kubectl, api_servers: Mapping[str, ApiServer], questions: Questions) -> ApiLook:
    """The cluster as its API describes it; each API server counts the deprecated APIs that it was asked for."""
    deprecated = [
        one
        for name, api_server in api_servers.items()
        for one in questions.ask("deprecated-apis", name, api_server.deprecated_apis, ())
    ]
    return ApiLook(
        nodes=questions.ask("nodes-ready", "", kubectl.nodes, ()),
        pods=questions.ask("workloads-healthy", "", kubectl.pods, ()),
        workloads=questions.ask("workloads-healthy", "", kubectl.workloads, ()),
        services=questions.ask("webhooks-answer", "", kubectl.services, ()),
        budgets=questions.ask("disruption-budgets-allow", "", kubectl.disruption_budgets, ()),
        kubeadm_config=questions.ask("data-dir-agrees", "", kubectl.kubeadm_config, None),
        api_services=questions.ask("api-services-available", "", kubectl.api_services, ()),
        webhooks=questions.ask("webhooks-answer", "", kubectl.webhooks, ()),
        deprecated=tuple(dict.fromkeys(deprecated)),
    )


def _hashes(
    etcdctl: Etcdctl, members: tuple[Member, ...], statuses: tuple[MemberStatus, ...]
) -> tuple[tuple[MemberHash, ...], str]:
    """HashKV of every member at one revision that all of them have; taken again when etcd compacted in between."""
    if len(members) <= 1 or not statuses:
        return (), ""
    found: tuple[MemberHash, ...] = ()
    problem = ""
    for _ in range(HASH_ATTEMPTS):
        try:
            revision = min(status.revision for status in etcdctl.endpoint_status())
            found = etcdctl.hashkv(revision, cluster=True)
        except HostUnreachable:
            raise
        except (GuardError, ValueError) as failed:
            problem = str(failed)
            continue
        problem = "" if len(found) == len(members) else f"{len(found)} of {len(members)} members answered"
        if not problem and len({one.compact_revision for one in found}) == 1:
            break
    return found, problem
