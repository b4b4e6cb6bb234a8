"""What extends the API, and what of it will go away."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from upgrade_guard.tools.kubectl_lists import condition, rows

_DEPRECATED = re.compile(r"^apiserver_requested_deprecated_apis\{(?P<labels>[^}]*)\}\s+(?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class ApiService:
    """One API group and version. `service` is `namespace/name` of the server behind it, "" for kube-apiserver."""

    name: str
    available: bool
    service: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Webhook:
    """One admission webhook. `target` is `namespace/name` of its service or a URL; `failure_policy` Fail or Ignore."""

    configuration: str
    name: str
    kind: str
    target: str
    failure_policy: str
    timeout_seconds: int = 10

    @property
    def service(self) -> str:
        """`namespace/name`, "" when it is a URL."""
        return "" if "://" in self.target else self.target


@dataclass(frozen=True)
class DeprecatedApi:
    """An API that was asked for and is deprecated; `removed_release` is `1.32`, "" when no removal is planned."""

    group: str
    version: str
    resource: str
    removed_release: str


def parse_api_services(text: str) -> tuple[ApiService, ...]:
    """`kubectl get apiservices -o json`."""
    return rows("kubectl get apiservices", text, _api_service)


def parse_webhooks(text: str) -> tuple[Webhook, ...]:
    """`kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations -o json`."""
    return tuple(hook for hooks in rows("kubectl get webhooks", text, _webhooks) for hook in hooks)


def parse_deprecated_apis(text: str) -> tuple[DeprecatedApi, ...]:
    """The gauge `apiserver_requested_deprecated_apis` of the API server's metrics; the same API once."""
    found: dict[DeprecatedApi, None] = {}
    for line in text.splitlines():
        match = _DEPRECATED.match(line)
        if match and match["value"] != "0":
            labels = dict(_LABEL.findall(match["labels"]))
            keys = ("group", "version", "resource", "removed_release")
            found[DeprecatedApi(*(labels.get(key, "") for key in keys))] = None
    return tuple(found)


def _api_service(one: dict[str, Any]) -> ApiService:
    service = one["spec"].get("service")
    available = condition(one, "Available")
    return ApiService(
        name=one["metadata"]["name"],
        available=available.get("status") == "True",
        service=f"{service['namespace']}/{service['name']}" if service else "",
        reason=str(available.get("reason") or ""),
    )


def _webhooks(one: dict[str, Any]) -> tuple[Webhook, ...]:
    kind = "validating" if one["kind"].startswith("Validating") else "mutating"
    return tuple(_webhook(hook, one["metadata"]["name"], kind) for hook in one.get("webhooks") or ())


def _webhook(hook: dict[str, Any], configuration: str, kind: str) -> Webhook:
    client = hook["clientConfig"]
    service = client.get("service")
    return Webhook(
        configuration=configuration,
        name=hook["name"],
        kind=kind,
        target=f"{service['namespace']}/{service['name']}" if service else str(client.get("url", "")),
        failure_policy=hook.get("failurePolicy", "Fail"),
        timeout_seconds=int(hook.get("timeoutSeconds", 10)),
    )
