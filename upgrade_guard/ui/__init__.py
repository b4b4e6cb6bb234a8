"""Words for people: console, prompts, stage card."""
