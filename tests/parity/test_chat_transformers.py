"""Chat templates as transformers renders them, in the manners of the families; and what a template may not do."""

import json

import pytest
import transformers

from maquette.core.errors import UserError
from maquette.language import tokenizers
from maquette.language.chat import PLAIN, ChatTemplate, read_template
from maquette.language.interface import Message

pytestmark = pytest.mark.against("transformers")

LLAMA_2 = """{% if messages[0]['role'] == 'system' %}
    {%- set loop_messages = messages[1:] %}{%- set system_message = messages[0]['content'] %}
{%- else %}{%- set loop_messages = messages %}{%- set system_message = false %}{%- endif %}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- if loop.index0 == 0 and system_message %}
        {%- set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}
    {%- else %}{%- set content = message['content'] %}{%- endif %}
    {%- if message['role'] == 'user' %}{{- bos_token + '[INST] ' + content.strip() + ' [/INST]' }}
    {%- else %}{{- ' ' + content.strip() + ' ' + eos_token }}{%- endif %}
{%- endfor %}"""
LLAMA_3 = """{{- bos_token }}
{%- if not date_string is defined %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
CHATML = """{%- if tools %}
    {{- 'tools: ' + (tools | tojson) }}
{%- endif %}
{%- for message in messages %}
    {%- if loop.first and message.role != "system" %}
        {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
QWEN_3 = """{%- set ns = namespace(last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if message.role == "user" %}{%- set ns.last = index %}{%- break %}{%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if '</think>' in content and loop.index0 < ns.last %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""
MISTRAL = """{{ bos_token }}{% for message in messages %}
{% if message['role'] == 'user' %}[INST] {{ message['content'] }} [/INST]
{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}
{% else %}{{ message | tojson }} {{ strftime_now('%Y') }}{% endif %}
{% endfor %}"""
TEMPLATES = {
    "llama-2": LLAMA_2,
    "llama-3": LLAMA_3,
    "chatml": CHATML,
    "qwen3": QWEN_3,
    "mistral": MISTRAL,
    "ours": PLAIN,
}
TALKS = {
    "question": [("user", " Where is the ball?\n")],
    "system": [("system", "Be <brief> & 'kind'."), ("user", "Where is é 漢?")],
    "longer": [("user", "a"), ("assistant", "<think>\nb</think>\n\nc"), ("user", "d")],
}


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_conversation_is_the_text_that_transformers_makes(tmp_path, name, talk):
    tokenizers.save(tokenizers.byte_tokenizer(), tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"bos_token": "<s>"}))
    (tmp_path / "chat_template.jinja").write_text(TEMPLATES[name])
    ours, theirs = read_template(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    turns = TALKS[talk]
    plain = [{"role": role, "content": content} for role, content in turns]
    expected = theirs.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
    assert ours.render([Message(role=role, content=content) for role, content in turns]) == expected
    begun = [*plain, {"role": "assistant", "content": "It is"}]
    expected = theirs.apply_chat_template(begun, tokenize=False, continue_final_message=True)
    assert ours.render([Message(**one) for one in begun]) == expected


@pytest.mark.parametrize("where", ["chat_template.jinja", "a text", "a list"])
def test_a_template_is_found_where_folders_have_it(tmp_path, where):
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "bos_token": {"content": "<s>", "lstrip": False},
                "chat_template": {
                    "chat_template.jinja": "{{ wrong }}",
                    "a text": "{{ bos_token }}!",
                    "a list": [
                        {"name": "tool_use", "template": "{{ wrong }}"},
                        {"name": "default", "template": "{{ bos_token }}!"},
                    ],
                }[where],
            }
        )
    )
    if where == "chat_template.jinja":
        (tmp_path / where).write_text("{{ bos_token }}!")
    assert read_template(tmp_path).render([Message(role="user", content="a")]) == "<s>!"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__base__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='system') }}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{% include '/etc/passwd' %}",
        "{{ 1 / 0 }}",
        "{{ nothing.at.all }}",
        "{{ raise_exception('no') }}",
    ],
)
def test_a_template_reaches_nothing_and_fails_in_one_sentence(source):
    with pytest.raises(UserError, match="The chat template refuses this conversation: "):
        ChatTemplate(source=source).render([Message(role="user", content="hello")])


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception.__globals__ }}",
        "{{ strftime_now.__self__.__class__ }}",
        "{{ '{0.__class__}'.format(messages) }}",
    ],
)
def test_what_a_template_may_not_see_is_empty(source):
    assert ChatTemplate(source=source).render([Message(role="user", content="hello")]) == ""
