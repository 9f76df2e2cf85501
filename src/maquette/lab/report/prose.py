"""Prose as a tree: Markdown in, the same nodes for the page, the paper and the slides.

A node is a dict ready for JSON: its `kind` is markdown-it's name, `body` its nodes, `text` its own text. `@fig:forest`,
`@tab:claims` and `@sec:criticism` refer to what the report holds under these labels, `@ref:holm` to a source.
"""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.tree import SyntaxTreeNode
from markupsafe import Markup, escape

from maquette.core.errors import UserError, did_you_mean

Node = dict[str, Any]
_REFERENCE = re.compile(r"@(\w+:\w+(?:-\w+)*)")
_SMALL = re.compile(r"(?<=\b[A-Za-z])_([a-z]{1,5})\b|(?<=[A-Za-z0-9)])\^([−-]?\d+(?:\.\d+)?|[a-z]\b)")
"""N_opt and C^0.5 as people type them."""
_TAGS = {
    "paragraph": "p",
    "bullet_list": "ul",
    "ordered_list": "ol",
    "list_item": "li",
    "blockquote": "blockquote",
    "strong": "strong",
    "em": "em",
    "code_inline": "code",
    "sub": "sub",
    "sup": "sup",
}
_ALONE = {"softbreak": Markup("\n"), "hardbreak": Markup("<br>"), "hr": Markup("<hr>")}


@dataclass(frozen=True, kw_only=True)
class Discussion:
    """The part of a report that is its author's own."""

    path: Path
    title: str
    blocks: Sequence[Node]


def parse(markdown: str) -> list[Node]:
    """Markdown's blocks; raw HTML is text."""
    return _nodes(SyntaxTreeNode(_reader().parse(markdown)))


def literal(text: str) -> str:
    """Text as Markdown that says just this."""
    return re.sub(r"([!#-&(-/:-@\[-`{-~])", r"\\\1", text)


def words(text: str) -> list[Node]:
    """Inline nodes of text that is no Markdown, with the typographer's quotes."""
    blocks = parse(literal(text.strip()))
    return blocks[0]["body"] if blocks else []


def read_discussion(path: Path) -> Discussion:
    """A Markdown file; its only heading of the first level, where it begins with one, becomes the title.

    Raises:
        UserError: the file is missing, unreadable, empty, no UTF-8, or holds an image.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"--discussion {path} does not exist; check the path.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"--discussion {path} is not UTF-8 text; save it as UTF-8.") from error
    except OSError as error:
        raise UserError(f"--discussion {path} cannot be read: {error.strerror}; give a Markdown file.") from error
    blocks = parse(text)
    if not blocks:
        raise UserError(f"--discussion {path} is empty; write your part of the report into it.")
    if image := next((node for node in walk(blocks) if node["kind"] == "image"), None):
        raise UserError(
            f"--discussion {path} holds an image, {image['url']!r}; leave it out and refer to the report's figures."
        )
    first = [node for node in blocks if node["kind"] == "heading" and node["level"] == 1]
    titled = len(first) == 1 and blocks[0] is first[0] and len(blocks) > 1
    title = plain_text(blocks[0]["body"]) if titled else "Discussion"
    return Discussion(path=path, title=title, blocks=_raised(blocks[1:] if titled else blocks))


def check_references(discussion: Discussion, known: Mapping[str, str]) -> None:
    """See that the report holds whatever the discussion refers to.

    Raises:
        UserError: it does not.
    """
    for node in walk(discussion.blocks):
        if node["kind"] == "reference" and node["text"] not in known:
            hint = did_you_mean(node["text"], known)
            raise UserError(f"--discussion {discussion.path} refers to @{node['text']}, which is not there; {hint}")


def walk(nodes: Sequence[Node]) -> Iterator[Node]:
    """All nodes, each before those in it."""
    for node in nodes:
        yield node
        yield from walk(node["body"])


def plain_text(nodes: Sequence[Node]) -> str:
    """The words alone."""
    return "".join(" " if node["kind"].endswith("break") else node["text"] for node in walk(nodes))


def points(blocks: Sequence[Node]) -> list[Node]:
    """What of it goes on slides: headings, the items of lists, and each paragraph's beginning, if it opens no list."""
    found: list[Node] = []
    for node, after in zip(blocks, [*blocks[1:], None], strict=True):
        if node["kind"] == "heading":
            found.append(node)
        elif node["kind"].endswith("list"):
            found += node["body"]
        elif node["kind"] == "paragraph" and not (
            after and after["kind"].endswith("list") and plain_text(node["body"]).rstrip().endswith(":")
        ):
            found.append({**node, "kind": "list_item", "body": _first_sentence(node["body"])})
    return found


def to_html(nodes: Sequence[Node], names: Mapping[str, str], anchor: str = "") -> Markup:
    """HTML; `names` says what to call what is referred to, and `anchor` precedes each label in the page's own ids."""
    return Markup("").join(_html(node, names, anchor) for node in nodes)


def _html(node: Node, names: Mapping[str, str], anchor: str) -> Markup:
    kind, body = node["kind"], to_html(node["body"], names, anchor)
    if kind in _ALONE:
        return _ALONE[kind]
    if kind == "heading":
        return Markup("<h{0}>{1}</h{0}>").format(min(node["level"] + 2, 6), body)
    if kind in ("fence", "code_block"):
        return Markup("<pre>{}</pre>").format(node["text"].rstrip())
    if kind == "link":
        return Markup('<a href="{}">{}</a>').format(node["url"], body)
    if kind == "reference":
        label = node["text"]
        return Markup('<a href="#{}">{}</a>').format(anchor + label, names.get(label, label))
    if kind in _TAGS:
        return Markup("<{0}>{1}{2}</{0}>").format(_TAGS[kind], escape(node["text"]), body)
    return escape(node["text"]) + body


@functools.cache
def _reader() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"html": False, "typographer": True}).enable(["replacements", "smartquotes"])
    reader.inline.ruler.before("escape", "reference", _reference)
    return reader


def _reference(state: StateInline, silent: bool) -> bool:
    found = _REFERENCE.match(state.src, state.pos)
    if not found or (state.pos and state.src[state.pos - 1].isalnum()):
        return False
    if not silent:
        state.push("reference", "", 0).content = found[1]
    state.pos = found.end()
    return True


def _nodes(parent: SyntaxTreeNode) -> list[Node]:
    """The nodes in another; those that are not there to be seen give way to theirs."""
    found: list[Node] = []
    for node in parent.children:
        if node.type == "inline" or (node.type == "paragraph" and node.hidden):
            found += _nodes(node)
        elif node.type == "text":
            found += _text(node.content)
        else:
            found.append({"kind": node.type, "text": "" if node.children else node.content, "body": _nodes(node)})
            found[-1] |= _details(node)
    return found


def _text(words: str) -> list[Node]:
    """Text with its subscripts and superscripts apart, and its per cents held to their numbers."""
    words = re.sub(r"(?<=\d) %", "\u00a0%", words)
    found, start = [], 0
    for match in _SMALL.finditer(words):
        found.append({"kind": "text", "text": words[start : match.start()], "body": []})
        found.append({"kind": "sub" if match[1] else "sup", "text": match[1] or match[2], "body": []})
        start = match.end()
    return [*found, {"kind": "text", "text": words[start:], "body": []}]


def _details(node: SyntaxTreeNode) -> Node:
    if node.type == "heading":
        return {"level": int(node.tag[1])}
    if node.type == "ordered_list":
        return {"start": node.attrs.get("start", 1)}
    return {"url": node.attrs["href" if node.type == "link" else "src"]} if node.type in ("link", "image") else {}


def _raised(blocks: Sequence[Node]) -> list[Node]:
    """The same with headings from the first level on."""
    highest = min((node["level"] for node in blocks if node["kind"] == "heading"), default=1)
    return [{**node, "level": node["level"] - highest + 1} if node["kind"] == "heading" else node for node in blocks]


def _first_sentence(nodes: Sequence[Node]) -> list[Node]:
    """Inline nodes up to the end of a sentence."""
    kept: list[Node] = []
    for node in nodes:
        end = re.search(r"[.!?](?=\s+[A-Z]|$)", node["text"]) if node["kind"] == "text" else None
        if end:
            return [*kept, {**node, "text": node["text"][: end.end()]}]
        kept.append(node)
    return kept
