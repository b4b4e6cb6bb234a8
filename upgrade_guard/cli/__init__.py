"""The front door: parse, wire, call, exit."""
