"""The requests and answers of OpenAI's completions and chat completions, and of what we take beyond them.

A field that is null, or at the value at which it does nothing, counts as not given; one that we do not have is refused.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from maquette.core.errors import UserError
from maquette.language.interface import Message, Sampling

IGNORED = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
"""Fields that change no text."""
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "best_of": (1,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}
"""Fields of OpenAI's that we have not, and the values at which they do nothing."""


def _whole(text: str) -> str:
    """JSON can write half of a character outside the basic plane; no tokenizer can read it."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("holds half of a surrogate pair; give whole characters")
    return text


Text = Annotated[str, AfterValidator(_whole)]
Token = Annotated[int, Field(ge=0, lt=2**31)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_what_is_not_given(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: one
            for name, one in value.items()
            if not (one is None or name in IGNORED or one in NEUTRAL.get(name, ()))
        }


class StreamOptions(_Strict):
    """How to stream."""

    include_usage: bool = False
    """Whether a last chunk tells the usage."""
    include_obfuscation: bool = False
    """Taken, and of no effect: nothing is padded."""


class Asked(_Strict):
    """What both APIs take."""

    model: Text
    n: int = Field(1, ge=1, le=128)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Text | Annotated[list[Text], Field(max_length=64)] = []
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    min_p: float = Field(0.0, ge=0, le=1)
    min_tokens: int = Field(0, ge=0)
    guided_choice: list[Text] = Field([], max_length=1024)
    """The text is one of these."""
    return_token_ids: bool = False
    """Whether each choice tells the ids of its tokens, as vLLM has it."""
    stream: bool = False
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _no_options_without_stream(self) -> "Asked":
        if self.stream_options and not self.stream:
            raise UserError("stream_options goes with stream = true alone; leave it out.")
        return self

    def sampling(self, max_tokens: int, logprobs: int) -> Sampling:
        """How to sample."""
        return Sampling(
            max_tokens=max_tokens,
            min_tokens=self.min_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop),
            seed=self.seed,
            logprobs=logprobs,
            choices=tuple(self.guided_choice),
        )

    @property
    def tells_usage(self) -> bool:
        """Whether the last chunk of a stream does."""
        return self.stream_options is not None and self.stream_options.include_usage


class CompletionRequest(Asked):
    """The body of `POST /v1/completions`."""

    prompt: (
        Text
        | Annotated[list[Text], Field(min_length=1, max_length=2048)]
        | Annotated[list[Token], Field(min_length=1)]
        | Annotated[list[Annotated[list[Token], Field(min_length=1)]], Field(min_length=1, max_length=2048)]
    )
    max_tokens: int = Field(16, ge=0)
    """0 generates nothing, which with `echo` and `logprobs` scores the prompt."""
    logprobs: int | None = Field(None, ge=0, le=20)
    """So many of the likeliest tokens at each place, and the one taken."""
    echo: bool = False
    """Whether the answer begins with the prompt."""

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """One prompt or several as several."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        return [self.prompt] if isinstance(self.prompt[0], int) else self.prompt  # pyrefly: ignore


class TextPart(_Strict):
    """A part of a message's content; of OpenAI's kinds only text."""

    type: Literal["text"]
    text: Text


class ChatMessage(_Strict):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    """`developer` is another word for `system`."""
    content: Text | list[TextPart]

    @property
    def message(self) -> Message:
        """As the language family has it."""
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message(role="system" if self.role == "developer" else self.role, content=content)


class ChatRequest(Asked):
    """The body of `POST /v1/chat/completions`."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    """The same, as OpenAI calls it today; as many as there is room for if neither is given."""
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=20)
    continue_final_message: bool = False
    """Whether the answer goes on from a last message of the assistant's."""
    add_generation_prompt: bool | None = None
    """As vLLM has it: the opposite of `continue_final_message`, which says enough."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "ChatRequest":
        if self.top_logprobs is not None and not self.logprobs:
            raise UserError("top_logprobs goes with logprobs = true alone; leave it out.")
        if len({self.max_tokens, self.max_completion_tokens} - {None}) > 1:
            raise UserError("max_tokens and max_completion_tokens differ; leave one out.")
        if self.add_generation_prompt is self.continue_final_message:
            raise UserError("add_generation_prompt and continue_final_message must be opposites; leave the first out.")
        last = self.messages[-1].role == "assistant"
        if last and not self.continue_final_message:
            raise UserError(
                "The last message is the assistant's; end with another's, or give continue_final_message = true."
            )
        if self.continue_final_message and not last:
            raise UserError("continue_final_message = true, but the last message is not the assistant's.")
        return self


class CachedTokens(BaseModel):
    """Part of the usage."""

    cached_tokens: int


class UsageBody(BaseModel):
    """What an answer took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens
    """Tokens of the prompts that had been computed for another request."""


Reason = Literal["stop", "length"]


class CompletionLogprobs(BaseModel):
    """Of each token: itself, its log-probability, the likeliest in its place, where in the text it begins."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    """One continuation."""

    index: int
    text: str
    finish_reason: Reason | None
    stop_reason: str | None = None
    """The stop string that ended it, as vLLM tells."""
    token_ids: list[int] | None = None
    logprobs: CompletionLogprobs | None = None


class CompletionBody(BaseModel):
    """The answer of `POST /v1/completions`, and each chunk of its stream."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: UsageBody | None = None


class TopLogprob(BaseModel):
    """One token that might have come."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    """One token that came, and the likeliest in its place."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(BaseModel):
    """Of every token of an answer."""

    content: list[TokenLogprob]
    refusal: None = None


class Said(BaseModel):
    """The assistant's message."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    """One answer."""

    index: int
    message: Said
    finish_reason: Reason
    stop_reason: str | None = None
    token_ids: list[int] | None = None
    logprobs: ChatLogprobs | None = None


class ChatBody(BaseModel):
    """The answer of `POST /v1/chat/completions`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: UsageBody


class ChunkChoice(BaseModel):
    """One answer's part of a chunk."""

    index: int
    delta: dict[Literal["role", "content"], str]
    """What it adds to the message."""
    finish_reason: Reason | None = None
    stop_reason: str | None = None
    token_ids: list[int] | None = None
    logprobs: ChatLogprobs | None = None


class ChatChunk(BaseModel):
    """Each event of a streamed chat."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: UsageBody | None = None


class ModelCard(BaseModel):
    """A model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "maquette"
    max_model_len: int
    """Tokens of prompt and completion together, as vLLM tells."""


class ModelList(BaseModel):
    """The answer of `GET /v1/models`."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
