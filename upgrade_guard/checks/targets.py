"""Is there a place for copies that survives the loss of the control planes?"""

from __future__ import annotations

from upgrade_guard.checks.findings import blocking, ok, warning
from upgrade_guard.checks.gathered import Gathered, TargetLook
from upgrade_guard.model.finding import Finding
from upgrade_guard.model.version import Version


def offsite_target_usable(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """As many targets as are required can be written, and at least one is not on a control plane."""
    name = "offsite-target-usable"
    machine = gathered.machine
    good = [target for target in machine.targets if not target.problems]
    away = [target for target in good if target.off_control_plane]
    enough = len(good) >= machine.targets_required and bool(away)
    if not machine.targets:
        hint = "name one: upgrade-guard run VERSION --offsite ssh://backup@nas/srv/etcd, or vault.offsite"
        return (blocking(name, "no off-site target is configured; the gate opens for none", hint),)
    answer = warning if enough else blocking
    findings = []
    for target in machine.targets:
        if target.problems:
            hint = "cure that, or name another target in vault.offsite: upgrade-guard config show"
            findings.append(answer(name, f"{target.url}: {target.problems[0]}", hint, target.url))
        elif not target.off_control_plane and not away:
            findings.append(blocking(name, f"{target.url} is not off-site: {target.reason}", _HINT, target.url))
        else:
            findings.append(ok(name, f"{target.url}: {_praise(target)}", target.url))
    if not enough and all(finding.hint == "" for finding in findings):
        message = f"{machine.targets_required} copies are required, {len(good)} target(s) can be used"
        findings.append(blocking(name, message, "name more targets in vault.offsite: upgrade-guard config show"))
    return tuple(findings)


_HINT = "name a target elsewhere, or list its path in vault.separate_storage if it survives: upgrade-guard config show"


def _praise(target: TargetLook) -> str:
    return "usable, off the control plane" if target.off_control_plane else f"usable, not off-site: {target.reason}"
