"""The scene world in words: what a generator says of a state, and what an interpreter of its own makes of it."""
