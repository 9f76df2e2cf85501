"""Where data comes from, raw."""
