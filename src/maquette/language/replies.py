"""Which tokens of a conversation are learned: the assistant's replies with what closes them, and nothing else."""

from collections.abc import Sequence

from tokenizers import Tokenizer

from maquette.core.errors import UserError
from maquette.language.chat import ChatTemplate
from maquette.language.interface import Message


def with_replies(
    messages: Sequence[Message], template: ChatTemplate, tokenizer: Tokenizer
) -> tuple[list[int], list[bool]]:
    """A closed conversation's tokens, and which of them are an assistant's: to be predicted, not only read.

    A reply begins where the template asks for it, so that training sees the tokens that a prompt ends with.

    Raises:
        UserError: the template writes a conversation's beginning otherwise once it goes on.
    """
    text = template.render_closed(messages)
    within = [False] * len(text)
    for i, message in enumerate(messages):
        if message.role != "assistant":
            continue
        prompt = template.render(messages[:i])
        closed = template.render_closed(messages[: i + 1])
        if not (text.startswith(closed) and closed.startswith(prompt)):
            raise UserError(
                "The chat template writes earlier messages otherwise once a conversation goes on, so replies cannot be "
                "told apart in it; give one that only appends."
            )
        within[len(prompt) : len(closed)] = [True] * (len(closed) - len(prompt))
    encoding = tokenizer.encode(text, add_special_tokens=False)
    return encoding.ids, [within[begin] for begin, _ in encoding.offsets]
