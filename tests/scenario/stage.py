"""A lab and an operator with a shell: one command of the product in, then what it said and what is true."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from scenario import forked
from scenario.forked import Child

from upgrade_guard.lab import fault_switch
from upgrade_guard.lab.cluster import LabCluster
from upgrade_guard.lab.gateway import EtcdAway, Gateway
from upgrade_guard.lab.records import read_record
from upgrade_guard.lab.simulation import credentials

PROGRAM = Path(sys.executable).with_name("upgrade-guard")
# Limits for a machine that hangs, in seconds; nothing is measured by them.
LONGEST_RUN = 400.0
PATIENCE = 180.0
TARGET = "v1.28.0"


def until(condition: Callable[[], Any], *, seconds: float = PATIENCE, what: str = "the condition") -> Any:
    """Wait until the condition is true and return what it returned."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come true"
        time.sleep(0.02)


def installed_package(program: Path = PROGRAM) -> Path:
    """The directory of the package that the installed program runs, as its own interpreter finds it."""
    # The first line, or the second where the path is too long for the kernel (pip writes `exec` there).
    found = re.search(r"/[^'\"\n]*/python[0-9.]*", program.read_text()[:1000])
    assert found is not None, f"{program} does not say what runs it"
    interpreter = found[0]
    code = "import pathlib, upgrade_guard; print(pathlib.Path(upgrade_guard.__file__).parent)"
    # -I: neither PYTHONPATH nor the directory in which the tests are started, as for a program from PATH.
    ended = subprocess.run(
        (interpreter, "-I", "-c", code), capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    return Path(ended.stdout.strip())


def sources(package: Path) -> dict[str, str]:
    """SHA-256 of every source of a package, by its path there."""
    return {str(path.relative_to(package)): sha256(path.read_bytes()).hexdigest() for path in package.rglob("*.py")}


@dataclass(frozen=True)
class Answer:
    """How a command of the product ended. With --json, `data` and `error` are those of its one object."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def object(self) -> dict[str, Any]:
        """The one JSON object on stdout; fails when there is anything else."""
        read = json.loads(self.stdout)
        assert set(read) >= {"schema", "command", "ok", "data", "error"}, read
        assert read["ok"] is (self.exit_code == 0), read
        return dict(read)

    @property
    def data(self) -> Any:
        """What it answers."""
        return self.object["data"]

    @property
    def error(self) -> dict[str, Any]:
        """code, message, hint and what else it says of its problem."""
        found = self.object["error"]
        assert found is not None, self.object
        return dict(found)

    def __str__(self) -> str:
        return f"exit {self.exit_code}\n--- stdout\n{self.stdout[-6000:]}\n--- stderr\n{self.stderr[-12000:]}"


@dataclass
class Going:
    """A command of the product that runs."""

    process: subprocess.Popen[str] | Child
    said: Path
    complained: Path

    def wait(self) -> Answer:
        """Its end."""
        self.process.wait(timeout=LONGEST_RUN)
        return Answer(self.process.returncode, self.said.read_text(), self.complained.read_text())

    def send(self, number: signal.Signals) -> None:
        """A signal to it alone, as `kill` does."""
        self.process.send_signal(number)

    @property
    def runs(self) -> bool:
        """Has it not ended?"""
        return self.process.poll() is None


@dataclass
class Stage:
    """One lab, and the product pointed at it.

    `program` is a script of Python. With `starts`, each command is a Python that starts, and not a fork of one.
    `before` is the truth of before the run, where the lab was prepared (prepared.py).
    """

    lab: LabCluster
    program: tuple[str, ...] = (str(PROGRAM),)
    going: list[Going] = field(default_factory=list)
    starts: bool = False
    before: dict[str, dict[str, Any]] = field(default_factory=dict)

    # the product

    def start(self, *words: str, json_answer: bool = True, environment: Mapping[str, str] | None = None) -> Going:
        """Start `upgrade-guard WORDS` without a terminal, in a process group of its own."""
        options = ("--config", str(self.lab.config_path), *(("--json",) if json_answer else ()))
        number = len(self.going)
        said, complained = (
            self.lab.directory.parent / f"{self.lab.directory.name}-{number}.{k}" for k in ("out", "err")
        )
        argv, its = (*self.program, *options, *words), {**os.environ, **(environment or {})}
        with said.open("w") as out, complained.open("w") as err:
            if self.starts or "LD_PRELOAD" in its:
                process = _started(argv, its, out, err)
            else:
                process = forked.start(argv, its, out, err)
        self.going.append(Going(process, said, complained))
        return self.going[-1]

    @property
    def of_a_bastion(self) -> Mapping[str, str]:
        """The environment of a command that reaches the nodes over the lab's own ssh, where the lab has one."""
        there = self.lab.ssh_directory
        return {"PATH": f"{there}:{os.environ['PATH']}"} if there else {}

    def guard(self, *words: str, ends: int | None = 0, **options: Any) -> Answer:
        """`upgrade-guard WORDS` to its end; `ends` is the exit code that it must have (None: the caller looks)."""
        answer = self.start(*words, **options).wait()
        assert ends is None or answer.exit_code == ends, f"{words}: {answer}"
        return answer

    def run(self, *words: str, ends: int | None = 0) -> Answer:
        """`run v1.28.0 --yes`."""
        return self.guard("run", TARGET, "--yes", *words, ends=ends)

    def go_on(self, *words: str, ends: int | None = 0) -> Answer:
        """`resume --yes`."""
        return self.guard("resume", "--yes", *words, ends=ends)

    def show(self) -> dict[str, Any]:
        """`show --json`: the newest run's story."""
        return dict(self.guard("show").data)

    def configure(self, **settings: str) -> None:
        """Change keys of [upgrade] in the lab's configuration; values are TOML."""
        lines = self.lab.config_path.read_text().splitlines()
        lines = [line for line in lines if line.partition(" =")[0] not in settings]
        at = lines.index("[upgrade]") + 1
        lines[at:at] = [f"{key} = {value}" for key, value in settings.items()]
        self.lab.config_path.write_text("\n".join(lines) + "\n")

    # the journal, read as another program would: by SQL, through a connection that cannot write

    @property
    def journal(self) -> Path:
        """The SQLite file."""
        return self.lab.directory / "state" / "journal.sqlite"

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of a query; none while there is no journal yet."""
        if not self.journal.exists():
            return []
        connection = sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True, timeout=30)
        try:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]
        except sqlite3.OperationalError as problem:
            if "no such table" in str(problem) or "unable to open" in str(problem):  # it is being made
                return []
            raise
        finally:
            connection.close()

    def states(self) -> list[str]:
        """The states that were entered, over all runs, in order."""
        return [row["to_state"] for row in self.rows("select to_state from transitions order by seq")]

    def outcomes(self, step: str) -> list[str]:
        """What the journal holds of a step, oldest first."""
        return [row["outcome"] for row in self.rows("select outcome from steps where name = ? order by seq", step)]

    def await_state(self, state: str, going: Going) -> None:
        """Until the run has entered that state."""
        self._await(lambda: state in self.states(), going, f"state {state}")

    def reaches(self, state: str, going: Going) -> bool:
        """Does it enter that state before it ends?"""
        until(lambda: state in self.states() or not going.runs, what=f"state {state}, or an end")
        return state in self.states()

    def await_outcome(self, step: str, outcome: str, going: Going, times: int = 1) -> None:
        """Until the journal holds so many rows of that outcome for the step."""
        self._await(lambda: self.outcomes(step).count(outcome) >= times, going, f"{step} {outcome}")

    def await_command(self, going: Going, *words: str) -> None:
        """Until the journal holds a command whose argv has all these words."""
        self._await(
            lambda: any(set(words) <= set(json.loads(row["argv"])) for row in self.rows("select argv from commands")),
            going,
            " ".join(words),
        )

    def _await(self, condition: Callable[[], Any], going: Going, what: str) -> None:
        def seen() -> bool:
            ended = not going.runs  # asked first: what it did last is then in the journal
            if condition():
                return True
            assert not ended, f"it ended without {what}: {going.wait()}"
            return False

        until(seen, what=what)

    # the lab's own truth

    def shell(self, node: str, *argv: str, stdin: str = "", ok: bool = True) -> subprocess.CompletedProcess[str]:
        """A command on a node, as a person with a shell there types it."""
        environment = {"PATH": self.lab.path(node), "LC_ALL": "C"}
        ended = subprocess.run(
            argv, env=environment, input=stdin, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert ended.returncode == 0 or not ok, f"{argv}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        return ended

    def get(self, *words: str) -> Any:
        """`kubectl get WORDS -o json` on the first control plane."""
        return json.loads(
            self.shell(self.lab.settings.control_planes[0], "kubectl", "get", *words, "-o", "json").stdout
        )

    def kubelet_versions(self) -> dict[str, str]:
        """What each node reports, as the API tells it."""
        return {
            node["metadata"]["name"]: node["status"]["nodeInfo"]["kubeletVersion"]
            for node in self.get("nodes")["items"]
        }

    def unschedulable(self) -> set[str]:
        """The nodes that take no new pods."""
        return {n["metadata"]["name"] for n in self.get("nodes")["items"] if n["spec"].get("unschedulable")}

    def waiting_pods(self) -> list[str]:
        """The pods that do not run."""
        pods = self.get("pods", "--all-namespaces")["items"]
        return [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] != "Running"]

    def put_key(self, key: str, value: str, node: str = "cp1") -> int:
        """Write to the cluster's etcd, waiting for it to answer; the revision."""

        def written() -> int:
            gateway = self._gateway(node)
            try:
                return gateway.write({key: value})
            except EtcdAway:
                return 0
            finally:
                gateway.close()

        return int(until(written, what="writing to etcd"))

    def key(self, key: str, node: str = "cp1") -> str | None:
        """What etcd holds under that key."""
        gateway = self._gateway(node)
        try:
            _, found = gateway.range(key)
        finally:
            gateway.close()
        return found[0].value if found else None

    def hashes(self) -> dict[str, tuple[int, int]]:
        """HashKV and compact revision of every member, all at the lowest revision that any of them has."""
        gateways = {name: self._gateway(name) for name in self.lab.settings.control_planes}
        try:
            at = min(gateway.range("/")[0] for gateway in gateways.values())
            answers = {
                name: gateway.call("/v3/maintenance/hash", {"revision": at}) for name, gateway in gateways.items()
            }
        finally:
            for gateway in gateways.values():
                gateway.close()
        return {name: (int(one["hash"]), int(one.get("compact_revision", 0))) for name, one in answers.items()}

    def _gateway(self, node: str) -> Gateway:
        settings = self.lab.settings
        context = credentials(self.lab.layout).context()
        return Gateway(settings.addresses[node], settings.ports.etcd_client, context)

    def node_truth(self, name: str) -> dict[str, Any]:
        """Everything about a node that an upgrade changes and a rollback has to bring back.

        The files are those of /etc (certificates, manifests, package source, units) and of kubelet, by digest.
        """
        record, layout = read_record(self.lab.layout, name), self.lab.layout
        return {
            "packages": dict(record.packages),
            "holds": sorted(record.holds),
            "etc": digests(layout.node(name) / "etc"),
            "kubelet": digests(layout.kubelet(name)),
        }

    def truth(self) -> dict[str, dict[str, Any]]:
        """`node_truth` of every node."""
        return {name: self.node_truth(name) for name in self.lab.settings.names}

    def put_before(self, program: Path, script: str) -> None:
        """A shell script in the place of a program of a node; the program itself is then "$real"."""
        real = program.with_name(f".{program.name}-real")
        program.rename(real)
        program.write_text(f"#!/bin/sh\nreal={shlex.quote(str(real))}\n{script}\n")
        program.chmod(0o755)

    def fail_after(self, node: str, program: str, words: str) -> None:
        """That program does its work there and then says that it failed."""
        script = (
            f'"$real" "$@"; status=$?\ncase "$*" in {shlex.quote(words)}*) echo "error: made up" >&2; exit 1;; esac'
        )
        self.put_before(self.lab.layout.programs(node) / program, f"{script}\nexit $status")

    @contextmanager
    def held(self, program: Path, words: str = "") -> Iterator[Callable[[Going], None]]:
        """While it lasts, the program waits before it begins, if its command line has these words.

        What is yielded waits for a command of the product to come to such a wait.
        """
        held, begun = (program.with_name(f".{program.name}-{word}") for word in ("held", "begun"))
        held.touch()
        wait = f"touch {shlex.quote(str(begun))}; while [ -e {shlex.quote(str(held))} ]; do sleep 0.02; done"
        self.put_before(program, f'case "$*" in *{shlex.quote(words)}*) {wait};; esac\nexec "$real" "$@"')

        def wait_for(going: Going) -> None:
            self._await(begun.exists, going, f"{program.name} {words}")

        try:
            yield wait_for
        finally:
            held.unlink()

    @contextmanager
    def held_etcdctl(self, node: str, words: str) -> Iterator[Callable[[Going], None]]:
        """The same with the etcdctl of that node's image, which stays the program that it is."""
        hook = self.lab.layout.hook(node, "etcdctl")
        hook.parent.mkdir(exist_ok=True)
        hook.symlink_to(Path(self.lab.settings.etcd_binaries) / "etcdctl")
        try:
            with self.held(hook, words) as wait_for:
                yield wait_for
        finally:
            hook.unlink()

    def bring_down(self, node: str = "cp1") -> None:
        """Its kubelet and every container of its control plane end."""
        self.shell(node, "systemctl", "stop", "kubelet")
        rows = json.loads(self.shell(node, "crictl", "ps", "-o", "json").stdout)["containers"]
        wanted = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
        ours = [row for row in rows if row["labels"]["io.kubernetes.pod.namespace"] == "kube-system"]
        alive = [row["id"] for row in ours if row["metadata"]["name"] in wanted]
        self.shell(node, "crictl", "stop", "--timeout", "3", *alive)

    def lose_data(self, node: str = "cp1") -> None:
        """The same, and the disk with etcd's data comes back empty."""
        self.bring_down(node)
        shutil.rmtree(self.lab.layout.etcd(node))

    def switch_off(self, fault: str) -> None:
        """Take a fault away."""
        fault_switch.switch_off(self.lab.directory, fault)

    def switch_on(self, fault: str) -> None:
        """Bring a fault."""
        fault_switch.switch_on(self.lab.directory, fault)

    def end_everything(self) -> None:
        """Stop what was started and still runs, with all that it started."""
        for going in self.going:
            if going.runs:
                os.killpg(going.process.pid, signal.SIGKILL)
                going.process.wait()


def _started(argv: Sequence[str], environment: Mapping[str, str], out: IO[str], err: IO[str]) -> subprocess.Popen[str]:
    argv = (sys.executable, *argv) if argv[0].endswith(".py") else argv
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        text=True,
        start_new_session=True,
        preexec_fn=_hear_signals,
        env=environment,
    )


def _hear_signals() -> None:
    """What started the tests may ignore signals (`nohup make test &`), and a child inherits that."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def changed(before: Mapping[str, Any], after: Mapping[str, Any], inside: str = "") -> set[str]:
    """The paths, through nested mappings, at which the two differ."""
    found: set[str] = set()
    for key in before.keys() | after.keys():
        path, old, new = f"{inside}{key}", before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found |= changed(old, new, f"{path} ")
        elif old != new:
            found.add(path)
    return found


def digests(directory: Path) -> dict[str, str]:
    """SHA-256 of every file below a directory, by its path there.

    Not counted is what kubeadm keeps in its tmp, and the manifests that a rollback put aside: nothing is ever deleted.
    """
    found = {}
    for path in sorted(directory.rglob("*")):
        inside = str(path.relative_to(directory))
        if path.is_file() and not inside.startswith(("kubernetes/tmp/", "kubernetes/upgrade-guard-stopped-")):
            found[inside] = sha256(path.read_bytes()).hexdigest()
    return found
