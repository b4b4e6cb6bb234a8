"""Is a bundle still good? Looked at again long after it was made, without the cluster that it came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from upgrade_guard.errors import GuardError
from upgrade_guard.nodes.site import Site
from upgrade_guard.vault.bundle import Bundle
from upgrade_guard.vault.drill import stated
from upgrade_guard.vault.proof import prove
from upgrade_guard.vault.proof_types import Level

FILES, TRIAL = "files", "trial"
_USELESS = "A restore refuses such a bundle; use a copy of it: upgrade-guard backup list --remote"


@dataclass(frozen=True)
class Verification:
    """How one bundle, or one copy, stands. `where` is "here" or the target; `levels` go up to the first that failed.

    Beside the levels of the proof there are `files` (every file against the manifest, the manifest against the
    journal) and `trial`, which stands for the proof that could not be tried.
    """

    bundle: str
    where: str
    levels: tuple[Level, ...]

    @property
    def ok(self) -> bool:
        """Did every level hold?"""
        return all(level.ok for level in self.levels)

    @property
    def problem(self) -> str:
        """The level that failed, and what that means for a restore; "" when none did."""
        return next((f"{level.name}: {level.message}" for level in self.levels if not level.ok), "")


def verify_here(
    site: Site, bundle: Bundle, damage: tuple[str, ...], *, quick: bool, progress: Callable[[str], None]
) -> Verification:
    """Every file, then a real restore into scratch and an etcd started on it, compared with what the manifest says.

    `damage` is what reading its files found. With `quick` nothing is restored.
    """
    if damage:
        files = Level(FILES, ok=False, seconds=0.0, message=f"{'; '.join(damage)}. {_USELESS}")
        return Verification(bundle.name, "here", (files,))
    files = Level(FILES, ok=True, seconds=0.0, figures={"files": len(bundle.manifest.files), "bytes": bundle.size})
    if quick:
        return Verification(bundle.name, "here", (files,))
    try:
        proof = prove(
            bundle,
            expected=stated(bundle),
            tools=site.kept_programs(bundle.manifest.etcd_version),
            host=site.here,
            scratch=site.config.state_dir / "scratch",
            clock=site.clock,
            progress=progress,
        )
    except GuardError as problem:
        return Verification(bundle.name, "here", (files, _untried(problem)))
    return Verification(bundle.name, "here", (files, *proof.levels))


def verify_copy(where: str, name: str, look: Callable[[], tuple[str, ...]]) -> Verification:
    """A copy at a target, read again from there in full by `look`, which answers with a sentence per difference."""
    try:
        problems = look()
    except GuardError as problem:
        return Verification(name, where, (_untried(problem),))
    if problems:
        again = f"A restore cannot use this copy; make it again: upgrade-guard backup copy {name} --to {where}"
        bad = Level(FILES, ok=False, seconds=0.0, message=f"{'; '.join(problems)}. {again}")
        return Verification(name, where, (bad,))
    return Verification(name, where, (Level(FILES, ok=True, seconds=0.0),))


def _untried(problem: GuardError) -> Level:
    why = "; ".join((problem.message, *problem.reasons))
    cure = f" ({problem.hint})" if problem.hint else ""
    return Level(TRIAL, ok=False, seconds=0.0, message=f"it could not be tried: {why}{cure}")
