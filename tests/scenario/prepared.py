"""Labs at a moment of an upgrade: brought there once by each process that runs tests, and put back for each test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from crash.checkpoint import Checkpoint
from scenario.stage import TARGET, Stage, until
from scenario.watched import running_in

from upgrade_guard.lab import cluster

# What a lab of the tests is: without delays of its own.
QUICK = {"pace": 0.0, "patience": 5.0, "grace": 0.5}
BEFORE = "/scenario/before"


def to_the_approval(stage: Stage) -> None:
    """A run that has a proven snapshot and its copies, and asks whether the control plane may be changed."""
    stage.put_key(BEFORE, "written before the run")
    answer = stage.start("run", TARGET, environment=stage.of_a_bastion).wait()
    assert answer.exit_code == 6, str(answer)
    assert stage.states()[-1] == "copied"


def to_a_backup(stage: Stage) -> None:
    """One backup, and a monitoring that is told of it."""
    textfiles = stage.lab.directory / "textfiles"
    textfiles.mkdir()
    with stage.lab.config_path.open("a") as config:
        config.write(f'\n[backup]\nmetrics_dir = "{textfiles}"\nmax_age = "26h"\n')
    stage.guard("backup", "create")


@dataclass
class Prepared:
    """The labs of one session. `place` is where they are."""

    place: Path
    _kept: dict[Hashable, Checkpoint] = field(default_factory=dict)

    def at(self, moment: Callable[[Stage], None] = to_the_approval, **options: Any) -> Stage:
        """A lab of these options of `cluster.up`, at that moment. Its `before` is the truth of before the run."""
        key = (moment, *sorted(options.items()))
        if key not in self._kept:
            place = Path(tempfile.mkdtemp(dir=self.place))
            self._kept[key] = self._brought(place, moment, options)
        stage = self._kept[key].stage
        for path in stage.lab.directory.parent.glob(f"{stage.lab.directory.name}-*"):
            # What commands said in the last test, and what watched its programs.
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._kept[key].put_back()
        return replace(stage, going=[])

    def rest(self, stage: Stage) -> None:
        """Nothing of it runs until it is put back."""
        stage.end_everything()
        for kept in self._kept.values():
            if kept.stage.lab == stage.lab:
                kept.rest()

    def take_down(self) -> None:
        """All of them."""
        for kept in self._kept.values():
            cluster.down(kept.stage.lab.directory)

    @staticmethod
    def _brought(place: Path, moment: Callable[[Stage], None], options: dict[str, Any]) -> Checkpoint:
        stage = Stage(cluster.up(place / "lab", **{**QUICK, **options}))
        try:
            # A proof that was put back with its lab is as old as the copy.
            stage.configure(settle_time='"1s"', snapshot_max_age='"24h"')
            stage.before = stage.truth()
            moment(stage)
            stage.end_everything()
            until(lambda: not running_in(stage.lab.directory), what="the programs of the lab at rest")
            return Checkpoint.keep(stage, place / "kept")
        except BaseException:
            stage.end_everything()
            cluster.down(stage.lab.directory)
            raise
