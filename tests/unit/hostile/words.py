"""What nobody should have to read from the world: control characters, markup, options, traversal, megabytes."""

from __future__ import annotations

import json

from hypothesis import strategies as st

ESCAPES = (
    "\x1b[2J\x1b[31mred",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\r\rover",
    "\x08\x08\x08",
    "a\u202eb\u2066c",
    "\u2028next",
    "\x00",
    "\x7f",
)
MARKUP = (
    "[bold red]x[/]",
    "[link=http://a]b[/link]",
    "<script>alert(1)</script>",
    "&lt;b&gt;",
    "%s{0}{name}",
    "${HOME}",
)
SHELL = ("$(touch /tmp/x)", "`id`", "; rm -rf /", "| cat", "a\nb", "'\"\\", "~root", "*?[a]")
OPTIONS = ("-rf", "--help", "--kubeconfig=/etc/x", "-oProxyCommand=id", "@-", "-")
PATHS = ("../../etc/passwd", "/etc/passwd", "a/../../b", ".", "..", "//", "a//b", "a\\..\\b", "\ufffd")
NUMBERS = ("9" * 5000, "-1", "1e999", "0x10", "NaN", "Infinity", "1_0", "\u0663", "\u00b2", "0.1.2.3.4")
LONG = ("A" * 1_000_000, '{"a":' * 5_000, "[" * 5_000, '"' * 20_000, "\n" * 100_000, "- " * 5_000, "|" * 100_000)
# Nine lists that each hold the one before nine times: small until somebody writes it out.
BOMB = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9 if n else ['lol'])}]\n" for n in range(10))
MANIFESTS = (
    f"{BOMB}spec: {{containers: [{{name: *x9, image: *x9, command: *x9, args: [--a, *x9], volumeMounts: *x9}}]}}\n",
    f"{BOMB}spec: {{containers: [{{name: *x9, image: a, command: [x], env: *x9}}], volumes: *x9}}\n",
    "spec: {containers: [{image: a, command: [x, '--listen-client-urls=-oProxyCommand=id', --name=../../x]}]}\n",
    "spec: {containers: [{image: !!python/object/apply:os.system [id], command: [x]}]}\n",
    "a: b\n---\nc: d\n",
    "spec: {containers: [{image: 1.27, command: [2001-01-01, 0x1f, .nan, null]}]}\n",
)
ODD = (*ESCAPES, *MARKUP, *SHELL, *OPTIONS, *PATHS, *NUMBERS, *MANIFESTS)

JSON_SHAPES = st.text('{}[]",:\\\n 09aE|-.', max_size=60)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.sampled_from(ODD),
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
TEXT = st.one_of(
    st.text(max_size=80),
    st.text(st.characters(codec=None, categories=("Cc", "Cf", "Cs", "Nd", "Lu", "Po")), max_size=40),
    JSON_SHAPES,
    st.sampled_from(ODD),
    st.sampled_from((*ODD, *LONG)).map(lambda word: f"one {word} two\n{word}\n"),
    ANYTHING.map(json.dumps),
)
