"""Steps of one lane run in order; several lanes run at the same time, up to a limit."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

from upgrade_guard.model.step import Step


def halts_all(_: BaseException) -> bool:
    """Whatever it is, nothing more begins."""
    return True


def walk_lanes(
    steps: Iterable[Step],
    at_once: int,
    walk: Callable[[Step], None],
    halts: Callable[[BaseException], bool] = halts_all,
) -> tuple[BaseException, ...]:
    """Walk every step; return what was raised, in the order in which it happened.

    After a problem its lane ends; where it `halts`, no further step starts in any lane, and steps that are under way
    are finished. One lane, or one at a time, runs in the calling thread, in the order given.
    """
    ordered = tuple(steps)
    lanes: dict[str, deque[Step]] = {}
    for step in ordered:
        lanes.setdefault(step.lane, deque()).append(step)
    if at_once <= 1 or len(lanes) <= 1:
        return _walk_here(ordered, walk, halts)
    return _walk_in_threads(deque(lanes.values()), min(at_once, len(lanes)), walk, halts)


def _walk_here(
    steps: tuple[Step, ...], walk: Callable[[Step], None], halts: Callable[[BaseException], bool]
) -> tuple[BaseException, ...]:
    problems: list[BaseException] = []
    ended: set[str] = set()
    for step in steps:
        if step.lane in ended:
            continue
        try:
            walk(step)
        except Exception as problem:  # noqa: BLE001 - the caller raises it, or answers it
            problems.append(problem)
            ended.add(step.lane)
            if halts(problem):
                break
    return tuple(problems)


def _walk_in_threads(
    waiting: deque[deque[Step]],
    workers: int,
    walk: Callable[[Step], None],
    halts: Callable[[BaseException], bool],
) -> tuple[BaseException, ...]:
    problems: list[BaseException] = []
    halted = threading.Event()

    def work() -> None:
        while not halted.is_set():
            try:
                lane = waiting.popleft()
            except IndexError:
                return
            while lane and not halted.is_set():
                try:
                    walk(lane.popleft())
                except BaseException as problem:  # noqa: BLE001 - a thread has nobody above it; the caller raises it
                    problems.append(problem)
                    lane.clear()
                    if halts(problem):
                        halted.set()

    # Daemons: a second interrupt leaves at once and waits for no node that hangs. The journal then says in doubt.
    threads = [threading.Thread(target=work, name=f"lane-{number}", daemon=True) for number in range(1, workers + 1)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        halted.set()
    return tuple(problems)
