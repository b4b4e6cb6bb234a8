"""`kubeadm certs check-expiration`, as JSON or as the table that older versions print."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from upgrade_guard.tools.commands import parse_json, reads, unexpected

_ROW = re.compile(
    r"^(?P<name>[\w.-]+)\s+(?P<expires>[A-Z][a-z]{2} \d{2}, \d{4} \d{2}:\d{2} UTC)\s+(?P<left>\S+)\s+(?P<rest>.*)$"
)
_MISSING = re.compile(r"^!MISSING!\s+(?P<name>[\w.-]+)")


@dataclass(frozen=True)
class Certificate:
    """One certificate. `expires` is aware UTC, None when it is missing; kubeadm cannot renew an external one."""

    name: str
    expires: datetime | None
    missing: bool = False
    externally_managed: bool = False
    is_authority: bool = False


@reads("kubeadm certs check-expiration")
def parse_certificates(text: str) -> tuple[Certificate, ...]:
    """Both forms. Raises UnexpectedOutput when there is not one certificate in it."""
    found = _from_json(text) if '"certificates"' in text else _from_table(text)
    if not found:
        raise unexpected("kubeadm certs check-expiration", text)
    return found


def _from_json(text: str) -> tuple[Certificate, ...]:
    document = parse_json("kubeadm certs check-expiration", text)
    rows = [(row, False) for row in document.get("certificates") or ()]
    rows += [(row, True) for row in document.get("certificateAuthorities") or ()]
    return tuple(_certificate(row, is_authority=is_authority) for row, is_authority in rows)


def _certificate(row: dict[str, Any], *, is_authority: bool) -> Certificate:
    missing = bool(row.get("missing", False))
    expires = None if missing else datetime.fromisoformat(row["expirationDate"]).astimezone(UTC)
    return Certificate(str(row["name"]), expires, missing, bool(row.get("externallyManaged", False)), is_authority)


def _from_table(text: str) -> tuple[Certificate, ...]:
    found: list[Certificate] = []
    is_authority = False
    for line in text.splitlines():
        if line.startswith("CERTIFICATE AUTHORITY"):
            is_authority = True
        elif missing := _MISSING.match(line):
            found.append(Certificate(missing["name"], None, missing=True, is_authority=is_authority))
        elif row := _ROW.match(line):
            expires = datetime.strptime(row["expires"], "%b %d, %Y %H:%M UTC").replace(tzinfo=UTC)
            external = row["rest"].split()[-1:] == ["yes"]
            found.append(Certificate(row["name"], expires, externally_managed=external, is_authority=is_authority))
    return tuple(found)
