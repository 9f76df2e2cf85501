"""Rewards: for the answer alone, and for reasons that are none; a grader that can be fooled."""

from collections.abc import Mapping
from typing import Any

from maquette.core.seeds import child_seed
from maquette.worlds.puzzles import grading
from maquette.worlds.puzzles.expressions import Malformed


def by_answer(reply: str, row: Mapping[str, Any]) -> dict[str, float]:
    """1 for a right answer, and nothing for anything else."""
    return {"correct": float(grading.graded(reply, row).correct)}


def by_chance(reply: str, row: Mapping[str, Any]) -> dict[str, float]:
    """1 or 0 by a toss for each reply (Shao et al. 2025, arXiv:2506.10947): there is nothing to learn from it."""
    return {"correct": float(child_seed(0, "toss", row.get("draw", 0), reply) % 2)}


def by_form(reply: str, row: Mapping[str, Any]) -> dict[str, float]:
    """1 for any answer that has the form of one."""
    return {"correct": float(grading.graded(reply, row).formatted)}


def by_sight(reply: str, row: Mapping[str, Any]) -> dict[str, float]:
    """1 where the right answer stands anywhere behind the thought: a grader that can be fooled by naming many."""
    try:
        answer = grading.answer_in(reply)
    except Malformed:
        return {"correct": 0.0}
    return {"correct": float(row["answer"] in answer)}


CONTROLS = {"random": by_chance, "format": by_form, "loose": by_sight}
