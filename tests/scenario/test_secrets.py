"""What a whole run leaves behind holds no secret of the cluster, and nothing of it can be read by others."""

from __future__ import annotations

import base64
import gzip
import re
import shlex
import stat
from dataclasses import replace
from pathlib import Path

from crash.lives import MORTAL, go_on, new_tape
from scenario.ends import assert_completed
from scenario.stage import TARGET, Stage

PEM = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+(.+?)\s+-----END", re.DOTALL)
KUBECONFIG = re.compile(rb"(?:client-key-data|token):\s*(\S{16,})")
TOKEN = re.compile(rb"\b[a-z0-9]{6}\.[a-z0-9]{16}\b")
_LONG_ENOUGH = 24  # bytes of a key that cannot stand anywhere by chance


def secrets_of(stage: Stage) -> set[bytes]:
    """A piece from the middle of each private key, key data and token of the lab's nodes, in the spellings of each."""
    found: set[bytes] = set()
    for path in (*stage.lab.layout.lab.rglob("*"), *(stage.lab.directory / "nodes").rglob("*")):
        if not path.is_file() or path.is_symlink() or path.stat().st_size > 100_000:
            continue
        content = path.read_bytes()
        texts = [content]
        for coded in KUBECONFIG.findall(content):
            found.add(coded[len(coded) // 2 :][:_LONG_ENOUGH])
            texts.append(base64.b64decode(coded + b"==="))
        for text in texts:
            for body in PEM.findall(text):
                line = max(body.split(), key=len)
                found.add(line[len(line) // 2 :][:_LONG_ENOUGH])
        if b"bootstrap" in content:
            found |= set(TOKEN.findall(content))
    return {secret for secret in found if len(secret) >= 16}


def watch_processes(stage: Stage, record: Path) -> None:
    """Every program of every node writes its command line and its environment down before it begins."""
    for node in stage.lab.settings.names:
        for program in sorted(path for path in stage.lab.layout.programs(node).iterdir() if path.is_file()):
            script = f'{{ printf "%s\\n" "$0 $*"; env; }} >> {shlex.quote(str(record))}\nexec "$real" "$@"'
            stage.put_before(program, script)


def test_no_secret_of_the_cluster_is_left_anywhere(stage: Stage, tmp_path: Path) -> None:
    inside, started = tmp_path / "processes of the nodes", tmp_path / "processes"
    watch_processes(stage, inside)
    secrets = secrets_of(stage)
    assert len(secrets) > 8, "the lab has keys of etcd, of the API and of each kubeconfig"

    # Every program that is started, also etcd's own and those of the system, with what is in its environment.
    watched = replace(stage, program=MORTAL)
    orders = {"strikes": {}, "number": 0, "faults": {}, "environments": str(started)}
    said = [go_on(watched, new_tape(stage), orders)]
    assert said[0].exit_code == 0, said[0]
    assert len(started.read_text().splitlines()) > 100
    assert "etcdutl" in started.read_text()
    assert_completed(stage)
    export, page = tmp_path / "history.jsonl", tmp_path / "report.html"
    stage.guard("audit", "export", "--output", str(export), json_answer=False)
    stage.guard("report", "--output", str(page), json_answer=False)
    for words in (("status",), ("show",), ("history",), ("config", "show"), ("check", TARGET), ("show", "--verbose")):
        said += [stage.guard(*words, ends=None, json_answer=json) for json in (True, False)]
    secrets |= secrets_of(stage)  # those that kubeadm renewed

    state = stage.lab.directory / "state"
    left = [path for path in state.rglob("*") if path.is_file() and "etcd" not in path.relative_to(state).parts]
    assert {"journal.sqlite"} <= {path.name for path in left}
    assert any(path.suffix == ".log" for path in left)
    places = {str(path): path.read_bytes() for path in (*left, inside, started, export, page)}
    places |= {f"answer {number}": f"{one.stdout}{one.stderr}".encode() for number, one in enumerate(said)}
    # What reads the journal while it is written sees the same rows; values that SQLite split over pages are whole here.
    tables = [row["name"] for row in stage.rows("select name from sqlite_master where type = 'table'")]
    for table in tables:
        rows = stage.rows(f"select * from {table}")
        places[f"table {table}"] = repr(rows).encode()
    assert "table commands" in places
    told = sorted((place, secret) for place, content in places.items() for secret in secrets if secret in content)
    assert told == []

    # The scan would find one: what the vault holds is exactly this.
    archives = list((stage.lab.directory / "vault").rglob("files-cp1.tar.gz"))
    assert any(secret in gzip.decompress(archive.read_bytes()) for archive in archives for secret in secrets)

    assert open_to_others(state, stage.lab.directory / "vault") == []
    # On the nodes the directory is closed, and with it the programs in it, which are as executable as in their image.
    assert {stat.S_IMODE(stage.lab.layout.work(node).stat().st_mode) for node in stage.lab.settings.names} == {0o700}


def open_to_others(*directories: Path) -> list[str]:
    """What others than its owner may read, write or enter below these directories, and they themselves."""
    return [
        f"{stat.S_IMODE(path.lstat().st_mode):04o} {path}"
        for directory in directories
        for path in (directory, *directory.rglob("*"))
        if not path.is_symlink() and path.lstat().st_mode & 0o077
    ]
