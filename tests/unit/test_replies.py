"""Conversations as models read them: what of them is learned, and what is left out for want of room."""

import pytest

from maquette.core.errors import UserError
from maquette.language import tokenizers
from maquette.language.chat import PLAIN, ChatTemplate, shortened
from maquette.language.interface import Message
from maquette.language.replies import with_replies

TOKENIZER = tokenizers.byte_tokenizer()
TEMPLATE = ChatTemplate(source=PLAIN, tokens={"eos_token": tokenizers.END})
TALK = [
    Message(role="system", content="be brief"),
    Message(role="user", content="hello"),
    Message(role="assistant", content="hello"),
    Message(role="user", content="größer?"),
    Message(role="assistant", content="größer."),
]


def learned(messages, template=TEMPLATE, tokenizer=TOKENIZER):
    tokens, mask = with_replies(messages, template, tokenizer)
    assert len(tokens) == len(mask)
    return tokenizer.decode([one for one, so in zip(tokens, mask, strict=True) if so], skip_special_tokens=False)


def test_replies_and_their_ends_are_learned_and_nothing_else():
    assert learned(TALK) == "hello<|end|>größer.<|end|>"
    assert learned(TALK[:2]) == ""


def test_a_reply_begins_behind_just_the_tokens_of_its_prompt():
    tokens, mask = with_replies(TALK, TEMPLATE, TOKENIZER)
    for place in (2, 4):
        prompt = TOKENIZER.encode(TEMPLATE.render(TALK[:place])).ids
        assert tokens[: len(prompt)] == prompt
        assert mask[len(prompt)]
        assert not mask[len(prompt) - 1]


def test_what_a_template_writes_behind_an_end_is_read_but_a_reply_holds_what_closes_it():
    lines = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}</s>\n{% endfor %}"
    lines += "{% if add_generation_prompt %}[assistant]{% endif %}"
    assert learned(TALK, ChatTemplate(source=lines)) == "hello</s>\ngrößer.</s>\n"


def test_a_template_that_rewrites_earlier_replies_is_refused():
    forgetful = "{% for m in messages %}[{{ m['role'] }}]"
    forgetful += "{{ m['content'] if loop.last or m['role'] == 'user' else '…' }}{% endfor %}"
    forgetful += "{% if add_generation_prompt %}[assistant]{% endif %}"
    with pytest.raises(UserError, match="give one that only appends"):
        learned(TALK, ChatTemplate(source=forgetful))


@pytest.mark.parametrize(
    ("most", "left"),
    [(8, "sua ua ua u"), (7, "sua ua u"), (6, "sua ua u"), (5, "sua u"), (4, "sua u"), (3, None)],
)
def test_what_leaves_a_conversation_are_its_oldest_exchanges_but_the_first(most, left):
    roles = {"s": "system", "u": "user", "a": "assistant"}
    talk = [Message(role=roles[one], content=str(i)) for i, one in enumerate("suauauau")]
    kept = shortened(talk, lambda messages: len(messages) <= most)
    if left is None:
        assert kept is None
    else:
        expected = left.replace(" ", "")
        assert "".join(one.role[0] for one in kept) == expected
        assert kept[:3] == talk[:3]
        assert kept[3:] == talk[len(talk) - len(expected) + 3 :]
