"""What the API says of itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.checks.healthy import pod, with_api, with_cluster, workload
from unit.checks.judging import Case, Good, W, assert_quiet, assert_said

from upgrade_guard.model.cluster import Addon
from upgrade_guard.tools.kubectl_objects import ApiService, DeprecatedApi, ServiceRow, Webhook

removed = DeprecatedApi("flowcontrol", "v1beta2", "flowschemas", "1.28")
stays = DeprecatedApi("", "v1", "endpoints", "")
later = DeprecatedApi("a", "v1", "b", "1.32")
webhook = Webhook("policy", "check.policy", "validating", "policy/hook", "Fail")
service = ServiceRow("policy", "hook", "ClusterIP", "10.96.0.5", selector={"app": "hook"})
unwell = Addon("calico", "network", "kube-system", "calico-node", "i", healthy=False)

CASES = [
    Case("deprecated-apis", W, "flowschemas of flowcontrol/v1beta2", with_api(deprecated=(removed,))),
    Case("api-services-available", W, "metrics", with_api(api_services=(ApiService("metrics", available=False),))),
    Case("webhooks-answer", W, "check.policy must answer", with_api(webhooks=(webhook,))),
    Case("webhooks-answer", W, "nothing is ready", with_api(webhooks=(webhook,), services=(service,))),
    Case(
        "webhooks-answer",
        W,
        "nothing is ready",
        with_api(webhooks=(webhook,), services=(service,), pods=(pod("hook", "policy", ready=False),)),
    ),
    Case("workloads-healthy", W, "1 of 3 pods", with_api(workloads=(workload("web", ready=1),)), where="shop/web"),
    Case("addons-healthy", W, "calico (network) is not well", with_cluster(addons=(unwell,))),
    Case("addons-healthy", W, "no network plugin", with_cluster(addons=())),
]

GOOD = [
    Good("deprecated-apis", with_api(deprecated=(stays, later))),
    Good("webhooks-answer", with_api(webhooks=(replace(webhook, failure_policy="Ignore"),))),
    Good("webhooks-answer", with_api(webhooks=(replace(webhook, target="https://hook.example"),))),
    Good("webhooks-answer", with_api(webhooks=(webhook,), services=(service,), pods=(pod("hook", "policy"),))),
    Good("webhooks-answer", with_api(webhooks=(webhook,), services=(replace(service, selector={}),))),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_wrong_is_said(case: Case) -> None:
    assert_said(case)


@pytest.mark.parametrize("good", GOOD, ids=str)
def test_what_is_right_is_not_held_against_it(good: Good) -> None:
    assert_quiet(good)
