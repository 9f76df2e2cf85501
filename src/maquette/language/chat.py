"""Chat templates: conversations as the text a model was trained on, by the folder's own template in a sandbox."""

import datetime
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from maquette.core.errors import UserError
from maquette.core.files import read_json, replacing
from maquette.language.interface import Message

PLAIN = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""The template of models that are trained here."""


@dataclass(frozen=True, kw_only=True)
class ChatTemplate:
    """A Jinja template and the special tokens it may name."""

    source: str
    tokens: Mapping[str, str] = field(default_factory=dict)
    """`bos_token`, `eos_token` and the like, as text."""

    def __post_init__(self) -> None:
        try:
            self._compiled()
        except jinja2.TemplateError as error:
            raise UserError(
                f"The chat template is malformed: {str(error).rstrip('.')}; restore it from a copy."
            ) from error

    def render(self, messages: Sequence[Message]) -> str:
        """The conversation, and what makes the assistant answer; a last message of the assistant's own is gone on from.

        Raises:
            UserError: no messages, or the template refuses them.
        """
        if not messages:
            raise UserError("A conversation without messages: give at least one.")
        prefill = messages[-1].role == "assistant"
        text = self._rendered(messages, add_generation_prompt=not prefill)
        if not prefill:
            return text
        last = messages[-1].content.strip()
        place = text.rfind(last)
        if place < 0:
            raise UserError("The chat template changes the last message, so the assistant cannot go on from it.")
        return text[: place + len(last)]

    def render_closed(self, messages: Sequence[Message]) -> str:
        """The conversation as a model is trained on it: every message closed, nothing asked for.

        Raises:
            UserError: the template refuses it.
        """
        return self._rendered(messages, add_generation_prompt=False)

    def _rendered(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        try:
            return self._compiled().render(
                messages=[{"role": one.role, "content": one.content} for one in messages],
                add_generation_prompt=add_generation_prompt,
                raise_exception=_refuse,
                strftime_now=datetime.datetime.now().strftime,
                **self.tokens,
            )
        except Exception as error:  # a template is a program of somebody else's: it may fail in any way
            raise UserError(f"The chat template refuses this conversation: {error}") from error

    def _compiled(self) -> jinja2.Template:
        return _compiled(self.source)  # training renders thousands of conversations


@functools.lru_cache(maxsize=8)
def _compiled(source: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = _to_json
    return environment.from_string(source)


def read_template(directory: Path) -> ChatTemplate | None:
    """The template of a checkpoint folder: chat_template.jinja, else in tokenizer_config.json; None without one.

    Raises:
        UserError: a file is unreadable or the template malformed.
    """
    settings: dict[str, Any] = {}
    if (path := directory / "tokenizer_config.json").exists():
        settings = read_json(path)
        if not isinstance(settings, dict):
            raise UserError(f"{path} is not a JSON object; restore it from a copy.")
    source = settings.get("chat_template")
    if (path := directory / "chat_template.jinja").exists():
        source = path.read_text(encoding="utf-8")
    if isinstance(source, list):  # several, by name
        named = {one.get("name"): one.get("template") for one in source if isinstance(one, dict)}
        source = named.get("default")
    if not isinstance(source, str):
        return None
    return ChatTemplate(source=source, tokens=special_tokens(settings))


def shortened(messages: Sequence[Message], fits: Callable[[Sequence[Message]], bool]) -> list[Message] | None:
    """The conversation without its oldest exchanges, the first apart, as few as make it fit; None if nothing does."""
    kept = list(messages)
    first = next((i for i, one in enumerate(kept) if one.role == "assistant"), len(kept)) + 1
    while not fits(kept):
        if len(kept) < first + 3:
            return None
        del kept[first : first + 2]
    return kept


def save_template(template: ChatTemplate, directory: Path) -> None:
    """Write chat_template.jinja, as transformers reads it; the special tokens stand in tokenizer_config.json."""
    with replacing(directory / "chat_template.jinja") as temporary:
        temporary.write_text(template.source, encoding="utf-8")


def special_tokens(settings: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens of a tokenizer_config.json as text, by their names there."""
    found = {}
    for name, value in settings.items():
        text = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(text, str):
            found[name] = text
    return found


def _to_json(value: Any, **options: Any) -> str:
    """As transformers has it: without HTML's escapes."""
    return json.dumps(value, ensure_ascii=False, **options)


def _refuse(reason: str) -> NoReturn:
    raise jinja2.TemplateError(reason)
