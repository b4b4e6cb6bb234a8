"""How a command reaches a machine: local, ssh, scripted."""
