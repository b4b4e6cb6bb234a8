"""The report: what it says of a run, that nothing of the world gets out of its place, and that nothing is loaded."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from unit.ui.telling import AT, SHA256, Teller, completed, evidence, prepared, taken_back

from upgrade_guard.model.run import Event, Kind, Outcome, State
from upgrade_guard.ui.report import render, report_of
from upgrade_guard.ui.tables import Story

VOID = {"meta", "rect", "br"}


class Page(HTMLParser):
    """Text by line, tags, attributes; fails on tags that do not close as they opened."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, text: str) -> None:
        if "style" not in self._open:
            self.words.append(text)


def written(story: Story) -> str:
    return render(report_of(story, at=AT + timedelta(hours=1), version="0.1.0"))


def test_a_run_that_was_taken_back_says_why_and_what_was_done() -> None:
    text = Page(written(taken_back())).text
    for words in (
        "Upgrade of cluster prod: v1.27.16 → v1.28.0 ! Rolled back",
        "The cluster is back on the old version and was compared with its baseline.",
        "Change the control plane ended at 2025-03-01 02:00:17Z because: kubeadm ended with 1 cp1: not at v1.28.0",
        "The whole way: etcd's data, the files and the packages of every control plane went back together.",
        "This way was chosen because the manifests of cp1 are new.",
        "Then it was verified that ✓ a new pod and a service work on every node",
        "everything that was written through the API from 2025-03-01 02:00:00Z",
        "etcd's data as it was before, on cp1 /var/lib/etcd.old",
        "logs of that state /state/failed/r1",
        "a last snapshot of that state, on cp1 /work/r1-failed.db",
        "✗ control-plane/cp1/apply Change the control plane, 2025-03-01 02:00:13Z. The rollback began.",
        "kubeadm upgrade apply cp1 · 02:00:15Z · exit 1 · 1.0 s etcd is not well",
    ):
        assert words in text
    # Said once at the top; and a look that says no is not what failed.
    assert text.count("kubeadm ended with 1; then") == 1
    assert text.count("kubectl get pods") == 1


def test_a_run_that_completed_has_its_evidence_and_the_way_back() -> None:
    text = Page(written(completed())).text
    for words in (
        "✓ Completed The cluster runs the new version and was compared with its baseline.",
        f"SHA-256 of snapshot.db {SHA256}",
        "✓ read back equal , off the control plane, 2025-03-01 02:00:00Z ssh://nas/etcd/bundle-1",
        "✓ It restores : the snapshot was restored into a scratch etcd",
        "digest yes 0.1 s bytes 7",
        f"cd /vault/bundle-1 echo '{SHA256} snapshot.db' | sha256sum --check",
        "upgrade-guard restore bundle-1 --confirm-cluster prod",
        "# on cp1 /opt/etcd/etcdutl snapshot restore snapshot.db --data-dir=/var/lib/etcd-restored --name=cp1",
        "--initial-cluster=cp1=https://10.0.0.1:2380,cp2=https://10.0.0.2:2380",
        "--initial-advertise-peer-urls=https://10.0.0.1:2380",
        "# on cp2 etcdutl snapshot restore",
        "Upgrade? prod , by ada (prompt)",
        "47 questions were asked. These answers were not fine: warning nodes-schedulable on w1: cordoned",
        "cp1 control-plane v1.27.16 kubelet 1.27.16-1.1",
        "a budget was in the way",
        "Attempt 2 succeeded at",
        f"upgrade-guard audit verify --head {'ab' * 32}",
    ):
        assert words in text
    assert "Why it failed" not in text
    assert "takes the cluster back" not in text


def test_an_open_run_is_not_finished_and_a_step_may_be_in_doubt() -> None:
    teller = prepared()
    teller.row("control-plane/cp1/apply", Outcome.STARTED)
    text = Page(written(teller.story(**evidence()))).text
    assert "… Not finished" in text
    assert "upgrade-guard rollback takes the cluster back." in text
    assert "control-plane/cp1/apply never concluded" in text


@pytest.mark.parametrize(
    ("kind", "event", "state", "outcome", "words"),
    [
        (Kind.DRILL, Event.RUN_FAILED, State.FAILED, "failed", "Drill v1.28.0 of cluster prod ✗ Failed"),
        (Kind.BACKUP, Event.BACKUP_KEPT, State.COMPLETED, "completed", "of cluster prod ✓ Completed"),
        (Kind.UPGRADE, Event.RUN_ABORTED, State.ABORTED, "aborted", "! Given up"),
    ],
)
def test_every_kind_of_run_and_a_run_with_nothing_can_be_told(
    kind: Kind, event: Event, state: State, outcome: str, words: str
) -> None:
    teller = Teller(kind=kind)
    teller.move(event, state)
    text = Page(written(teller.story(outcome))).text
    assert words in text
    assert "How to go back" not in text


def test_a_rollback_that_was_asked_for_has_no_failure() -> None:
    teller = prepared()
    teller.move(Event.ROLLBACK_BEGUN, State.ROLLING_BACK)
    teller.move(Event.ROLLBACK_CONFIRMED, State.ROLLED_BACK)
    assert "The rollback was asked for by a person" in Page(written(teller.story("rolled-back"))).text


def test_a_restore_says_what_was_done_and_only_a_failed_one_why() -> None:
    teller = Teller(kind=Kind.RESTORE)
    teller.move(Event.BUNDLE_PROVEN, State.INSPECTED)
    teller.move(Event.ROLLBACK_BEGUN, State.ROLLING_BACK)
    teller.step("restore/cp1/swap", result={"aside": "/var/lib/etcd.old"})
    teller.move(Event.ROLLBACK_STOPPED, State.ROLLBACK_FAILED, "cp1 does not answer")
    text = Page(written(teller.story("rollback-failed"))).text
    assert "Why it failed Bring the cluster back ended at 2025-03-01 02:00:06Z because: cp1 does not answer" in text
    teller = replace(teller, moves=teller.moves[:-1], state=State.ROLLING_BACK)
    teller.step("restore/cp1/snapshot", result={"path": "/work/rollback-r1/snapshot.db"})
    teller.step("restore/verify/canary")
    teller.move(Event.RESTORE_CONFIRMED, State.RESTORED)
    text = Page(written(teller.story("restored"))).text
    assert "Why it failed" not in text
    assert "What was done The cluster was brought back from v1.28.0." in text
    assert "✓ a new pod and a service work on every node" in text
    assert "etcd's data as it was before, on cp1 /var/lib/etcd.old" in text
    assert "the snapshot that was restored, in the clear, on cp1 /work/rollback-r1/snapshot.db" in text


def test_an_edited_record_says_so_before_anything_else() -> None:
    text = Page(written(replace(completed(), edited=("row 7 (proofs) was edited",)))).text
    warning = text.index("This record was changed after it was written")
    assert text.index("Completed") < warning < text.index("Timeline")


HOSTILE = "<script>alert(1)</script>\"'>&amp;\x1b[31m\u202ex{{ 7*7 }}\n# rm -rf /"


def test_nothing_from_the_world_gets_out_of_its_place() -> None:
    teller = prepared()
    teller.step(HOSTILE, Outcome.FAILED, detail=HOSTILE, result={"aside": HOSTILE})
    teller.command(HOSTILE, HOSTILE, ended=1, stderr=HOSTILE)
    teller.step("rollback/" + HOSTILE, result={"aside": HOSTILE, "directory": HOSTILE, "kept": [HOSTILE]})
    teller.step("snapshot/save", result={"members": [{"name": HOSTILE, "peer_urls": [HOSTILE], "is_learner": False}]})
    teller.step(
        "inspect/checks",
        result={"asked": 1, "findings": [dict.fromkeys(("check", "where", "message", "hint"), HOSTILE)]},
    )
    teller.step("rollback/path", result={"path": HOSTILE, "why": HOSTILE})
    teller.move(Event.ROLLBACK_BEGUN, State.ROLLING_BACK, HOSTILE)
    found = evidence()
    story = teller.story(
        snapshots=(replace(found["snapshots"][0], bundle=HOSTILE, path=HOSTILE, snapshot_sha256=HOSTILE),),
        copies=(replace(found["copies"][0], bundle=HOSTILE, location=HOSTILE),),
        proofs=(replace(found["proofs"][0], bundle=HOSTILE, levels={HOSTILE: {"figures": {HOSTILE: HOSTILE}}}),),
        approvals=(replace(found["approvals"][0], subject=HOSTILE, by=HOSTILE),),
        nodes=(replace(found["nodes"][0], name=HOSTILE, packages={HOSTILE: HOSTILE}),),
        edited=(HOSTILE,),
    )
    run = replace(story.run, id=HOSTILE, cluster=HOSTILE, target=HOSTILE, operator=HOSTILE, host=HOSTILE)
    page = written(replace(story, run=run))
    parsed = Page(page)
    assert parsed.text.count("<script>alert(1)</script>") > 20
    assert not {"script", "img", "a", "link", "iframe", "form"} & {tag for tag, _ in parsed.tags}
    assert not {
        name for _, attributes in parsed.tags for name in attributes if name.startswith("on") or name == "style"
    }
    for invisible in ("\x1b", "\u202e"):
        assert invisible not in page
    assert "49" not in re.sub(r"[\d.]+ s|\d\d:\d\d", "", parsed.text)
    # What is to be pasted does not begin another line where a name says so.
    ways = report_of(story, at=AT, version="0.1.0").ways
    assert len(ways) == 4
    assert all(line.isprintable() for way in ways for line in way.lines)


def test_nothing_is_loaded_and_only_its_own_style_is_let_in() -> None:
    page = written(taken_back())
    assert not re.findall(r"(?:src|href|action)=|url\(|@import|https?://(?!10\.)", page)
    policy = next(attributes["content"] for tag, attributes in Page(page).tags if "http-equiv" in attributes)
    assert policy is not None
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/=]{44}'; base-uri 'none'; form-action 'none'", policy
    )


def test_it_can_be_read_on_a_phone_in_the_dark_on_paper_and_aloud() -> None:
    page = written(taken_back())
    tags = Page(page).tags
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in tags
    assert "@media (prefers-color-scheme: dark)" in page
    assert "@media print" in page
    headings = [tag for tag, _ in tags if re.fullmatch(r"h\d", tag)]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1
    names = {attributes["id"] for _, attributes in tags if "id" in attributes}
    sections = [attributes for tag, attributes in tags if tag == "section"]
    assert sections
    assert all(section["aria-labelledby"] in names for section in sections)
    assert all(attributes.get("scope") for tag, attributes in tags if tag == "th")
    assert all(attributes.get("aria-hidden") for tag, attributes in tags if tag == "svg")
