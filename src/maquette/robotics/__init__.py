"""Robots: datasets of what they did, policies that learn from them, and how good those are."""
