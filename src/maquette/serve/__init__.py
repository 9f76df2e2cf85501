"""Servers: what a model here can do, behind the API that other people's clients speak."""
