"""The drawing of the layers for docs/design.md, from the imports as they are."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import networkx


def drawing(package: Path, trees: Mapping[Path, ast.Module]) -> str:
    """A Mermaid flowchart of a package's folders; an arrow that a longer way says too is left out."""
    layers = {
        file.parent.name: tree for file, tree in trees.items() if file == package / file.parent.name / "__init__.py"
    }
    graph = networkx.DiGraph()
    graph.add_nodes_from(layers)
    for file, tree in trees.items():
        layer = file.relative_to(package).parts[0]
        if layer in layers:
            graph.add_edges_from(
                (layer, name) for name in imported(tree, package.name) if name in layers and name != layer
            )
    lines = ["```mermaid", "flowchart TD"]
    lines += [f'    {name}["<b>{name}</b><br/>{in_short(tree)}"]' for name, tree in sorted(layers.items())]
    lines += [f"    {upper} --> {lower}" for upper, lower in sorted(networkx.transitive_reduction(graph).edges)]
    return "\n".join([*lines, "```"])


def imported(tree: ast.Module, package: str) -> Iterator[str]:
    """What a file imports from the package, by the names that stand directly below it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == package:
            yield from (alias.name for alias in node.names)
            continue
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for parts in (name.split(".") for name in modules):
            yield from parts[1:2] if parts[0] == package else ()


def in_short(tree: ast.Module) -> str:
    """What a folder says of itself, up to its first stop."""
    return (ast.get_docstring(tree) or "").partition("\n")[0].partition(". ")[0].rstrip(".")
