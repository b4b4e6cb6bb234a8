"""Are the certificates valid, for the upgrade itself and for what a rollback puts back?"""

from __future__ import annotations

from upgrade_guard.checks.findings import blocking, listed, ok, warning
from upgrade_guard.checks.gathered import Gathered
from upgrade_guard.model.finding import Finding
from upgrade_guard.model.version import Version

DAYS_NOTED = 30

# kubeadm makes super-admin.conf on the first control plane only.
MAY_BE_MISSING = frozenset({"super-admin.conf"})


def certificates_valid(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """No certificate that kubeadm manages has expired or will within 30 days (`kubeadm certs check-expiration`)."""
    name = "certificates-valid"
    findings: list[Finding] = []
    for node, look in gathered.control_planes:
        if look.certificates is None:
            continue
        others = {one.name for one in look.certificates if one.is_authority or one.externally_managed}

        def cure(names: list[str], node: str = node, others: set[str] = others) -> str:
            """`kubeadm certs renew all` renews neither an authority nor what somebody else signs."""
            own = [one for one in names if one.partition(" ")[0] in others]
            if own:
                return f"kubeadm does not renew {listed(own)}; look on {node} who does: kubeadm certs check-expiration"
            return f"renew on {node} and restart the static pods: kubeadm certs renew all"

        before = len(findings)
        missing = [one.name for one in look.certificates if one.missing and one.name not in MAY_BE_MISSING]
        expired, soon = [], []
        for one in look.certificates:
            if one.missing or one.expires is None:
                continue
            left = one.expires.timestamp() - gathered.now
            if left <= 0:
                expired.append(one.name)
            elif left < DAYS_NOTED * 86400:
                soon.append(f"{one.name} ({left / 86400:.0f} days)")
        if expired:
            findings.append(blocking(name, f"{node}: expired: {listed(expired)}", cure(expired), node))
        if soon:
            message = f"{node}: about to expire: {listed(soon)}; a rollback puts these same ones back"
            findings.append(warning(name, message, cure(soon), node))
        if missing:
            hint = f"if that is not meant so, look on {node}: kubeadm certs check-expiration"
            findings.append(warning(name, f"{node}: missing: {listed(missing)}", hint, node))
        if len(findings) == before:
            findings.append(ok(name, f"{node}: every certificate is valid for more than {DAYS_NOTED} days", node))
    return tuple(findings)
