"""Prove the snapshot: restore it here, start a real etcd on it, compare. Only that opens the gate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from upgrade_guard.errors import EvidenceLost, GuardError
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.codec import from_json, to_json
from upgrade_guard.model.etcd import MemberHash
from upgrade_guard.model.run import Event, ProofRecord
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.model.step_results import PROVEN, PUBLISHED, SAVED
from upgrade_guard.nodes.site import Site, etcd_of
from upgrade_guard.steps.snapshot import bundle_of
from upgrade_guard.vault.bundle import Bundle
from upgrade_guard.vault.proof import LEVELS, Expected, LocalEtcdTools, Proof, prove


def proof(site: Site, cluster: Cluster) -> Phase:
    """From snapshotted to verified."""
    return Phase("prove", "Proof", (prove_snapshot(site, cluster),), event=Event.SNAPSHOT_PROVEN)


def prove_snapshot(site: Site, cluster: Cluster) -> Step:
    """All levels of the proof, against what the live member said when it served the snapshot."""

    def expected(facts: Facts) -> Expected:
        notes = facts.of(SAVED)
        live = from_json(MemberHash, notes["live_hash"])
        return Expected(
            revision_at_least=notes["at_least"],
            cluster_id=notes["cluster_id"],
            live_hash=lambda revision: live if live.revision in (0, revision) else None,
        )

    def tools(facts: Facts) -> LocalEtcdTools:
        return site.local_etcd_tools(etcd_of(cluster.node(facts.of(SAVED)["source"])).image)

    def failed(verdict: Proof) -> GuardError:
        why = "etcd compacted while the snapshot was taken" if verdict.retake else verdict.message
        return EvidenceLost(f"the snapshot is not proven: {why}", hint="take a new snapshot: upgrade-guard resume")

    return proving(site, tools, expected, failed)


def proving(
    site: Site,
    tools: Callable[[Facts], LocalEtcdTools],
    expected: Callable[[Facts], Expected],
    failed: Callable[[Proof], GuardError],
) -> Step:
    """Restore the bundle of this run into scratch, start it and compare. `failed` says what a failed proof means.

    The probe believes only the verdict of this very attempt, which is kept in memory until the journal has it: a file
    could be anybody's. A process that was killed in between has proven it for nothing, and the next one proves again.
    """
    verdicts: list[tuple[str, Proof]] = []  # with the digest of the manifest of what was proven

    def probe(facts: Facts) -> Seen:
        bundle = bundle_of(site, facts)
        if not verdicts:
            return NotDone("the snapshot is not proven yet")
        proven, verdict = verdicts[-1]
        if proven != bundle.manifest_sha256 or verdict.snapshot_sha256 != bundle.snapshot_sha256:
            return NotDone("another bundle was proven")
        if short := shortfalls(verdict, bundle):
            return NotDone(short[0])
        levels = {level.name: to_json(level) for level in verdict.levels}
        return Done(
            {
                "restore_seconds": verdict.restore_seconds,
                "revision": verdict.revision,
                "hashkv": verdict.hashkv,
                "proven_at": verdict.proven_at.isoformat(),
                "manifest_sha256": proven,
                "levels": [level.name for level in verdict.levels],
            },
            records=(
                ProofRecord(
                    bundle=bundle.name,
                    snapshot_sha256=verdict.snapshot_sha256,
                    ok=verdict.ok,
                    revision=verdict.revision,
                    hashkv=verdict.hashkv,
                    restore_seconds=verdict.restore_seconds,
                    proven_at=verdict.proven_at,
                    levels=levels,
                ),
            ),
        )

    def act(facts: Facts) -> None:
        bundle = bundle_of(site, facts)
        verdict = prove(
            bundle,
            expected=expected(facts),
            tools=tools(facts),
            host=site.here,
            scratch=Path(site.config.state_dir) / "scratch",
            clock=site.clock,
            progress=lambda text: site.transcript.output("here", f"proof: {text}\n"),
        )
        if not verdict.ok:
            raise failed(verdict)
        verdicts.append((bundle.manifest_sha256, verdict))

    return Step(PROVEN, "prove the snapshot by restoring it", probe, act)


def shortfalls(verdict: Proof, bundle: Bundle) -> tuple[str, ...]:
    """What a verdict lacks to be a proof of that bundle, a sentence each."""
    held = {level.name for level in verdict.levels if level.ok}
    missing = [name for name in LEVELS if name not in held]
    reasons = [f"the proof lacks {', '.join(missing)}"] if missing else []
    if verdict.revision != bundle.manifest.revision:
        reasons.append(f"the proof is of revision {verdict.revision}, the snapshot of {bundle.manifest.revision}")
    if bundle.manifest.hashkv is not None and verdict.hashkv != bundle.manifest.hashkv.hash:
        reasons.append("the proof found other content than the cluster had")
    return tuple(reasons)


def mismatches(facts: Facts) -> tuple[str, ...]:
    """Why the proof on record is not one of the snapshot on record, a sentence each; for the gate.

    An earlier version kept neither the levels nor the digest of the manifest in the result: what is not there was not
    compared by it, and a run that it began goes on.
    """
    proven, taken = facts.of(PROVEN), facts.of(SAVED)
    published = facts.of(PUBLISHED)
    reasons = []
    if missing := [name for name in LEVELS if name not in proven.get("levels", LEVELS)]:
        reasons.append(f"The proof on record lacks {', '.join(missing)}.")
    if proven["revision"] != taken["revision"]:
        reasons.append(f"The proof on record is of revision {proven['revision']}, not of {taken['revision']}.")
    if proven["hashkv"] != from_json(MemberHash, taken["live_hash"]).hash:
        reasons.append("The proof on record found other content than the cluster had.")
    if "manifest_sha256" in proven and proven["manifest_sha256"] != published["manifest_sha256"]:
        reasons.append("The proof on record is of another manifest than the one that was published.")
    return tuple(reasons)
