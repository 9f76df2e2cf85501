"""One sample under way: what may come next, what its text is so far, and when it ends."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from maquette.language.engine.distribution import uniforms
from maquette.language.interface import Completion, Finish, Sampling, Usage

Trie = dict[int, "Trie"]
"""Token by token the texts that may come; `END_OF_CHOICE` where one is whole."""
END_OF_CHOICE = -1


def trie_of(choices: Sequence[Sequence[int]]) -> Trie:
    """The choices, as token ids, by their beginnings."""
    root: Trie = {}
    for choice in choices:
        node = root
        for token in (*choice, END_OF_CHOICE):
            node = node.setdefault(token, {})
    return root


@dataclass(eq=False, kw_only=True)
class Request:
    """A prompt's tokens, how to go on from them, and what has come of it."""

    prompt: Sequence[int]
    sampling: Sampling
    seed: int
    tokenizer: Tokenizer
    ends: frozenset[int]
    """Tokens after which nothing comes."""
    trie: Trie | None = None
    choices: Mapping[tuple[int, ...], str] = field(default_factory=dict)
    """The texts of the trie by their tokens: a tokenizer may not give back what it read."""
    on_text: Callable[[str], None] | None = None
    """Told the text as it grows."""
    cached: int = 0
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    likeliest: list[dict[int | str, float]] = field(default_factory=list)
    text: str = ""
    finish: Finish | None = None
    stopped_by: str | None = None
    flops: float = 0.0
    began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.uniform: list[float] = uniforms(self.seed, self.sampling.max_tokens).tolist()
        self._forced: deque[int] = deque()
        self._stream = DecodeStream(skip_special_tokens=True)
        self._starts: list[int] = []
        self._told = 0
        thinking = self.sampling.thinking
        self._thinking = thinking is not None
        self._again = thinking.again if thinking else 0
        self._reads = bool(self.sampling.stop or thinking or self.on_text)
        self._longest_stop = max((len(one) for one in self.sampling.stop), default=0)

    @property
    def length(self) -> int:
        """Tokens of prompt and completion."""
        return len(self.prompt) + len(self.tokens)

    @property
    def next_uniform(self) -> float:
        """What the next token is drawn with."""
        return self.uniform[len(self.tokens)]

    @property
    def bound(self) -> bool:
        """Whether anything is `forced`, `allowed` or `barred`; mostly nothing is."""
        return self.trie is not None or self._thinking or len(self.tokens) < self.sampling.min_tokens

    @property
    def forced(self) -> int | None:
        """The next token, where it is not the model's to choose."""
        if self._forced:
            return self._forced[0]
        if self.trie is not None and len(self.trie) == 1 and (only := next(iter(self.trie))) != END_OF_CHOICE:
            return only
        return None

    @property
    def allowed(self) -> list[int] | None:
        """The tokens to choose among; None for all."""
        return None if self.trie is None else self._spelt(self.trie)

    @property
    def barred(self) -> frozenset[int]:
        """Tokens that may not come yet."""
        return self.ends if len(self.tokens) < self.sampling.min_tokens or self._thinking else frozenset()

    def _spelt(self, node: Trie) -> list[int]:
        """A whole choice that is another's beginning is taken by an end."""
        return [token if token != END_OF_CHOICE else min(self.ends) for token in node]

    def take(self, token: int, logprob: float, likeliest: dict[int | str, float] | None = None) -> None:
        """The next token has been chosen."""
        if self._forced:
            self._forced.popleft()
        self._starts.append(len(self.text))
        self.tokens.append(token)
        self.logprobs.append(logprob)
        if likeliest is not None:
            self.likeliest.append(likeliest)
        if self.trie is not None:
            self._take_choice(token)
        elif token in self.ends:
            self.finish = "end"
        elif self._reads:
            self.text += self._stream.step(self.tokenizer, token) or ""
            if self._thinking:
                self._think()
            else:
                self._look_for_stop()
        if self.finish is None and len(self.tokens) >= self.sampling.max_tokens:
            self.finish = "length"
        if self.finish in ("end", "length"):  # with the bytes of a character that never became whole
            said = [token for token in self.tokens if token not in self.ends]
            self.text = self.choices.get(tuple(said)) or self.tokenizer.decode(said)
        self._tell()

    def _take_choice(self, token: int) -> None:
        assert self.trie is not None
        if token in self.ends and END_OF_CHOICE in self.trie:
            self.finish = "end"
            return
        self.trie = self.trie[token]
        self.text += self._stream.step(self.tokenizer, token) or ""
        if set(self.trie) == {END_OF_CHOICE}:
            self.finish = "end"

    def _think(self) -> None:
        """End a thought that takes too long, prolong one that is too short (see `Thinking`)."""
        thinking = self.sampling.thinking
        assert thinking is not None
        if thinking.end in self.text:
            if self._again and not self._forced:
                self._again -= 1
                self._rewind(self.text.index(thinking.end))
                self._force(thinking.more)
            elif not self._forced:
                self._thinking = False
        elif len(self.tokens) >= thinking.most and not self._forced:
            self._again = 0  # a thought that was cut short is not made to go on
            self._force(thinking.end)

    def _force(self, text: str) -> None:
        self._forced.extend(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def _rewind(self, place: int) -> None:
        """Take back every token from the one on that brought the character at `place`; the cache forgets by length."""
        count = next(i for i in range(len(self._starts), 0, -1) if self._starts[i - 1] <= place) - 1
        for kept in (self.tokens, self.logprobs, self.likeliest, self._starts):
            del kept[count:]
        self._stream = DecodeStream(skip_special_tokens=True)
        self.text = "".join(self._stream.step(self.tokenizer, token) or "" for token in self.tokens)
        self._told = min(self._told, len(self.text))

    def _look_for_stop(self) -> None:
        if not self.sampling.stop or len(self.tokens) < self.sampling.min_tokens:
            return
        begin = max(0, self._starts[-1] - self._longest_stop + 1)
        found = [(place, one) for one in self.sampling.stop if (place := self.text.find(one, begin)) >= 0]
        if found:
            place, one = min(found)
            self.text = self.text[: place + (len(one) if self.sampling.keep_stop else 0)]
            self.finish, self.stopped_by = "stop", one

    def _tell(self) -> None:
        """Tell the text that no later token can take back: all but what may become a stop string."""
        if self.on_text is None:
            return
        sure = len(self.text) if self.finish else len(self.text) - max(0, self._longest_stop - 1)
        if self._thinking and self.finish is None:
            thinking = self.sampling.thinking
            assert thinking is not None
            sure = min(sure, len(self.text) - len(thinking.end))
        if sure > self._told:
            self.on_text(self.text[self._told : sure])
            self._told = sure

    def completion(self) -> Completion:
        """What has come of it."""
        assert self.finish is not None
        return Completion(
            text=self.text,
            finish=self.finish,
            stopped_by=self.stopped_by,
            tokens=tuple(self.tokens),
            logprobs=tuple(self.logprobs),
            likeliest=tuple(self.likeliest) if self.sampling.logprobs else None,
            seed=self.seed,
            usage=Usage(
                prompt=len(self.prompt),
                cached=self.cached,
                generated=len(self.tokens),
                flops=self.flops,
                seconds=time.perf_counter() - self.began,
            ),
        )


def fresh_seed() -> int:
    """A seed for who gave none."""
    return int(np.random.SeedSequence().generate_state(2, np.uint32).view(np.uint64)[0] >> np.uint64(1))
