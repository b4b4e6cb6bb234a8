"""Questions: answered by keys, by flags, or refused with the flag's name where nobody can answer."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from upgrade_guard.errors import DecisionNeeded
from upgrade_guard.model.run import ApprovalRecord
from upgrade_guard.ui.prompts import Prompts

AT = datetime(2025, 3, 1, 2, 14, tzinfo=UTC)


def prompts(*, interactive: bool = True) -> Prompts:
    return Prompts(interactive, io.StringIO(), lambda: AT, by="ada")


def typed(keys: str, ask: Callable[[], object]) -> object:
    """Ask while a person types those keys."""
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        pipe.send_text(keys)
        return ask()


def test_a_yes_is_an_approval_by_a_person_at_the_prompt() -> None:
    asking = prompts()
    said = typed("yes\r", lambda: asking.approve("Upgrade?", "kubelet\tv1.27 -> v1.28", "plan/approve"))
    assert said == ApprovalRecord("Upgrade?", "ada", "prompt", "yes", AT)
    assert isinstance(asking.to, io.StringIO)
    assert asking.to.getvalue().startswith("kubelet v1.27 -> v1.28\n")


def test_no_and_plain_enter_are_no() -> None:
    for keys in ("no\r", "\r", "y\r"):
        with pytest.raises(DecisionNeeded, match="not approved: Upgrade"):
            typed(keys, lambda: prompts().approve("Upgrade?", "", "plan/approve"))


def test_ctrl_c_is_an_interrupt_and_not_a_no() -> None:
    with pytest.raises(KeyboardInterrupt):
        typed("\x03", lambda: prompts().approve("Upgrade?", "", "plan/approve"))


def test_a_flag_answers_without_asking() -> None:
    said = prompts(interactive=False).approve("Upgrade?", "", "plan/approve", flag="--yes")
    assert said == ApprovalRecord("Upgrade?", "ada", "--yes", "yes", AT)


def test_without_a_terminal_the_flag_is_named() -> None:
    nobody = prompts(interactive=False)
    questions: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: nobody.approve("Upgrade?", "", "plan/approve"), "upgrade-guard resume --yes"),
        (lambda: nobody.confirm("Close?", flag="", hint="upgrade-guard abort --yes"), "upgrade-guard abort --yes"),
        (lambda: nobody.confirm_cluster("prod", "20 writes", given=None, hint="… --confirm-cluster prod"), "prod"),
        (lambda: nobody.choose("Which?", [("v1.28.0", "next")], hint="upgrade-guard run v1.28.0"), "run v1.28.0"),
    )
    for ask, flag in questions:
        with pytest.raises(DecisionNeeded) as needed:
            ask()
        assert flag in needed.value.hint


def test_losing_writes_takes_the_clusters_name() -> None:
    said = typed("prod\r", lambda: prompts().confirm_cluster("prod", "20 writes", given=None, hint="h"))
    assert said == ApprovalRecord("20 writes", "ada", "prompt", "prod", AT)
    for keys in ("prd\r", "y\r", "\r"):
        with pytest.raises(DecisionNeeded, match="is not the cluster's name"):
            typed(keys, lambda: prompts().confirm_cluster("prod", "20 writes", given=None, hint="h"))


def test_the_flag_must_name_the_right_cluster() -> None:
    said = prompts(interactive=False).confirm_cluster("prod", "20 writes", given="prod", hint="h")
    assert said.how == "--confirm-cluster"
    with pytest.raises(DecisionNeeded, match="says 'test', but the cluster is 'prod'"):
        prompts().confirm_cluster("prod", "20 writes", given="test", hint="h")


def test_a_version_is_chosen_with_the_arrows() -> None:
    offered = [("v1.28.1", "next minor"), ("v1.27.17", "newest patch of this minor")]
    assert typed("\x1b[B\r", lambda: prompts().choose("Which?", offered, hint="h")) == "v1.27.17"


def test_a_live_display_is_taken_aside_while_asking() -> None:
    seen: list[str] = []

    class Aside:
        def __enter__(self) -> None:
            seen.append("aside")

        def __exit__(self, *_: object) -> None:
            seen.append("back")

    asking = Prompts(True, io.StringIO(), lambda: AT, by="ada", aside=Aside)
    typed("y", lambda: asking.confirm("Go on?", flag="", hint="h"))
    assert seen == ["aside", "back"]
