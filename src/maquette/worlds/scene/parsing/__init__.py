"""Frames read back into state, by analysis and synthesis; what cannot be explained is rejected."""
