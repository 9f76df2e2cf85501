"""Data for post-training: lines of JSON, and which of their tokens are learned.

{"prompt": …, "completion": …}     text and text, or messages and the assistant's answer
{"messages": […]}                  a conversation whose last message, the assistant's, is learned
{"prompt": …, …}                   for rewards, with whatever else the reward function reads
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.language.posttrain.policy import Policy, message_of

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Example:
    """Tokens of a prompt and of its reply; only the reply is learned."""

    prompt: tuple[int, ...]
    reply: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.reply)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSON-lines file.

    Raises:
        UserError: it is missing, empty, or a line is no JSON object: the line is named.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; check the path.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error}); give a file of JSON lines.") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number} is not JSON ({error}); mend or delete it.") from error
        if not isinstance(row, dict):
            raise UserError(f'{path}, line {number} is no object; give lines such as {{"prompt": "…"}}.')
        if not _is_text(row):
            raise UserError(f"{path}, line {number} holds half of a surrogate pair; give whole characters.")
        rows.append(row)
    if not rows:
        raise UserError(f'{path} holds no rows; give lines such as {{"prompt": "…"}}.')
    return rows


def _is_text(row: Mapping[str, Any]) -> bool:
    """Whether all that a row says can be written as UTF-8; JSON may hold what cannot."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def prompt_of(row: Row) -> Any:
    """What a row asks: its `prompt`, or its `messages` without a last one by the assistant.

    Raises:
        UserError: it has neither.
    """
    if "prompt" in row:
        return row["prompt"]
    messages = row.get("messages")
    if isinstance(messages, Sequence) and not isinstance(messages, str) and messages:
        last = message_of(messages[-1])
        return messages[:-1] if last.role == "assistant" else messages
    raise UserError(f"A row has neither prompt nor messages, but {', '.join(row) or 'nothing'}: {str(row)[:60]}")


def reply_of(row: Row) -> str:
    """The reply to learn.

    Raises:
        UserError: there is none.
    """
    if "completion" in row:
        said = row["completion"]
        if isinstance(said, str):
            return said
        one = said[0] if isinstance(said, Sequence) and len(said) == 1 else said
        if isinstance(one, Mapping) and message_of(one).role == "assistant":
            return message_of(one).content
        raise UserError(f"completion = {str(said)[:60]!r}: give text, or one message of the assistant.")
    if row.get("messages") and (last := message_of(row["messages"][-1])).role == "assistant":
        return last.content
    raise UserError(f"A row has no reply to learn (completion, or a last message of the assistant): {str(row)[:60]}")


def examples_of(rows: Sequence[Row], policy: Policy) -> list[Example]:
    """Every row as tokens.

    Raises:
        UserError: a row has no prompt or no reply; its number is told.
    """
    found = []
    for number, row in enumerate(rows, 1):
        try:
            found.append(Example(prompt=tuple(policy.ask(prompt_of(row))), reply=tuple(policy.reply(reply_of(row)))))
        except UserError as error:
            raise UserError(f"Row {number}: {error}") from error
    return found
