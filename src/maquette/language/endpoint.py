"""Any OpenAI-compatible endpoint behind the interface of `maquette.language.interface`."""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar, cast

import httpx

from maquette.core.errors import UserError
from maquette.language.interface import (
    Capability,
    Completion,
    Finish,
    Message,
    Prefix,
    Prompt,
    Sampling,
    Score,
    Unsupported,
    Usage,
    kind_of,
    refuse_unsupported,
)
from maquette.language.wrappers import Retry, Unavailable

T = TypeVar("T")
USUAL: frozenset[Capability] = frozenset(("text", "chat", "seed", "logprobs"))
"""What an endpoint is held to have where nothing else is said."""
OURS: frozenset[Capability] = USUAL.union(("tokens", "score", "choices", "top_k", "min_p", "min_tokens", "keep_stop"))
"""What `maquette serve` has, and vLLM."""
AGAIN = {408, 409, 429, 500, 502, 503, 504}
"""Answers after which another try may succeed."""
FINISH: dict[str, Finish] = {"stop": "end", "length": "length"}


class Endpoint:
    """Sends each prompt as a request of its own, several at a time, and asks again where the endpoint stumbles.

    The key is read from an environment variable and goes into the header alone, never into a message or a record.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        capabilities: frozenset[Capability] = USUAL,
        key_variable: str = "OPENAI_API_KEY",
        at_once: int = 8,
        per_minute: float = 0.0,
        timeout: float = 120.0,
        retry: Retry | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`url` ends where the paths begin, as in https://host/v1; at most `per_minute` requests start (0: any number).

        Raises:
            UserError: no such URL, or a number that cannot be.
        """
        if not url.startswith(("http://", "https://")):
            raise UserError(f"url = {url!r}: give one that begins with http:// or https://.")
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise UserError(f"url = {url!r} is no URL ({error}); give one like https://host/v1.") from error
        if not parsed.host:
            raise UserError(f"url = {url!r} names no host; give one like https://host/v1.")
        if parsed.userinfo:
            raise UserError(f"A url with a password in it would be told in messages; put the key into {key_variable}.")
        if at_once < 1 or per_minute < 0 or timeout <= 0:
            raise UserError(f"{at_once=}, {per_minute=}, {timeout=}: give numbers above 0.")
        self.url, self.model, self.name = url.rstrip("/"), model, f"{model or 'the model'} at {url.rstrip('/')}"
        self.capabilities, self.at_once = capabilities, at_once
        self.retry = retry or Retry()
        self.timeout = timeout
        key = os.environ.get(key_variable, "").strip()
        if not key.isascii() or not key.isprintable():  # the header's own error would quote it
            raise UserError(f"The key in {key_variable} holds characters that no header takes; copy it again.")
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=timeout, transport=transport
        )
        self._pace = _Pace(60.0 / per_minute if per_minute else 0.0)

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, n: int = 1) -> list[list[Completion]]:
        """See `LanguageModel.sample`."""
        if n < 1:
            raise UserError(f"n = {n}: give 1 or more.")
        refuse_unsupported(self, prompts, sampling)
        return self._each(lambda prompt: self._sample(prompt, sampling, n), prompts)

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        """See `LanguageModel.score`: by `echo` of the whole text, so a prompt must be text."""
        if "score" not in self.capabilities:
            raise Unsupported(self.name, "score")
        for prompt, text in pairs:
            if not isinstance(prompt, str):
                raise Unsupported(self.name, kind_of(prompt), "an endpoint scores text behind text")
            if not prompt or not text:
                raise UserError("Nothing to score: give some text of a prompt and of its continuation.")
        return self._each(lambda pair: self._score(cast("str", pair[0]), pair[1]), pairs)

    def prefix(self, prompt: Prompt) -> Prefix:
        """Endpoints keep prefixes on their own."""
        raise Unsupported(self.name, "fork")

    def close(self) -> None:
        """Let its connections go."""
        self._client.close()

    def _each(self, ask: Callable[[Any], T], items: Sequence[Any]) -> list[T]:
        with ThreadPoolExecutor(self.at_once) as pool:
            asked = [pool.submit(self.retry, lambda item=item: ask(item)) for item in items]
            try:
                return [one.result() for one in asked]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _sample(self, prompt: Prompt, sampling: Sampling, n: int) -> list[Completion]:
        began = time.perf_counter()
        body = {"model": self.model, "n": n, **_asked(sampling)}
        if "tokens" in self.capabilities:  # as vLLM and `maquette serve` have it
            body["return_token_ids"] = True
        if kind_of(prompt) == "chat":
            body |= _conversation(cast("Sequence[Message]", prompt), sampling)
            answer = self._post("chat/completions", body)
        else:
            plain = prompt if isinstance(prompt, str) else list(cast("Sequence[int]", prompt))
            logprobs = {"logprobs": sampling.logprobs} if sampling.logprobs else {}
            answer = self._post("completions", {**body, **logprobs, "prompt": plain})
        choices = sorted(_list(answer, "choices"), key=lambda one: one.get("index", 0))
        if len(choices) != n:
            raise Unavailable(f"{self.name} gave {len(choices)} completions where {n} were asked for.")
        seconds = time.perf_counter() - began
        return [self._completion(one, answer, sampling, seconds, i) for i, one in enumerate(choices)]

    def _completion(
        self, choice: Mapping[str, Any], answer: Mapping[str, Any], sampling: Sampling, seconds: float, number: int
    ) -> Completion:
        text = choice["message"].get("content") if "message" in choice else choice.get("text")
        if not isinstance(text, str):
            raise Unavailable(f"{self.name} gave a completion without text.")
        reason, stopped = choice.get("finish_reason"), choice.get("stop_reason")
        finish = FINISH.get(str(reason), "end")
        stopped_by = stopped if isinstance(stopped, str) and stopped in sampling.stop else None
        if stopped_by:
            finish = "stop"
            text += stopped_by if sampling.keep_stop else ""
        logprobs, likeliest = _logprobs(choice.get("logprobs") or {})
        tokens = choice.get("token_ids")
        usage = _usage(answer.get("usage") or {}, seconds, number, len(answer["choices"]))
        return Completion(
            text=text,
            finish=finish,
            stopped_by=stopped_by,
            tokens=None if tokens is None else tuple(tokens),
            logprobs=logprobs,
            likeliest=likeliest if sampling.logprobs else None,
            seed=sampling.seed,
            usage=usage if tokens is None else replace(usage, generated=len(tokens)),
        )

    def _score(self, prompt: str, text: str) -> Score:
        began = time.perf_counter()
        body = {"model": self.model, "prompt": prompt + text, "max_tokens": 1, "temperature": 0}
        answer = self._post("completions", {**body, "echo": True, "logprobs": 1})
        found = _list(answer, "choices")[0].get("logprobs") or {}
        offsets, each, top = (found.get(name) or [] for name in ("text_offset", "token_logprobs", "top_logprobs"))
        places = [i for i, offset in enumerate(offsets) if len(prompt) <= offset < len(prompt) + len(text)]
        if not places or any(each[i] is None for i in places):
            raise Unsupported(self.name, "score", "it does not echo log-probabilities")
        if offsets[places[0]] != len(prompt):
            raise UserError(
                f"A token of {self.name} reaches across the end of the prompt {prompt[-20:]!r}; move the end."
            )
        return Score(
            tokens=None,
            logprobs=tuple(float(each[i]) for i in places),
            greedy=all(each[i] >= max((top[i] or {0: each[i]}).values()) for i in places),
            usage=_usage(answer.get("usage") or {}, time.perf_counter() - began),
        )

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer as JSON.

        Raises:
            Unavailable: it could not be had now.
            UserError: the endpoint refuses the request.
        """
        self._pace.wait()
        end = time.monotonic() + self.timeout  # httpx bounds each wait, so that a trickle would go on for ever
        try:
            with self._client.stream("POST", f"{self.url}/{path}", json=body) as answer:
                parts = []
                for part in answer.iter_bytes():
                    parts.append(part)
                    if time.monotonic() > end:
                        raise httpx.ReadTimeout(f"longer than {self.timeout:g} s")
            key = self._client.headers.get("Authorization", "Bearer ").removeprefix("Bearer ")
            text = b"".join(parts).decode(errors="replace")
            text = text.replace(key, "…") if key else text  # some tell the key that they refuse
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.name} cannot be reached ({type(error).__name__}); is it up?") from error
        if answer.status_code in AGAIN:
            raise Unavailable(f"{self.name} answers {answer.status_code}: {_reason(text)}", wait=_wait(answer))
        if answer.status_code >= 300:
            raise UserError(f"{self.name} refuses the request, {answer.status_code}: {_reason(text)}")
        try:
            found = json.loads(text)
        except ValueError as error:
            raise Unavailable(f"{self.name} answers what is no JSON: {text[:60]!r}") from error
        if not isinstance(found, dict):
            raise Unavailable(f"{self.name} answers what is no JSON object: {text[:60]!r}")
        return found


class _Pace:
    """Lets requests begin no closer to one another than `pause` seconds."""

    def __init__(self, pause: float) -> None:
        self.pause, self.next, self.lock = pause, 0.0, threading.Lock()

    def wait(self) -> None:
        with self.lock:
            now = time.monotonic()
            mine = max(now, self.next)
            self.next = mine + self.pause
        time.sleep(mine - now)


def _asked(sampling: Sampling) -> dict[str, Any]:
    """The fields that both APIs have; those beyond OpenAI's own go only where they say something."""
    body: dict[str, Any] = {"max_tokens": sampling.max_tokens, "temperature": sampling.temperature}
    for name, usual in (("top_p", 1.0), ("top_k", 0), ("min_p", 0.0), ("min_tokens", 0), ("seed", None)):
        if getattr(sampling, name) != usual:
            body[name] = getattr(sampling, name)
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.choices:
        body["guided_choice"] = list(sampling.choices)
    return body


def _conversation(prompt: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
    messages = [{"role": one.role, "content": one.content} for one in prompt]
    body: dict[str, Any] = {"messages": messages}
    if prompt[-1].role == "assistant":  # as vLLM and `maquette serve` have it
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    if sampling.logprobs:
        body |= {"logprobs": True, "top_logprobs": sampling.logprobs}
    return body


def _logprobs(found: Mapping[str, Any]) -> tuple[tuple[float, ...] | None, tuple[dict[int | str, float], ...] | None]:
    """Of a chat's choice or a completion's."""
    if isinstance(content := found.get("content"), list):
        likeliest = tuple(
            {top["token"]: float(top["logprob"]) for top in one.get("top_logprobs", ())} for one in content
        )
        return tuple(float(one["logprob"]) for one in content), likeliest
    if isinstance(each := found.get("token_logprobs"), list):
        return tuple(map(float, each)), tuple(dict(one or {}) for one in found.get("top_logprobs") or ())
    return None, None


def _usage(found: Mapping[str, Any], seconds: float, number: int = 0, count: int = 1) -> Usage:
    """A request's usage as that of one of its completions: the prompt counts with the first, the rest is shared out."""
    details = found.get("prompt_tokens_details") or {}
    prompt, cached = int(found.get("prompt_tokens") or 0), int(details.get("cached_tokens") or 0)
    each, left = divmod(int(found.get("completion_tokens") or 0), count)
    return Usage(
        prompt=0 if number else prompt,
        cached=0 if number else cached,
        generated=each + (number < left),
        seconds=seconds,
    )


def _list(answer: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = answer.get(name)
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise Unavailable(f"An answer without {name}: {str(answer)[:60]!r}")
    return found


def _reason(answer: str) -> str:
    """What the endpoint says, at most a line."""
    try:
        said = json.loads(answer)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = answer
    return " ".join(str(said).split())[:200]


def _wait(answer: httpx.Response) -> float:
    try:
        return float(answer.headers.get("retry-after", 0))
    except ValueError:  # a date
        return 0.0
