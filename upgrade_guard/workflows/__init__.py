"""Which phases follow in each kind of run, and what a failure is answered with."""
