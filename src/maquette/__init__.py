"""Maquette: a laboratory of small, faithful models of today's foundation models."""

__version__ = "0.1.0"
