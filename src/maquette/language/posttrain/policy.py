"""A model with what it takes to ask it and to teach it replies: tokenizer, chat template, the token that ends one."""

import functools
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from maquette.core.errors import UserError
from maquette.core.files import replacing
from maquette.language import checkpoints, tokenizers
from maquette.language.chat import ChatTemplate
from maquette.language.engine.engine import Engine
from maquette.language.interface import Message
from maquette.language.llama import Llama
from maquette.language.loading import load_engine

BESIDE_WEIGHTS = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What is trained, and how it is spoken to."""

    model: Llama
    tokenizer: Tokenizer
    end: int
    """Closes a reply: learned after each, and what sampling stops at."""
    template: ChatTemplate | None = None
    ends: frozenset[int] = frozenset()
    """Further tokens that sampling stops at."""

    def engine(self, *, rows: int, context: int, planned: int = 0) -> Engine:
        """A sampler over the very weights that are trained; call its `follow` when they have changed."""
        return Engine(
            self.model,
            self.tokenizer,
            name="policy",
            ends=sorted({self.end, *self.ends}),
            template=self.template,
            rows=rows,
            context=context,
            planned=planned,
        )

    def room(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> int:
        """The context that the longest prompt takes with its reply.

        Raises:
            UserError: it is more than the model was made for.
        """
        longest, most = max(map(len, prompts)), self.model.config.context
        if longest + max_tokens > most:
            raise UserError(
                f"The longest prompt has {longest} tokens; with max_tokens = {max_tokens} that is more than the "
                f"model's {most}. Shorten one of them."
            )
        return longest + max_tokens

    def ask(self, prompt: Any) -> list[int]:
        """The tokens of a prompt: text as it stands, or messages through the chat template.

        Raises:
            UserError: it is neither, it is empty, or there is no template for messages.
        """
        if isinstance(prompt, str):
            tokens = self.tokenizer.encode(prompt).ids
        elif not isinstance(prompt, Sequence):
            raise UserError(f"The prompt {prompt!r} is neither text nor messages; give one of them.")
        elif self.template is None:
            raise UserError("The prompt is a conversation, and the model has no chat template; give text instead.")
        else:
            text = self.template.render([message_of(one) for one in prompt])
            tokens = self.tokenizer.encode(text, add_special_tokens=False).ids
        if not tokens:
            raise UserError("An empty prompt: give at least one token.")
        return tokens

    def reply(self, text: str) -> list[int]:
        """The tokens of a reply, its end included; the name of a special token in it is ordinary text."""
        (tokens,) = self._encode([text])
        return [*tokens, self.end]

    @functools.cached_property
    def _encode(self) -> Callable[[list[str]], Iterable[Sequence[int]]]:
        return tokenizers.encoder(self.tokenizer)


def message_of(value: Any) -> Message:
    """A message from JSON.

    Raises:
        UserError: it is none.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("content"), str):
        raise UserError(f"A message is an object with role and content, not {str(value)[:60]!r}.")
    if value.get("role") not in ("system", "user", "assistant"):
        raise UserError(f"role = {value.get('role')!r} of a message: give system, user or assistant.")
    return Message(role=value["role"], content=value["content"])


def byte_policy(model: Llama, marks: Sequence[str] = ()) -> Policy:
    """A model that reads bytes, and has a token of its own for each of some marks, those of thought say."""
    tokenizer = tokenizers.byte_tokenizer()
    tokenizer.add_tokens(list(marks))
    return Policy(model=model, tokenizer=tokenizer, end=tokenizers.end_id(tokenizer))


def load_policy(directory: Path) -> Policy:
    """A checkpoint folder in the Hugging Face layout, to be trained in float32.

    Raises:
        UserError: not such a folder, a broken one, or one without a token that ends a text.
    """
    engine = load_engine(directory)
    if not engine.ends:
        raise UserError(
            f"{directory} names no token that ends a text; add eos_token to its tokenizer_config.json, or eos_token_id "
            "to its generation_config.json."
        )
    named = engine.template.tokens.get("eos_token") if engine.template else None
    end = engine.tokenizer.token_to_id(named) if named else None
    return Policy(
        model=engine.model,
        tokenizer=engine.tokenizer,
        end=min(engine.ends) if end is None else end,
        template=engine.template,
        ends=engine.ends,
    )


def save_policy(model: Llama, source: Path, out: Path) -> None:
    """The trained weights as a checkpoint folder, with the tokenizer and the template of the folder they came from.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    for name in BESIDE_WEIGHTS:
        if (source / name).exists():
            with replacing(out / name) as temporary:
                shutil.copyfile(source / name, temporary)
    checkpoints.save(model, out)
