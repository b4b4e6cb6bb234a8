"""YAML that takes longer to read than anybody waits is refused for its size, its depth or its number of values."""

from __future__ import annotations

import time

import pytest

from upgrade_guard.tools.plain_yaml import plain_yaml

SLOW = {
    "a flow list": "[" + "a," * 200_000 + "a]",
    "a flow list deep down": "[" * 200 + "a," * 150_000 + "a" + "]" * 200,
    "a block list": "- a\n" * 100_000,
    "a block list deep down": "".join(f"{' ' * depth}a:\n" for depth in range(60)) + f"{' ' * 60}- a\n" * 5_000,
    "empty values": "{" + "?," * 100_000 + "}",
    "a long text": f'a: "{"b" * 5_000_000}"',
    "comments": "# c\n" * 1_000_000,
}


@pytest.mark.parametrize("text", SLOW.values(), ids=SLOW)
def test_what_takes_long_to_read_is_refused(text: str) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match=r"it has more than|it nests more than|it is larger than 256 KiB"):
        plain_yaml(text)
    assert time.process_time() - began < 5.0


def test_the_largest_that_is_ordinary_is_read() -> None:
    text = "".join(f"- name: n{number}\n  value: [1, 2]\n" for number in range(1_500))
    assert len(plain_yaml(text)) == 1_500
