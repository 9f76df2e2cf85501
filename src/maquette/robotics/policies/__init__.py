"""Policies: what a robot sees and feels in, a chunk of actions out."""
