"""Is the etcd that runs a sound one for this upgrade, and has it room to write?"""

from __future__ import annotations

from upgrade_guard.checks.findings import blocking, listed, ok, size, warning
from upgrade_guard.checks.gathered import Gathered
from upgrade_guard.model.finding import Finding
from upgrade_guard.model.version import Version

DEFAULT_QUOTA = 2 * 1024**3
"""Bytes; etcd's default for --quota-backend-bytes (etcd documentation, limits)."""

FIRST_SAFE_BEFORE_3_6 = Version(3, 5, 26)
"""Older 3.5 members can leave learners or removed members behind that 3.6 brings back (etcd#19557, #20967)."""


def version_sound(gathered: Gathered, target: Version) -> tuple[Finding, ...]:
    """The running etcd has no bug that a snapshot or this upgrade would trip over (etcd#19557, etcd#20967)."""
    name = "etcd-version-sound"
    findings = []
    for status in gathered.etcd.statuses:
        try:
            running = Version.parse(status.version)
        except ValueError:
            continue
        if target >= Version(target.major, 34, 0) and running < Version(3, 6, 0) and running < FIRST_SAFE_BEFORE_3_6:
            findings.append(
                blocking(
                    name,
                    f"{status.endpoint} runs etcd {running.bare}; {target.series} brings etcd 3.6, which can revive "
                    f"removed members after anything older than {FIRST_SAFE_BEFORE_3_6.bare} (etcd#20967, etcd#19557)",
                    "upgrade to the newest patch of the current minor first: upgrade-guard run",
                    status.endpoint,
                )
            )
        elif Version(3, 5, 0) <= running <= Version(3, 5, 2):
            findings.append(
                warning(
                    name,
                    f"{status.endpoint} runs etcd {running.bare}, whose data can differ after a crash under load",
                    "do not kill etcd; the etcd of the target version replaces it",
                    status.endpoint,
                )
            )
    versions = sorted({status.version for status in gathered.etcd.statuses})
    return tuple(findings) or ((ok(name, f"etcd {listed(versions)}"),) if versions else ())


def quota(gathered: Gathered, _: Version) -> tuple[Finding, ...]:
    """The database is not about to hit its quota: then etcd refuses every write, also those of a rollback."""
    name = "etcd-quota"
    if not gathered.etcd.statuses:
        return ()
    limit = min(_configured_quota(gathered) or [DEFAULT_QUOTA])
    biggest = max(gathered.etcd.statuses, key=lambda status: status.db_size)
    share = biggest.db_size / limit
    message = f"the etcd database has {size(biggest.db_size)} of {size(limit)}"
    hint = "compact and defragment one member after the other, the leader last: etcdctl defrag"
    if share >= 0.95:
        return (blocking(name, message, hint, biggest.endpoint),)
    if share >= 0.8:
        return (warning(name, message, hint, biggest.endpoint),)
    return (ok(name, message),)


def _configured_quota(gathered: Gathered) -> list[int]:
    limits = []
    for _, look in gathered.control_planes:
        for pod in look.static_pods:
            text = pod.flags.get("quota-backend-bytes", "")
            if text.isdecimal() and int(text) > 0:
                limits.append(int(text))
    return limits
