"""A cluster's machines: how each is reached, and the tools bound to it."""
