"""Studies of language models."""
