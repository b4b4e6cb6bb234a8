"""A restore drill as the engine sees it: bring the bundle here when it is far away, restore it, compare, count."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from upgrade_guard.errors import Refused
from upgrade_guard.model.run import Event, State
from upgrade_guard.model.step import Done, Facts, NotDone, Phase, Seen, Step
from upgrade_guard.model.step_results import DRILLED
from upgrade_guard.nodes.site import Site
from upgrade_guard.steps.copies import target as target_at
from upgrade_guard.vault.bundle import SNAPSHOT, Bundle, Vault
from upgrade_guard.vault.disk import storage
from upgrade_guard.vault.drill import Drill, drill
from upgrade_guard.workflows.ungated import Ungated

FETCH = "drill/fetch"
"""The step that brings a copy here."""


class DrillWorkflow(Ungated):
    """The phases of one drill. `subject` is the name of a bundle in the vault, or the URL of a copy."""

    def __init__(self, site: Site, subject: str) -> None:
        self.site = site
        self.subject = subject

    def ahead(self, state: State, _facts: Facts) -> tuple[Phase, ...]:
        """One phase, from started to completed."""
        if state is not State.STARTED:
            return ()
        fetching = (fetch(self.site, self.subject),) if is_remote(self.subject) else ()
        steps = (*fetching, restore(self.site, self.subject))
        return (Phase("drill", "Restore drill", steps, event=Event.DRILL_PASSED),)


@dataclass(frozen=True)
class Subject:
    """What a drill is about: `text` is kept in its record, the name of a bundle or the URL of a copy."""

    text: str
    cluster: str
    etcd_version: str


def subject_of(site: Site, name: str | None, remote: str | None) -> Subject:
    """The bundle of that name, else the newest one of the configured cluster; at the target `remote` when it is given.

    Raises Refused when there is none, or when the programs to try it with are not here, and what the target raises.
    """
    found = _bundle(site, name) if remote is None else _copy_at(site, name, remote)
    site.kept_programs(found.etcd_version)
    return found


def _bundle(site: Site, name: str | None) -> Subject:
    cluster = site.config.cluster.name
    bundles = (site.vault.bundle(name),) if name is not None else site.vault.bundles()
    for bundle in reversed(bundles):
        manifest = bundle.manifest
        if name is not None or cluster in ("", manifest.cluster):
            return Subject(bundle.name, manifest.cluster, manifest.etcd_version)
    raise Refused(
        f"there is no bundle in {site.vault.path} to try",
        hint="upgrade-guard backup create makes one; with --remote URL a copy is tried",
    )


def _copy_at(site: Site, name: str | None, remote: str) -> Subject:
    cluster = site.config.cluster.name
    for copy in reversed(target_at(site, remote).listing().copies):
        if copy.name == name or (name is None and cluster in ("", copy.cluster)):
            return Subject(f"{remote.rstrip('/')}/{copy.name}", copy.cluster, copy.etcd_version)
    raise Refused(
        f"there is no copy {name} at {remote}" if name else f"there is no copy at {remote} to try",
        hint="see what there is: upgrade-guard backup list --remote",
    )


def is_remote(subject: str) -> bool:
    """Does it have to be fetched first?"""
    return "://" in subject


def own_directory_of(state_dir: Path) -> Path:
    """Where drills keep what they fetch, until `tidy` removes it."""
    return state_dir / "drill"


def tidy(state_dir: Path) -> None:
    """Remove what drills fetched. Raises StepFailed."""
    path = own_directory_of(state_dir)
    with storage("Tidying up after the drill", path):
        if path.is_dir():
            shutil.rmtree(path)


def _fetched_to(site: Site) -> Vault:
    return Vault(own_directory_of(site.config.state_dir) / "fetched")


def fetch(site: Site, subject: str) -> Step:
    """Bring a copy from its target: measured against its manifest, decrypted where it is encrypted.

    A directory of that name that is here already counts only after the target was asked: the fetch compares it.
    """
    url, _, name = subject.rpartition("/")
    fetched: list[Bundle] = []

    def probe(_facts: Facts) -> Seen:
        if not fetched:
            return NotDone("the copy is not here yet")
        return Done(
            {
                "target": url,
                "bundle": name,
                "bytes": fetched[-1].size,
                "manifest_sha256": fetched[-1].manifest_sha256,
            }
        )

    def act(_facts: Facts) -> None:
        progress = lambda text: site.transcript.output("here", f"{text}\n")  # noqa: E731 - one expression
        fetched.append(target_at(site, url).fetch(name, _fetched_to(site), progress))

    return Step(FETCH, f"fetch the copy from {url}", probe, act)


def restore(site: Site, subject: str) -> Step:
    """Restore it into scratch, start etcd, compare with the manifest, count. A drill that fails is a refusal."""
    name = subject.rpartition("/")[2]
    tried: list[tuple[Bundle, Drill]] = []  # by this process, as with a proof: a file could be anybody's

    def bundle_to_try(facts: Facts) -> Bundle:
        if not is_remote(subject):
            return site.vault.bundle(name)
        bundle = _fetched_to(site).bundle(name)
        if facts.of(FETCH).get("manifest_sha256", bundle.manifest_sha256) != bundle.manifest_sha256:
            raise Refused(
                f"{bundle.path} is not what was fetched; nothing was tried",
                hint="fetch it again: upgrade-guard backup drill --remote URL",
            )
        return bundle

    def probe(_facts: Facts) -> Seen:
        if not tried:
            return NotDone("the bundle was not tried yet")
        bundle, found = tried[-1]
        return Done(result_of(bundle, found), records=(found.proof.record(bundle.name),))

    def act(facts: Facts) -> None:
        bundle = bundle_to_try(facts)
        found = drill(
            bundle,
            tools=site.kept_programs(bundle.manifest.etcd_version),
            host=site.here,
            scratch=site.config.state_dir / "scratch",
            clock=site.clock,
            progress=lambda text: site.transcript.output("here", f"drill: {text}\n"),
        )
        if not found.proof.ok:
            failed = found.proof.levels[-1]
            raise Refused(
                f"{name} does not restore: it failed at {failed.name}: {failed.message}",
                hint="make a new backup at once: upgrade-guard backup create; "
                "then look at the others: upgrade-guard backup verify --all",
            )
        tried.append((bundle, found))

    return Step(DRILLED, "restore the bundle into scratch, start etcd on it, compare and count", probe, act)


def result_of(bundle: Bundle, found: Drill) -> dict[str, object]:
    """What the journal keeps of a drill. Seconds are measured; counts are numbers of objects, never their content."""
    proof = found.proof
    return {
        "bundle": bundle.name,
        "cluster": bundle.manifest.cluster,
        "taken_at": bundle.manifest.taken_at.isoformat(),
        "bytes": bundle.manifest.files[SNAPSHOT].size,
        "revision": proof.revision,
        "hashkv": proof.hashkv,
        "restore_seconds": round(proof.restore_seconds, 3),
        "seconds": round(sum(level.seconds for level in proof.levels), 3),
        "levels": {level.name: round(level.seconds, 3) for level in proof.levels},
        "counts": dict(found.counts),
    }
