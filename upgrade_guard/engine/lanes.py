"""Steps of one lane run in order; several lanes run at the same time, up to a limit."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

from upgrade_guard.model.step import Step


def walk_lanes(steps: Iterable[Step], at_once: int, walk: Callable[[Step], None]) -> tuple[BaseException, ...]:
    """Walk every step; return what was raised, in the order in which it happened.

    After the first problem no further step starts; steps that are under way in other lanes are finished. One lane, or
    one at a time, runs in the calling thread, in the order given.
    """
    ordered = tuple(steps)
    lanes: dict[str, deque[Step]] = {}
    for step in ordered:
        lanes.setdefault(step.lane, deque()).append(step)
    if at_once <= 1 or len(lanes) <= 1:
        return _walk_here(ordered, walk)
    return _walk_in_threads(deque(lanes.values()), min(at_once, len(lanes)), walk)


def _walk_here(steps: tuple[Step, ...], walk: Callable[[Step], None]) -> tuple[BaseException, ...]:
    for step in steps:
        try:
            walk(step)
        except Exception as problem:  # noqa: BLE001 - the caller raises it, or answers it
            return (problem,)
    return ()


def _walk_in_threads(
    waiting: deque[deque[Step]], workers: int, walk: Callable[[Step], None]
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
