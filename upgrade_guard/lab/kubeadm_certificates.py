"""`kubeadm certs check-expiration`: as a table, and as JSON from the versions on that know it."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from pathlib import Path

from upgrade_guard.lab import releases
from upgrade_guard.lab.programs.entry import Failure, ProgramPlace, say

# -o json came late; older ones do not know the flag.
KNOWS_JSON = 30
NAMES = (
    ("admin.conf", "admin.conf", "ca"),
    ("apiserver", "pki/apiserver.crt", "ca"),
    ("apiserver-etcd-client", "pki/apiserver-etcd-client.crt", "etcd-ca"),
    ("apiserver-kubelet-client", "pki/apiserver-kubelet-client.crt", "ca"),
    ("controller-manager.conf", "controller-manager.conf", "ca"),
    ("etcd-healthcheck-client", "pki/etcd/healthcheck-client.crt", "etcd-ca"),
    ("etcd-peer", "pki/etcd/peer.crt", "etcd-ca"),
    ("etcd-server", "pki/etcd/server.crt", "etcd-ca"),
    ("front-proxy-client", "pki/front-proxy-client.crt", "front-proxy-ca"),
    ("scheduler.conf", "scheduler.conf", "ca"),
)
SUPER_ADMIN = ("super-admin.conf", "super-admin.conf", "ca")
AUTHORITIES = (("ca", "pki/ca.crt"), ("etcd-ca", "pki/etcd/ca.crt"), ("front-proxy-ca", "pki/front-proxy-ca.crt"))


def check(place: ProgramPlace, own: str, output: str) -> int:
    """Every certificate with its expiry."""
    if output and releases.minor(own) < KNOWS_JSON:
        raise Failure(
            "unknown shorthand flag: 'o' in -o\nTo see the stack trace of this error execute with --v=5 or higher"
        )
    kubernetes = place.layout.kubernetes(place.node)
    names = (*NAMES, SUPER_ADMIN) if releases.minor(own) >= 29 else NAMES
    leaves = [(name, expiry(kubernetes / file), authority) for name, file, authority in names]
    authorities = [(name, expiry(kubernetes / file)) for name, file in AUTHORITIES]
    if output == "json":
        _as_json(leaves, authorities)
        return 0
    say('[check-expiration] Reading configuration from the "kubeadm-config" ConfigMap in namespace "kube-system"...\n')
    say(
        "CERTIFICATE                EXPIRES                  RESIDUAL TIME   CERTIFICATE AUTHORITY   EXTERNALLY MANAGED"
    )
    for name, expires, authority in leaves:
        if expires is None:
            say(f"!MISSING! {name:<88}")
        else:
            say(f"{name:<27}{_date(expires):<25}{_left(expires):<16}{authority:<24}no      ")
    say("\nCERTIFICATE AUTHORITY   EXPIRES                  RESIDUAL TIME   EXTERNALLY MANAGED")
    for name, expires in authorities:
        if expires is None:
            say(f"!MISSING! {name}")
        else:
            say(f"{name:<24}{_date(expires):<25}{_left(expires):<16}no      ")
    return 0


def expiry(path: Path) -> datetime | None:
    """When a certificate, or the client certificate of a kubeconfig, expires; None when there is none."""
    try:
        text = path.read_text()
    except OSError:
        return None
    if path.suffix == ".conf":
        found = re.search(r"^    client-certificate-data: (\S+)$", text, re.MULTILINE)
        text = base64.b64decode(found[1]).decode() if found else ""
    body = re.search(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", text, re.DOTALL)
    if body is None:
        return None
    # The Validity sequence of X.509 in DER (RFC 5280, 4.1.2.5): two UTCTimes, or GeneralizedTimes from 2050 on.
    first = rb"(?:\x17\x0d\d{12}Z|\x18\x0f\d{14}Z)"
    match = re.search(
        rb"\x30[\x1e-\x22]" + first + rb"(?:\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z)", base64.b64decode(body[1])
    )
    if match is None:
        return None
    text = match[2].decode() if match[2] else f"20{match[1].decode()}"
    return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def _as_json(leaves: list[tuple[str, datetime | None, str]], authorities: list[tuple[str, datetime | None]]) -> None:
    def row(name: str, expires: datetime | None) -> dict[str, object]:
        shown = expires.strftime("%Y-%m-%dT%H:%M:%SZ") if expires else "0001-01-01T00:00:00Z"
        left = int((expires - datetime.now(UTC)).total_seconds()) if expires else 0
        return {
            "name": name,
            "expirationDate": shown,
            "residualTime": left,
            "externallyManaged": False,
            "missing": expires is None,
        }

    document = {
        "kind": "CertificateExpirationInfo",
        "apiVersion": "output.kubeadm.k8s.io/v1alpha3",
        "certificates": [{**row(name, expires), "caName": authority} for name, expires, authority in leaves],
        "certificateAuthorities": [row(name, expires) for name, expires in authorities],
    }
    say(json.dumps(document, indent=4))


def _date(at: datetime) -> str:
    return at.strftime("%b %d, %Y %H:%M UTC")


def _left(at: datetime) -> str:
    days = (at - datetime.now(UTC)).days
    return "<invalid>" if days < 0 else f"{days}d" if days < 365 else f"{days // 365}y"
