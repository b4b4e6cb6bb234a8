"""Every fixture under tests/fixtures/<tool>/: this question, that argv, this output, that value (or that error)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from unit.tools import captured

from upgrade_guard.errors import GuardError
from upgrade_guard.hosts.scripted import ScriptedHost

FIXTURES = Path(__file__).parents[2] / "fixtures"
CASES = [path for tool in sorted(captured.TOOLS) for path in sorted((FIXTURES / tool).glob("*.json"))]


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_tool_reads_what_was_captured(path: Path) -> None:
    case: dict[str, Any] = json.loads(path.read_text())
    host = ScriptedHost("cp1")
    host.answers(
        *case["argv"], stdout=case["stdout"], stderr=case.get("stderr", ""), exit_status=case.get("exit_status", 0)
    )
    if "error" in case:
        with pytest.raises(GuardError) as caught:
            captured.ask(path.parent.name, host, case["call"], case["arguments"])
        found = (caught.value.code, caught.value.message, caught.value.hint)
        assert found == (case["error"], case["message"], case.get("hint", ""))
    else:
        assert captured.plain(captured.ask(path.parent.name, host, case["call"], case["arguments"])) == case["value"]
    assert host.argvs == [tuple(case["argv"])]


def test_every_tool_has_captured_cases() -> None:
    assert {path.parent.name for path in CASES} == set(captured.TOOLS)
