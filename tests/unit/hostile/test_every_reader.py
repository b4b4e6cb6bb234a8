"""Whatever the world wrote, a reader gives a value or its own refusal: never another error, and none is left out."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.hostile.budget import tried
from unit.hostile.readers import READERS, Reader
from unit.hostile.words import ANYTHING, LONG, MANIFESTS, ODD, TEXT

import upgrade_guard

PACKAGE = Path(upgrade_guard.__file__).parent
FIXTURES = Path(__file__).parents[2] / "fixtures"
OUTSIDE = ("checks", "hosts", "model", "tools", "vault")  # the rooms that hear the world in its own words
ROOMS = ("checks", "config", "hosts", "journal", "model", "nodes", "runs", "steps", "tools", "vault", "workflows")
# Readers of a file or of a whole node, which have tests of their own: here (test_files.py) or where they belong.
ELSEWHERE = {
    "checks.gather_node.read_installed",
    "tools.files.read_if_there",
    "vault.age.read_identities",
    "vault.disk.read_description",
    "steps.discovery.read_cluster",
    "steps.discovery.read_control_planes",
    "steps.discovery.read_nodes",
    "vault.node_archive.read_archive",
    "vault.node_archive.read_one",
    "vault.trailer.read_snapshot",
}

# What a person typed or configured is as long as that person wants.
TYPED = {
    "model.version.Version.parse",
    "vault.addresses.parse_place",
    "vault.schedule.unit_name",
    "journal.encoding.instant",
}
TYPED |= {"vault.schedule.timer_text"}


def found_in_the_code() -> Iterator[str]:
    """Functions that are named for reading or parsing, and in some rooms those that take a `text` first."""
    for room in ROOMS:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                    first = node.args.args[0] if node.args.args else None
                    kind = "" if first is None or first.annotation is None else ast.unparse(first.annotation)
                    takes_text = (
                        room in OUTSIDE and first is not None and first.arg == "text" and kind.startswith("str")
                    )
                    if node.name.startswith(("parse_", "read_")) or takes_text:
                        yield f"{room}.{path.stem}.{node.name}"


def real_texts() -> list[str]:
    """What real programs printed: where a mutation starts from."""
    return [json.loads(path.read_text())["stdout"] for path in sorted(FIXTURES.glob("*/*.json"))]


def real_documents() -> list[Any]:
    """Those of them that are JSON."""
    found = []
    for text in TEXTS:
        with suppress(ValueError):
            found.append(json.loads(text))
    pod = {
        "metadata": {"name": "etcd"},
        "spec": {
            "containers": [
                {
                    "name": "etcd",
                    "image": "registry.k8s.io/etcd:3.5.24-0",
                    "command": ["etcd", "--data-dir=/var/lib/etcd", "--listen-client-urls=https://127.0.0.1:2379"],
                    "env": [{"name": "A", "value": "b"}],
                    "volumeMounts": [{"name": "data", "mountPath": "/var/lib/etcd", "subPath": "x"}],
                }
            ],
            "volumes": [{"name": "data", "hostPath": {"path": "/srv/etcd"}}],
        },
    }
    # JSON is YAML too. Several times, so that a manifest is as likely as what kubectl prints.
    return [*found, *[pod] * 20]


TEXTS = real_texts()
DOCUMENTS = real_documents()


@st.composite
def wrong_in_one_place(draw: st.DrawFn) -> str:
    """A real document in which one value, somewhere, became something else or went away."""
    document = json.loads(json.dumps(draw(st.sampled_from(DOCUMENTS))))
    place: Any = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place))) if isinstance(place, list) else []
        if not keys:
            return json.dumps(document)
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and draw(st.integers(0, 5)):
            place = place[key]
            continue
        if draw(st.booleans()):
            del place[key]
        else:
            place[key] = draw(ANYTHING)
        return json.dumps(document)


@st.composite
def cut_and_patched(draw: st.DrawFn) -> str:
    """A real text with a piece replaced by something odd."""
    text = draw(st.sampled_from(TEXTS))
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 40)))
    return text[:start] + draw(st.sampled_from(ODD) | st.text(max_size=5)) + text[end:]


def feed(reader: Reader, text: str) -> None:
    with suppress(*reader.refuses):
        reader.read(text)


def test_no_reader_is_left_out() -> None:
    missing = set(found_in_the_code()) - READERS.keys() - ELSEWHERE
    assert not missing, f"what these do with hostile input is not tried: give them a line in readers.py: {missing}"


def test_nothing_is_listed_that_is_gone() -> None:
    assert set(found_in_the_code()) >= ELSEWHERE
    assert len(DOCUMENTS) > 20


@pytest.mark.parametrize("name", sorted(READERS))
@tried(15)
@given(text=TEXT)
def test_any_text(name: str, text: str) -> None:
    feed(READERS[name], text)


@pytest.mark.parametrize("name", sorted(READERS))
def test_megabytes_depths_and_bombs(name: str) -> None:
    """What is said about megabytes on one line must not be megabytes in the journal and on the screen."""
    for text in (*LONG, *(f"{word}\n" * 3 for word in ODD), *MANIFESTS):
        try:
            READERS[name].read(text)
        except READERS[name].refuses as problem:
            assert len(str(problem)) < 2000 or name in TYPED, name


@tried(60)
@given(text=wrong_in_one_place() | cut_and_patched() | ANYTHING.map(json.dumps))
def test_what_looks_almost_right(text: str) -> None:
    for reader in READERS.values():
        feed(reader, text)
