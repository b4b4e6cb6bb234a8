"""The state machine and the loop that believes only what it has seen; knows neither Kubernetes nor SQL."""
