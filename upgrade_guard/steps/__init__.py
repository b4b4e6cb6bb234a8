"""The steps that runs are made of: each looks at the world, acts, and looks again."""
