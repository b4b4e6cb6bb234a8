"""Whatever a program prints, a parser gives values or says UnexpectedOutput: never another error."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upgrade_guard.errors import UnexpectedOutput
from upgrade_guard.tools import (
    apt,
    container_rows,
    etcdctl,
    etcdutl,
    file_entries,
    kubeadm_certificates,
    kubeadm_config,
    kubeadm_plan,
    kubectl,
    kubectl_extensions,
    kubectl_nodes,
    kubectl_pods,
    kubectl_workloads,
)

FIXTURES = Path(__file__).parents[2] / "fixtures"
Parser = Callable[[str], Any]
PARSERS: dict[str, Parser] = {
    "apt installed": apt.parse_installed,
    "apt madison": lambda text: apt.parse_madison(text, "kubeadm"),
    "crictl ps": container_rows.parse_crictl_containers,
    "crictl images": container_rows.parse_crictl_images,
    "ctr tasks": container_rows.parse_tasks,
    "ctr containers": container_rows.parse_container_ids,
    "ctr info": lambda text: container_rows.parse_containerd_container(text, running=True),
    "etcdctl version": etcdctl.parse_version,
    "etcdctl member list": etcdctl.parse_member_list,
    "etcdctl endpoint status": etcdctl.parse_endpoint_status,
    "etcdctl endpoint health": etcdctl.parse_endpoint_health,
    "etcdctl hashkv": lambda text: etcdctl.parse_hashkv(text, 0),
    "etcdctl alarm list": etcdctl.parse_alarms,
    "etcdctl get": etcdctl.parse_revision,
    "etcdutl status": etcdutl.parse_snapshot_status,
    "find": file_entries.parse_entries,
    "kubeadm certs": kubeadm_certificates.parse_certificates,
    "kubeadm config": kubeadm_config.parse_kubeadm_config,
    "kubeadm plan": kubeadm_plan.parse_upgrade_plan,
    "kubectl nodes": kubectl_nodes.parse_nodes,
    "kubectl pods": kubectl_pods.parse_pods,
    "kubectl workloads": kubectl_workloads.parse_workloads,
    "kubectl services": kubectl_workloads.parse_services,
    "kubectl budgets": kubectl_workloads.parse_budgets,
    "kubectl apiservices": kubectl_extensions.parse_api_services,
    "kubectl webhooks": kubectl_extensions.parse_webhooks,
    "kubectl metrics": kubectl_extensions.parse_deprecated_apis,
    "kubectl version": kubectl.parse_server_version,
}
SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5) | st.floats(allow_nan=False)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)


def real_documents() -> list[Any]:
    """Every JSON document among the fixtures: what a mutation starts from."""
    found = []
    for path in sorted(FIXTURES.glob("*/*.json")):
        text = json.loads(path.read_text())["stdout"]
        with suppress(ValueError):
            found.append(json.loads(text))
    return found


REAL = real_documents()


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A real document in which one value, somewhere, became something else or went away."""
    document = json.loads(json.dumps(draw(st.sampled_from(REAL))))
    place: Any = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place))) if isinstance(place, list) else []
        if not keys:
            return json.dumps(document)
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and draw(st.integers(0, 5)):
            place = place[key]
            continue
        if draw(st.booleans()):
            del place[key]
        else:
            place[key] = draw(ANYTHING)
        return json.dumps(document)


def feed(parser: Parser, text: str) -> None:
    with suppress(UnexpectedOutput):
        parser(text)


@pytest.mark.parametrize("name", sorted(PARSERS))
@settings(max_examples=20, deadline=None)
@given(text=st.text(max_size=80) | st.text('{}[]",:\\\n 09aE|-', max_size=60))
def test_any_text(name: str, text: str) -> None:
    feed(PARSERS[name], text)


@settings(max_examples=100, deadline=None)
@given(text=mutated() | ANYTHING.map(json.dumps))
def test_any_document_that_looks_almost_right(text: str) -> None:
    for parser in PARSERS.values():
        feed(parser, text)


def test_there_are_real_documents_to_start_from() -> None:
    assert len(REAL) > 20
