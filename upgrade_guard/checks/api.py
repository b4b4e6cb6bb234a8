"""What the API says about itself: versions that go away, extensions that do not answer, workloads that are not well."""

from __future__ import annotations

from upgrade_guard.checks.findings import listed, ok, warning
from upgrade_guard.checks.gathered import Gathered
from upgrade_guard.model.finding import Finding
from upgrade_guard.model.version import Version


def deprecated_apis(gathered: Gathered, target: Version) -> tuple[Finding, ...]:
    """Nobody asks for API versions that the target no longer serves.

    A warning and no refusal: the metric `apiserver_requested_deprecated_apis` remembers one request until the API
    server restarts and does not say whose it was, so a refusal could not be cured by the one who reads it.
    """
    name = "deprecated-apis"
    gone = []
    for api in gathered.api.deprecated:
        major, _dot, minor = api.removed_release.partition(".")
        if major.isdecimal() and minor.isdecimal() and (int(major), int(minor)) <= (target.major, target.minor):
            group = f"{api.group}/{api.version}" if api.group else api.version
            gone.append(f"{api.resource} of {group} (gone since v{api.removed_release})")
    if gone:
        return (
            warning(
                name,
                f"someone asked for APIs that {target.series} does not serve: {listed(sorted(set(gone)))}",
                "find the client in the audit log or its manifests, and move it to the newer version first: "
                "kubectl get --raw /metrics | grep apiserver_requested_deprecated_apis",
            ),
        )
    return (ok(name, f"no API that {target.series} removes was asked for"),)


def api_services_available(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """Every aggregated API answers: one that does not makes discovery slow and keeps namespaces from going away."""
    name = "api-services-available"
    away = [service.name for service in gathered.api.api_services if not service.available]
    if away:
        return (
            warning(
                name,
                f"aggregated APIs that do not answer: {listed(away)}",
                f"look: kubectl describe apiservice {away[0]}",
            ),
        )
    return (ok(name, "every API service is available"),)


def webhooks_answer(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """Every admission webhook that must answer has a pod behind its service: a dead one refuses new pods."""
    name = "webhooks-answer"
    services = {(service.namespace, service.name): service for service in gathered.api.services}
    findings = []
    for webhook in gathered.api.webhooks:
        if webhook.failure_policy != "Fail" or not webhook.service:
            continue
        namespace, _slash, service_name = webhook.service.partition("/")
        service = services.get((namespace, service_name))
        selector = dict(service.selector) if service is not None else {}
        if service is not None and not selector:
            continue  # its endpoints are kept by someone else: there are no pods to look for
        behind = [
            pod
            for pod in gathered.api.pods
            if pod.namespace == namespace and pod.ready and selector.items() <= dict(pod.labels).items()
        ]
        if service is None or not behind:
            findings.append(
                warning(
                    name,
                    f"the webhook {webhook.name} must answer, but nothing is ready behind {webhook.service}",
                    f"bring it back or remove its configuration: kubectl -n {namespace} get pods,endpoints",
                    webhook.name,
                )
            )
    return tuple(findings) or (ok(name, f"{len(gathered.api.webhooks)} admission webhook(s), none without a pod"),)


def workloads_healthy(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """The workloads are as they want to be; what is broken before cannot be told from what the upgrade broke."""
    name = "workloads-healthy"
    short = [row for row in gathered.api.workloads if row.ready < row.desired]
    findings = [
        warning(
            name,
            f"{row.kind} {row.namespace}/{row.name} has {row.ready} of {row.desired} pods ready",
            f"look: kubectl -n {row.namespace} describe {row.kind.lower()} {row.name}",
            f"{row.namespace}/{row.name}",
        )
        for row in short
    ]
    return tuple(findings) or (ok(name, f"{len(gathered.api.workloads)} workload(s) as they want to be"),)


def addons_healthy(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """The network plugin and the other add-ons that were recognised work, and what their own upgrade needs is said."""
    name = "addons-healthy"
    findings = []
    for addon in gathered.cluster.addons:
        where = f"{addon.namespace}/{addon.workload}"
        if not addon.healthy:
            hint = f"look: kubectl -n {addon.namespace} get pods -o wide"
            findings.append(warning(name, f"{addon.name} ({addon.kind}) is not well", hint, where))
        else:
            findings.append(ok(name, f"{addon.name} ({addon.kind}): {addon.advice or 'nothing to do'}", where))
    if not any(addon.kind == "network" for addon in gathered.cluster.addons) and gathered.api.workloads:
        findings.append(
            warning(
                name,
                "no network plugin was recognised",
                "see what your network plugin says about this version: ls /etc/cni/net.d",
            )
        )
    return tuple(findings)
