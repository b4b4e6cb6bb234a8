"""The endpoint before several control planes: which API server answers a request that names a server."""

from __future__ import annotations

from typing import Protocol

from upgrade_guard.lab.layout import VIRTUAL_ADDRESS, LabSettings, Layout

HTTPS = "443"


class Balanced(Protocol):
    """What stands behind the endpoint: the control planes of a lab, and which of them answer now."""

    settings: LabSettings
    layout: Layout
    answering: tuple[str, ...]


def host_and_port(server: str) -> tuple[str, str]:
    """What a URL such as `https://10.0.0.1:6443` or `https://[fd00::1]:6443` names; an IPv6 address has no brackets."""
    rest = server.partition("://")[2] or server
    rest = rest.partition("/")[0]
    host, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        host, port = rest, HTTPS
    return host.strip("[]"), port


def is_endpoint(lab: Balanced, server: str) -> bool:
    """Does the URL name what stands before the control planes?"""
    return bool(lab.settings.endpoint) and host_and_port(server) == (lab.settings.endpoint, _port(lab))


def answers_at(lab: Balanced, server: str) -> str:
    """The control plane whose API server answers at that URL, or "" when none does.

    A control plane's own address is answered by its own server alone. The endpoint is answered by any that is ready:
    the next one at each request, or the one that holds the virtual address.
    """
    if is_endpoint(lab, server):
        return _next(lab)
    address, port = host_and_port(server)
    named = (name for name in lab.settings.control_planes if lab.settings.addresses[name] == address)
    name = next(named, "")
    return name if name in lab.answering and port == _port(lab) else ""


def move_address(lab: Balanced) -> None:
    """A virtual address leaves a control plane whose API server stopped being ready, as soon as anybody looks."""
    if lab.settings.endpoint and lab.settings.balancer == VIRTUAL_ADDRESS:
        _next(lab)


def _next(lab: Balanced) -> str:
    ready = [name for name in lab.settings.control_planes if name in lab.answering]
    last = _last(lab)
    if not ready:
        return ""
    if lab.settings.balancer == VIRTUAL_ADDRESS and last in ready:
        return last
    chosen = next((name for name in ready if name > last), ready[0])
    lab.layout.balancer_file.write_text(chosen)
    return chosen


def _last(lab: Balanced) -> str:
    try:
        return lab.layout.balancer_file.read_text()
    except FileNotFoundError:
        return ""


def _port(lab: Balanced) -> str:
    return str(lab.settings.ports.api_server)
