"""Diffusion and flow: one family of noise paths, what a network may predict on them, and how to walk them back."""
