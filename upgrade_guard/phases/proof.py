"""Prove the snapshot: restore it here, start a real etcd on it, compare. Only that opens the gate."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from upgrade_guard.errors import EvidenceLost, GuardError
from upgrade_guard.model.cluster import Cluster
from upgrade_guard.model.codec import from_json, to_json
from upgrade_guard.model.etcd import MemberHash
from upgrade_guard.model.run import Event, ProofRecord
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.phases.site import Site, etcd_of
from upgrade_guard.phases.snapshot import bundle_of, note_down
from upgrade_guard.vault.disk import private_directories
from upgrade_guard.vault.proof import Expected, LocalEtcdTools, Proof, prove


def proof(site: Site, cluster: Cluster) -> Phase:
    """From snapshotted to verified."""
    return Phase("prove", "Proof", (prove_snapshot(site, cluster),), event=Event.SNAPSHOT_PROVEN)


def prove_snapshot(site: Site, cluster: Cluster) -> Step:
    """All levels of the proof, against what the live member said when it served the snapshot."""

    def expected(facts: Facts) -> Expected:
        notes = facts.of("snapshot/save")
        live = from_json(MemberHash, notes["live_hash"])
        return Expected(
            revision_at_least=notes["at_least"],
            cluster_id=notes["cluster_id"],
            live_hash=lambda revision: live if live.revision in (0, revision) else None,
        )

    def tools(facts: Facts) -> LocalEtcdTools:
        return site.local_etcd_tools(etcd_of(cluster.node(facts.of("snapshot/save")["source"])).image)

    def failed(verdict: Proof) -> GuardError:
        why = "etcd compacted while the snapshot was taken" if verdict.retake else verdict.message
        return EvidenceLost(f"the snapshot is not proven: {why}", hint="take a new snapshot: upgrade-guard resume")

    return proving(site, tools, expected, failed, verdict_name=lambda _facts, bundle: bundle)


def proving(
    site: Site,
    tools: Callable[[Facts], LocalEtcdTools],
    expected: Callable[[Facts], Expected],
    failed: Callable[[Proof], GuardError],
    *,
    verdict_name: Callable[[Facts, str], str],
) -> Step:
    """Restore the bundle of this run into scratch, start it and compare. The probe believes the written verdict.

    `failed` says what a proof that failed means; `verdict_name` is how the verdict on a bundle is kept.
    """

    def verdict_path(facts: Facts, bundle: str) -> Path:
        return Path(site.config.state_dir) / "proofs" / f"{verdict_name(facts, bundle)}.json"

    def probe(facts: Facts) -> Seen:
        bundle = bundle_of(site, facts)
        path = verdict_path(facts, bundle.name)
        if not path.exists():
            return NotDone("the snapshot is not proven yet")
        verdict = from_json(Proof, json.loads(path.read_text()))
        if verdict.snapshot_sha256 != bundle.snapshot_sha256 or not verdict.ok:
            return NotDone("the verdict belongs to another snapshot")
        levels = {level.name: to_json(level) for level in verdict.levels}
        return Done(
            {
                "restore_seconds": verdict.restore_seconds,
                "revision": verdict.revision,
                "hashkv": verdict.hashkv,
                "proven_at": verdict.proven_at.isoformat(),
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
        path = verdict_path(facts, bundle.name)
        private_directories(path.parent)
        note_down(path, to_json(verdict))

    return Step("prove/snapshot", "prove the snapshot by restoring it", probe, act)
