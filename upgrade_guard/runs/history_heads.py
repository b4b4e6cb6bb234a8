"""Heads of history that were left outside of the journal: in bundles, their copies and on control planes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from upgrade_guard.errors import GuardError
from upgrade_guard.model.audit import Breach
from upgrade_guard.runs import resources

if TYPE_CHECKING:
    from upgrade_guard.config import Config
    from upgrade_guard.journal import Journal
    from upgrade_guard.nodes.cluster_lock import KeptHead
    from upgrade_guard.nodes.site import Site

SHOWN = 3
"""Places that are named in a sentence; the JSON answer has all of them."""


@dataclass(frozen=True)
class Found:
    """A head, the run of it, where it lies, and its signature ("" where it has none)."""

    head: str
    run: str
    where: str
    signature: str = ""
    signable: bool = True


@dataclass(frozen=True)
class Signatures:
    """`good` names the signer of each head by its place; `unsigned` are places without a signature."""

    good: Mapping[str, str] = field(default_factory=dict)
    unsigned: tuple[str, ...] = ()
    bad: tuple[Breach, ...] = ()


@dataclass(frozen=True)
class Heads:
    """What was found outside of the journal: `known` heads with the place of each, of runs that the journal has;
    `strangers` are bundles and copies of other runs, `problems` what could not be looked at. `signatures` is None
    where no file of allowed signers is configured.
    """

    known: Mapping[str, str] = field(default_factory=dict)
    strangers: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    signatures: Signatures | None = None


def gathered(config: Config, journal: Journal, *, remote: bool) -> Heads:
    """The heads of the bundles in the vault; with `remote` those of copies and of control planes as well."""
    from upgrade_guard.vault.bundle import Vault

    found = [
        Found(one.manifest.history_head, one.manifest.run_id, str(one.path), one.manifest.history_signature)
        for one in Vault(config.vault.path).bundles()
    ]
    problems: list[str] = []
    with resources.looking(config) as site:
        if remote:
            for more, trouble in (_copies(config, site), _control_planes(site, journal)):
                found += more
                problems += trouble
        signatures = _signatures(config, site, found) if config.audit.allowed_signers else None
    ours = journal.run_ids()
    return Heads(
        {one.head: one.where for one in found if one.head and one.run in ours},
        tuple(one.where for one in found if one.run not in ours),
        tuple(problems),
        signatures,
    )


def _copies(config: Config, site: Site) -> tuple[list[Found], list[str]]:
    from upgrade_guard.steps.copies import target

    found, problems = [], []
    for url in config.vault.offsite:
        try:
            listing = target(site, url).listing()
        except GuardError as problem:
            problems.append(f"{url} cannot be looked at: {problem.message}")
            continue
        problems += listing.problems
        found += [
            Found(copy.history_head, copy.run_id, f"{url.rstrip('/')}/{copy.name}", copy.history_signature)
            for copy in listing.copies
        ]
    return found, problems


def _control_planes(site: Site, journal: Journal) -> tuple[list[Found], Sequence[str]]:
    """What the control planes of the newest run keep; before there was one, that which the configuration names."""
    from upgrade_guard.model.lock import LockOwner
    from upgrade_guard.model.step_results import known_cluster
    from upgrade_guard.nodes.cluster_lock import ClusterLock

    clusters = (known_cluster(journal.facts(run.id)) for run in journal.runs(limit=10))
    cluster = next((one for one in clusters if one is not None), None)
    kept: Sequence[KeptHead]
    try:
        kept, problems = ClusterLock(site, LockOwner()).kept_heads(cluster)
    except GuardError as problem:
        return [], [f"the control planes cannot be looked at: {problem.message}"]
    return [Found(one.head, one.run, one.where, signable=False) for one in kept], problems


def _signatures(config: Config, site: Site, found: Sequence[Found]) -> Signatures:
    from upgrade_guard.tools.ssh_keygen import readable

    allowed = config.audit.allowed_signers
    readable(allowed, "audit.allowed_signers")
    good, unsigned, bad = {}, [], []
    for one in found:
        if not one.signable or not one.head:
            continue
        if not one.signature:
            unsigned.append(one.where)
        elif signer := site.ssh_keygen.signer(allowed, one.head, one.signature):
            good[one.where] = signer
        else:
            said = (
                f"the signature of the head in {one.where} is not one of {allowed}: somebody else wrote one of the two"
            )
            bad.append(Breach("signature", said, run=one.run))
    return Signatures(good, tuple(unsigned), tuple(bad))


def answer(heads: Heads) -> dict[str, Any]:
    """For --json: what was compared."""
    told: dict[str, Any] = {"heads": len(heads.known), "strangers": heads.strangers, "problems": heads.problems}
    if heads.signatures is not None:
        told["signatures"] = {"good": heads.signatures.good, "unsigned": heads.signatures.unsigned}
    return told


def told(heads: Heads) -> list[str]:
    """In words, when all of them hold."""
    lines = [f"Compared with {len(heads.known)} head(s) elsewhere: each is one of the rows."]
    if heads.strangers:
        lines.append(
            f"{len(heads.strangers)} are of runs that this journal does not have, another machine's, or its end was "
            f"cut off: {', '.join(heads.strangers[:SHOWN])}"
        )
    signed = heads.signatures
    if signed is not None:
        names = ", ".join(sorted(set(signed.good.values()))) or "nobody"
        lines.append(f"{len(signed.good)} of them are signed, by {names}.")
        if signed.unsigned:
            lines.append(
                f"{len(signed.unsigned)} are not signed: from before a key was configured, or from somebody who does "
                f"not have it: {', '.join(signed.unsigned[:SHOWN])}"
            )
    return [*lines, *heads.problems]
