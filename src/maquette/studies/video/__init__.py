"""Studies of video models."""
