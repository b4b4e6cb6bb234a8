"""The story never waits for its reader; the answer survives a reader that left; problems end in what to type."""

from __future__ import annotations

import io
import os

from rich.console import Console

from upgrade_guard.ui.console import open_screen, told
from upgrade_guard.ui.nonblocking_stream import PatientStream, patient


def test_a_reader_that_stopped_reading_does_not_stop_the_writer() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        story = PatientStream(stream, limit=100_000)
        story.write("x" * 90_000)  # a pipe holds 64 KiB: an ordinary stream would wait here for ever
        assert story.settle(0.01) is False
        for _ in range(50):
            story.write("x" * 20_000)
        os.close(reading)  # the writing thread wakes with a broken pipe
        assert story.settle(60) is True
        assert story.write("nobody hears") == len("nobody hears")


def test_what_was_dropped_is_owned_up_to_and_the_newest_is_kept() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb", buffering=0) as reader:
        story = PatientStream(stream, limit=100_000)
        story.write("first " + "x" * 90_000)
        heard = reader.read(1)  # from here on the first text is on its way, and the pipe is full
        for number in range(50):
            story.write(f"{number:05d} " + "x" * 20_000 + "\n")
        while not heard.endswith(b"00049 " + b"x" * 20_000 + b"\n"):
            heard += reader.read(65536)
        assert story.settle(60) is True
    assert b"the terminal did not take it in time" in heard
    assert heard.startswith(b"first " + b"x" * 90_000 + b"\r\n[")
    assert b"00000" not in heard


def test_a_reader_that_reads_gets_everything_in_order() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="ascii") as stream, os.fdopen(reading, "rb", buffering=0) as reader:
        story = patient(stream)
        assert isinstance(story, PatientStream)
        story.write("one ")
        story.write("zw\u00f6lf\n")
        assert story.settle(60) is True
        assert reader.read(100) == b"one zw\\xf6lf\n"
        assert (story.isatty(), story.encoding) == (False, "ascii")


def test_a_buffer_stays_as_it_is() -> None:
    buffer = io.StringIO()
    assert patient(buffer) is buffer


def test_a_pipe_gets_long_lines_and_no_colors() -> None:
    out, err = io.StringIO(), io.StringIO()
    screen = open_screen(stdout=out, stderr=err)
    screen.answer.print("word " * 30, style="bold red")
    screen.tell("[bold]not markup[/bold] :smile:", style="red")
    screen.settle()
    assert out.getvalue() == "word " * 30 + "\n"
    assert err.getvalue() == "[bold]not markup[/bold] :smile:\n"
    assert screen.live is False


def test_a_problem_is_told_once_and_ends_with_what_to_type() -> None:
    console = Console(file=io.StringIO(), width=40, markup=False, highlight=False)
    told(
        console,
        "kubeadm on cp1 ended with 1: FATAL: not ready",
        word="Failed",
        said="FATAL: not ready\n\n",
        reasons=("kubeadm on cp1 ended with 1: FATAL: not ready", "the API server does not answer"),
        standing="Run r stands at planned.\nLog: /var/lib/log",
        hint="upgrade-guard resume --yes --no-auto-rollback --config /etc/some/where.toml",
    )
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "Failed: kubeadm on cp1 ended with 1: FATAL: not ready",
        "  - the API server does not answer",
        "Run r stands at planned.",
        "Log: /var/lib/log",
        "Next: upgrade-guard resume --yes --no-auto-rollback --config /etc/some/where.toml",
    ]
