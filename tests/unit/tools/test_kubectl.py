from __future__ import annotations

import json
from typing import Any

import pytest

from upgrade_guard.errors import CommandFailed, UsageProblem
from upgrade_guard.hosts.scripted import ScriptedHost
from upgrade_guard.tools.kubectl import Budget, Kubectl, Webhook
from upgrade_guard.tools.kubectl_objects import selects

CONFIG = "--kubeconfig=/etc/kubernetes/admin.conf"


def test_objects_are_applied_as_one_list_on_standard_input() -> None:
    host = ScriptedHost("cp1")
    host.answers("kubectl", CONFIG, "apply", "-f", "-")
    Kubectl(host, "/etc/kubernetes/admin.conf").apply([{"kind": "Pod"}, {"kind": "Service"}])
    stdin = host.commands[0].stdin
    assert isinstance(stdin, bytes)
    assert json.loads(stdin) == {"apiVersion": "v1", "kind": "List", "items": [{"kind": "Pod"}, {"kind": "Service"}]}
    assert host.commands[0].changes


def test_delete_does_not_wait_and_forgives_what_is_gone() -> None:
    host = ScriptedHost("cp1")
    host.answers("kubectl", CONFIG, "delete", "-f", "-", "--ignore-not-found", "--wait=false")
    Kubectl(host, "/etc/kubernetes/admin.conf").delete([{"kind": "Pod"}])
    assert len(host.commands) == 1


def test_labelled_gives_raw_objects() -> None:
    host = ScriptedHost("cp1")
    host.answers(
        "kubectl", ..., "get", "pods,services", "-l", "a=b", "-o", "json", stdout='{"items": [{"kind": "Pod"}]}'
    )
    assert Kubectl(host, "/k").labelled("default", "pods,services", "a=b") == [{"kind": "Pod"}]


def test_every_request_goes_through_the_server_that_was_named() -> None:
    host = ScriptedHost("cp1")
    named = "--server=https://10.0.0.11:6443"
    host.answers("kubectl", CONFIG, named, ..., "get", "nodes", "-o", "json", stdout='{"items": []}')
    host.answers("kubectl", CONFIG, named, "cordon", "w1")
    kubectl = Kubectl(host, "/etc/kubernetes/admin.conf", "https://10.0.0.11:6443")
    assert kubectl.nodes() == ()
    kubectl.cordon("w1")


def test_a_drain_gets_more_time_than_it_gives_to_evictions() -> None:
    host = ScriptedHost("cp1")
    host.answers("kubectl", ...)
    Kubectl(host, "/k").drain("w1", 90)
    assert "--timeout=90s" in host.argvs[0]
    assert host.commands[0].timeout > 90


@pytest.mark.parametrize("name", ["-w1", "w 1", "", "w\n1"])
def test_a_node_name_that_could_be_an_option_is_refused(name: str) -> None:
    with pytest.raises(UsageProblem):
        Kubectl(ScriptedHost("cp1"), "/k").cordon(name)


def test_a_refused_read_is_an_error_with_kubectls_own_words() -> None:
    host = ScriptedHost("cp1")
    host.answers("kubectl", ..., exit_status=1, stderr="The connection to the server 10.0.0.1:6443 was refused\n")
    with pytest.raises(CommandFailed, match=r"kubectl get pods on cp1 ended with 1: The connection") as caught:
        Kubectl(host, "/k").pods()
    assert "crictl" in caught.value.hint


@pytest.mark.parametrize(
    ("selector", "labels", "selected"),
    [
        ({}, {"a": "b"}, True),
        ({"matchLabels": {"a": "b"}}, {"a": "b", "c": "d"}, True),
        ({"matchLabels": {"a": "b"}}, {"a": "c"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b", "c"]}]}, {"a": "c"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]}, {"a": "b"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"a": ""}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": "b"}, False),
    ],
)
def test_label_selectors(selector: dict[str, Any], labels: dict[str, str], selected: bool) -> None:
    assert selects(selector, labels) is selected


def test_a_budget_protects_pods_of_its_own_namespace() -> None:
    budget = Budget("shop", "shop", 0, 3, 3, {"matchLabels": {"app": "shop"}})
    assert budget.protects("shop", {"app": "shop"})
    assert not budget.protects("other", {"app": "shop"})


def test_a_webhook_at_a_url_has_no_service() -> None:
    assert Webhook("c", "n", "validating", "https://10.0.0.9/x", "Fail").service == ""
    assert Webhook("c", "n", "validating", "ns/name", "Fail").service == "ns/name"
