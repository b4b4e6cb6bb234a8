"""Values; no I/O."""
