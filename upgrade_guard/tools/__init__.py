"""One file per program: argv and parser, typed."""
