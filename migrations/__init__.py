"""How the journal's tables came to be, one file for each change; shipped as `upgrade_guard.migrations`."""
