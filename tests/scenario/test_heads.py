"""The head of history lies where the journal does not, by itself, and says who signed it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from scenario.stage import TARGET, Stage
from scenario.test_tampering import mend
from unit.tools.test_ssh_keygen import allow, make_key

from upgrade_guard.nodes.cluster_lock import LAST


def write_anew(stage: Stage) -> None:
    """Somebody else has done it, says the whole journal, and every digest agrees; the triggers are as they were."""
    with closing(sqlite3.connect(stage.journal)) as connection:
        triggers = connection.execute("select name, sql from sqlite_master where type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"drop trigger {name}")
        connection.execute("update runs set operator = 'somebody else'")
        mend(connection)
        for _, statement in triggers:
            connection.execute(statement)
        connection.commit()


def test_a_history_that_was_written_anew_shows_on_the_control_planes_alone(stage: Stage, tmp_path: Path) -> None:
    key = make_key(tmp_path / "history")
    allowed = allow(tmp_path / "allowed", ("night@example.org", key))
    with stage.lab.config_path.open("a") as configuration:
        configuration.write(f'\n[audit]\nsigning_key = "{key}"\nallowed_signers = "{allowed}"\n')
    stage.guard("run", TARGET, "--yes")
    compared = stage.guard("audit", "verify", "--remote").data["compared"]
    # One head in the bundle and its copy, both signed; the newest one on the control plane.
    assert (compared["heads"], compared["strangers"], compared["problems"]) == (2, [], [])
    assert list(compared["signatures"]["good"].values()) == ["night@example.org"] * 2

    # The bundle and its copy are removed too, which needs no other machine than this one.
    write_anew(stage)
    for place in (stage.lab.directory / "vault", stage.lab.offsite):
        for bundle in Path(place).iterdir():
            shutil.rmtree(bundle)
    assert stage.guard("audit", "verify").data["whole"] is True
    [reason] = stage.guard("audit", "verify", "--remote", ends=3).error["reasons"]
    assert "history was written anew since" in reason
    assert f"{LAST} on cp1" in reason
