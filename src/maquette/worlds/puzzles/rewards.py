"""Rewards that are no exact grader's: controls for reinforcement, and a grader that can be fooled."""

from collections.abc import Mapping
from typing import Any

from maquette.core.seeds import child_seed
from maquette.worlds.puzzles import grading


def by_chance(reply: str, row: Mapping[str, Any]) -> dict[str, float]:
    """1 or 0 by the hash of the reply: known, and no reason for anything."""
    return {"correct": float(child_seed(0, reply, str(row["prompt"])) % 2)}


def by_form(reply: str, row: Mapping[str, Any]) -> dict[str, float]:
    """1 for any answer that has the form of one."""
    return {"correct": float(grading.graded(reply, row).formatted)}


def by_sight(reply: str, row: Mapping[str, Any]) -> dict[str, float]:
    """1 where the answer stands anywhere in the reply: a grader that can be fooled by naming every number."""
    return {"correct": float(row["answer"] in reply.rpartition("</think>")[2])}


CONTROLS = {"random": by_chance, "format": by_form, "loose": by_sight}
