"""`python -m upgrade_guard`."""

from __future__ import annotations

from upgrade_guard.cli.main import main

main()
