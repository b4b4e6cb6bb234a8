"""What is asked before a run exists: can it be made at all, and where could it lead?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from upgrade_guard.errors import Refused, UsageProblem
from upgrade_guard.model.version import Version
from upgrade_guard.runs.resources import looking

if TYPE_CHECKING:
    from upgrade_guard.config import Config
    from upgrade_guard.nodes.site import Site


def must_have_offsite(config: Config) -> None:
    """Raise UsageProblem when no copy could be made: better now than after the snapshot."""
    if not config.vault.offsite:
        raise UsageProblem(
            "no off-site target (vault.offsite): the gate opens only after a copy off the control plane was read back",
            hint="upgrade-guard run VERSION --offsite ssh://backup@HOST/srv/etcd",
        )
    must_not_leak(config)


def must_not_leak(config: Config) -> None:
    """Raise UsageProblem when copies would leave in the clear and nobody said so: now, not after the snapshot."""
    if config.vault.offsite and not config.vault.recipients and not config.vault.allow_unencrypted_keys:
        raise UsageProblem(
            "copies would carry the cluster's private keys and Secrets unencrypted, because vault.recipients is empty",
            hint="Name age public keys in vault.recipients (age-keygen makes them), or accept it in the configuration: "
            "vault.allow_unencrypted_keys = true",
        )


def allowed_targets(site: Site) -> tuple[tuple[str, str], ...]:
    """Versions that the package repository has and the skew rules allow, with why: what `run` offers to choose from."""
    from upgrade_guard.runs.preview import choices

    return tuple((str(choice.version), choice.why) for choice in choices(site))


def already_there(config: Config, target: Version) -> bool:
    """Is there nothing to upgrade? Raises Refused where no upgrade leads to `target`."""
    from upgrade_guard.runs.preview import already_there as seen
    from upgrade_guard.runs.preview import refuse_no_way

    with looking(config) as site:
        refuse_no_way(site, target)
        return seen(site, target)


def next_minor(site: Site) -> Version:
    """The first release of the minor that may follow: what is checked when no version is named."""
    from upgrade_guard.runs.preview import next_series

    return Version.parse(f"{next_series(site)}.0")


def refuse_blocking(found: tuple[Any, ...]) -> None:
    """Raise Refused with every finding that stops a run."""
    from upgrade_guard.model.finding import Severity

    blocking = [finding for finding in found if finding.severity is Severity.BLOCKING]
    if blocking:
        raise Refused(
            f"{len(blocking)} check(s) block the upgrade",
            reasons=tuple(
                f"{finding.check}{' on ' + finding.where if finding.where else ''}: {finding.message}"
                for finding in blocking
            ),
            hint=next((finding.hint for finding in blocking if finding.hint), "upgrade-guard check --verbose"),
        )


def must_have_targets(config: Config) -> None:
    """Raise UsageProblem when no target is configured."""
    if not config.vault.offsite:
        raise UsageProblem("no off-site target is configured (vault.offsite)", hint="upgrade-guard config show")
