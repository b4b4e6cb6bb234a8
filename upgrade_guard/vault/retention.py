"""What is kept of the bundles in one place, and why. Pure: judged over what is there and what is on record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

DAY = 86400.0
# A clock may be stepped back a little by NTP; a bundle from further ahead has no age.
_CLOCK_STEP = 60.0


@dataclass(frozen=True)
class Held:
    """A bundle, or a copy of one, in one place. `size` in bytes; `recorded`: this installation's journal knows it."""

    name: str
    taken_at: datetime
    size: int
    proven: bool
    recorded: bool = True


@dataclass(frozen=True)
class Verdict:
    """`kept_because` has every reason; none means that it goes."""

    held: Held
    kept_because: tuple[str, ...]


def retained(
    place: Sequence[Held],
    *,
    now: datetime,
    keep_days: int,
    keep_last: int,
    needed: Mapping[str, str],
    damage: Callable[[str], tuple[str, ...]],
) -> tuple[Verdict, ...]:
    """Judge everything in one place, newest first. `needed` names what an open run needs, with the reason.

    By age and by number; only proven bundles count for the number. `damage` says what is wrong with one, and is asked
    only when something would go: at least one proven bundle that is whole stays, and without one everything does.
    """
    newest_first = sorted(place, key=lambda held: (held.taken_at, held.name), reverse=True)
    ours = [held for held in newest_first if held.recorded]
    proven = [held for held in ours if held.proven]
    counted = (proven or ours)[:keep_last]
    which = "newest proven" if proven else "newest, and none here is proven"
    verdicts = []
    for held in newest_first:
        reasons = list(_reasons(held, now, keep_days, needed))
        if held in counted:
            reasons.append(f"one of the {keep_last} {which}" if keep_last > 1 else f"the {which}")
        verdicts.append(Verdict(held, tuple(reasons)))
    if all(verdict.kept_because for verdict in verdicts) or not proven:
        return tuple(verdicts)
    whole = next((held for held in proven if not damage(held.name)), None)
    if whole is None:
        return tuple(_also(verdict, "no proven bundle here is whole") for verdict in verdicts)
    return tuple(
        _also(verdict, "the newest proven one that is whole")
        if verdict.held is whole and not verdict.kept_because
        else verdict
        for verdict in verdicts
    )


def _reasons(held: Held, now: datetime, keep_days: int, needed: Mapping[str, str]) -> tuple[str, ...]:
    reasons = []
    if not held.recorded:
        reasons.append("this journal does not know it; whoever made it removes it")
    if held.name in needed:
        reasons.append(needed[held.name])
    age = (now - held.taken_at).total_seconds()
    if age < -_CLOCK_STEP:
        reasons.append("dated ahead of this machine's clock")
    elif age < keep_days * DAY:
        reasons.append(f"younger than {keep_days} day{'' if keep_days == 1 else 's'}")
    return tuple(reasons)


def _also(verdict: Verdict, reason: str) -> Verdict:
    return Verdict(verdict.held, (*verdict.kept_because, reason))
