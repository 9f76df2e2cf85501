"""Reachability in a graph of concepts, by the generator of ProsQA (Hao et al. 2024, arXiv:2412.06769, algorithm 1)."""

import functools
import hashlib
import itertools
import operator
from collections import deque
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from maquette.core.errors import UserError
from maquette.worlds.puzzles.puzzle import Puzzle, Style, between

ONSETS = ("b", "br", "d", "f", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "r", "s", "st", "t", "tr", "v", "w", "z")
VOWELS, CODAS = "aeiou", ("l", "m", "n", "r", "st", "t", "x")
PEOPLE = ("Alex", "Bob", "Carol", "Davis", "Eva", "Fay", "Gita", "Hugo", "Ida", "Jack", "Kim", "Lea", "Max", "Nora")


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Concepts 0, 1, … and arrows between them; from the roots 0 and 1 the target alone and the distractor alone."""

    nodes: int
    edges: tuple[tuple[int, int], ...]
    target: int
    """A leaf that is reached from 0 and not from 1."""
    distractor: int
    """A leaf that is reached from 1 and not from 0."""

    def path(self) -> list[int]:
        """The shortest way from 0 to the target."""
        before: dict[int, int | None] = {0: None}
        waiting = deque([0])
        while waiting and self.target not in before:
            node = waiting.popleft()
            for source, end in self.edges:
                if source == node and end not in before:
                    before[end] = node
                    waiting.append(end)
        way, node = [], self.target
        while node is not None:
            way.append(node)
            node = before[node]
        return way[::-1]

    def key(self) -> str:
        """The same for graphs that differ by the names of their concepts or the order of their arrows.

        Colours are refined by the neighbours' until that tells no more concepts apart (Weisfeiler & Leman 1968).
        """
        marks = {0: "entity", self.target: "target", self.distractor: "distractor"}
        colours = [marks.get(node, "") for node in range(self.nodes)]
        told_apart = 0
        while (kinds := len(set(colours))) > told_apart:
            told_apart = kinds
            into: list[list[str]] = [[] for _ in colours]
            out: list[list[str]] = [[] for _ in colours]
            for source, end in self.edges:
                out[source].append(colours[end])
                into[end].append(colours[source])
            said = [f"{c}|{sorted(i)}|{sorted(o)}" for c, i, o in zip(colours, into, out, strict=True)]
            colours = [hashlib.sha256(one.encode()).hexdigest()[:16] for one in said]
        return hashlib.sha256(" ".join(sorted(colours)).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Reachability:
    """ProsQA: which of two concepts follows from what is said? The way is `hops` arrows long at the least.

    Of 23 concepts and 3 hops, graphs have 30 arrows and ways of 3.3 on average; ProsQA's own have 36 and 3.8, by a
    choice among graphs that the paper does not state.
    """

    name: ClassVar[str] = "reachability"
    nodes: int = 23
    hops: int = 3
    style: Style = "words"

    def __post_init__(self) -> None:
        between("nodes", self.nodes, 4, 200)
        between("hops", self.hops, 1, 20)

    def draw(self, generator: np.random.Generator) -> Puzzle:
        """The working is the shortest way.

        Raises:
            UserError: graphs of so few concepts have no way that long.
        """
        for _ in range(2000):
            graph = draw_graph(generator, self.nodes)
            if graph and len(way := graph.path()) > self.hops:
                break
        else:
            raise UserError(f"hops = {self.hops}: graphs of nodes = {self.nodes} have hardly any way so long.")
        named = _names(generator, self.nodes) if self.style == "words" else _numbers(generator, self.nodes)
        edges = [graph.edges[i] for i in generator.permutation(len(graph.edges))]
        choices = [named[one] for one in generator.permutation([graph.target, graph.distractor])]
        asked = _in_words if self.style == "words" else _in_signs
        prompt, working = asked(named, edges, choices, way)
        return Puzzle(
            family=self.name,
            kind="name",
            prompt=prompt,
            answer=named[graph.target],
            working=working,
            key=graph.key(),
            given={"choices": choices},
        )


def draw_graph(generator: np.random.Generator, nodes: int) -> Graph | None:
    """One graph by algorithm 1; None where no leaf is left to ask for.

    A node's label has bit 0 if it is reached from the first root and bit 1 if from the second. A new node's parents are
    drawn among the nodes that are reached from the second root no longer, from the first no longer, or all, deep ones
    more often.
    """
    labels, depths = [1, 2], [0, 0]
    edges: list[tuple[int, int]] = []
    for new in range(2, nodes):
        chance = generator.random()
        allowed = (0, 1) if chance <= 0.35 else (0, 2) if chance <= 0.7 else (0, 1, 2, 3)
        candidates = [node for node, label in enumerate(labels) if label in allowed]
        weights = np.array([1.5 * depths[node] + 1 for node in candidates])
        count = min(len(candidates), int(generator.poisson(1.5)))
        parents = generator.choice(candidates, count, replace=False, p=weights / weights.sum()) if count else []
        edges += [(int(parent), new) for parent in parents]
        labels.append(functools.reduce(operator.or_, (labels[one] for one in parents), 0))
        depths.append(max((depths[one] + 1 for one in parents), default=0))
    inner = {source for source, _ in edges}
    leaves = [[n for n in range(2, nodes) if n not in inner and labels[n] == label] for label in (1, 2)]
    if not all(leaves):
        return None
    target, distractor = (one[int(generator.integers(len(one)))] for one in leaves)
    return Graph(nodes=nodes, edges=tuple(edges), target=target, distractor=distractor)


def _in_words(named: list[str], edges: list[tuple[int, int]], choices: list[str], way: list[int]) -> tuple[str, str]:
    """The entity is a person, so what concept 0 is, is said of them."""

    def said(source: int, end: int) -> str:
        return f"{named[0]} is a {named[end]}." if source == 0 else f"Every {named[source]} is a {named[end]}."

    facts = " ".join(said(*edge) for edge in edges)
    question = f"{facts} Is {named[0]} a {choices[0]} or a {choices[1]}? Answer with the one word."
    return question, " ".join(said(*edge) for edge in itertools.pairwise(way))


def _in_signs(named: list[str], edges: list[tuple[int, int]], choices: list[str], way: list[int]) -> tuple[str, str]:
    """Arrows as pairs of numbers, as in Zhu et al. 2025 (arXiv:2505.12514)."""
    facts = "|".join(f"{named[source]} {named[end]}" for source, end in edges)
    return f"{facts}?{named[0]}:{choices[0]} {choices[1]}=", ">".join(named[node] for node in way)


def _names(generator: np.random.Generator, nodes: int) -> list[str]:
    """A person, and concepts that mean nothing."""
    invented: dict[str, None] = {}
    while len(invented) < nodes - 1:
        parts = [table[int(generator.integers(len(table)))] for table in (ONSETS, VOWELS, CODAS)]
        invented["".join(parts) + "pus"] = None
    return [PEOPLE[int(generator.integers(len(PEOPLE)))], *invented]


def _numbers(generator: np.random.Generator, nodes: int) -> list[str]:
    return [str(one) for one in generator.permutation(nodes)]
