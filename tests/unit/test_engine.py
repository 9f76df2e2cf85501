"""The engine: every request gets what it would get alone; seeds, stops, choices, thought, scores, prefixes."""

import ctypes
import dataclasses
import gc
import resource
from pathlib import Path

import pytest
import torch
from tokenizers import normalizers

from maquette.core.errors import UserError
from maquette.language import tokenizers
from maquette.language.engine import native, scheduler
from maquette.language.engine.engine import Engine
from maquette.language.interface import LanguageModel, Sampling, Thinking
from maquette.language.llama import Llama, LlamaConfig, next_token_loss
from maquette.nn.cache import Rows
from maquette.nn.rope import YarnScaling

torch.set_num_threads(1)

TINY = LlamaConfig(vocabulary=257, width=32, layers=2, heads=4, kv_heads=2, hidden=48, context=128, rope_theta=1000.0)
LOCAL = dataclasses.replace(TINY, qkv_bias=True, qk_norm=True, window=7, window_from=1)


def engine_of(config=TINY, rows=8, **options):
    tokenizer = tokenizers.byte_tokenizer()
    model = Llama(config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.3, generator=generator)
    return Engine(model, tokenizer, ends=[tokenizers.end_id(tokenizer)], rows=rows, **options)


def by_hand(engine, tokens, steps):
    """Greedy text without a cache."""
    tokens = list(tokens)
    logprobs = []
    with torch.inference_mode():
        for _ in range(steps):
            logits = engine.model(torch.tensor([tokens]))[0, -1]
            tokens.append(int(logits.argmax()))
            logprobs.append(float(logits.log_softmax(-1)[tokens[-1]]))
    return tokens, logprobs


PROMPTS = ["a", "the quick brown fox", "zz", "the quick", "abcdefghijklmnopqrstuvwxyz", "the quick brown fox"]


@pytest.mark.parametrize("rows", [1, 2, 8])
@pytest.mark.parametrize("config", [TINY, LOCAL], ids=["llama", "windows"])
def test_greedy_text_is_that_of_full_passes(config, rows):
    engine = engine_of(config, rows)
    for prompt, (found,) in zip(PROMPTS, engine.sample(PROMPTS, Sampling(temperature=0, max_tokens=12)), strict=True):
        tokens, logprobs = by_hand(engine, prompt.encode(), len(found.tokens))
        assert [*prompt.encode(), *found.tokens] == tokens
        assert found.logprobs == pytest.approx(logprobs, abs=1e-5)
        assert found.finish == ("end" if 256 in found.tokens else "length")


@pytest.mark.parametrize("invariant", [True, False])
def test_a_seed_gives_the_same_text_whatever_is_beside_it(invariant):
    sampling = Sampling(max_tokens=20, seed=5, top_p=0.9, top_k=40)
    alone = engine_of(rows=8, invariant=invariant).sample(["the quick"], sampling)[0][0]
    for rows in (3, 8):
        beside = engine_of(rows=rows, invariant=invariant).sample(PROMPTS, sampling, n=3)[3][0]
        assert (beside.tokens, beside.seed) == (alone.tokens, alone.seed)
        if invariant:
            assert beside.logprobs == alone.logprobs  # to the bit
    other = engine_of().sample(["the quick"], dataclasses.replace(sampling, seed=6))[0][0]
    assert other.tokens != alone.tokens


ODD = dataclasses.replace(LOCAL, head_dim=10, context=99)


@pytest.mark.parametrize("config", [TINY, LOCAL, ODD], ids=["llama", "windows", "odd sizes"])
def test_an_invariant_sample_has_the_same_bits_in_any_company(config):
    """Alone, among others in every row, behind others, beside scores, in a cache whose rows begin elsewhere."""
    sampling = Sampling(max_tokens=6, seed=5, temperature=0.8, logprobs=2)

    def bits(found):
        return found.tokens, found.logprobs, found.likeliest

    prompts = ["the quick", *PROMPTS, "q" * 60]
    alone = bits(engine_of(config, rows=1, invariant=True).sample(prompts[:1], sampling)[0][0])
    scores = engine_of(config, invariant=True).score([(prompts[0], " fox"), ("x", "y" * 40)])
    assert engine_of(config, invariant=True).score([(prompts[0], " fox")])[0].logprobs == scores[0].logprobs
    for rows, context, place in ((1, 97, 2), (3, 75, 4), (7, None, 0)):
        engine = engine_of(config, rows=rows, context=context, invariant=True)
        order = [*prompts[1 : place + 1], prompts[0], *prompts[place + 1 :]]
        assert bits(engine.sample(order, sampling, n=2)[place][0]) == alone


def test_samples_of_one_prompt_differ_and_share_its_pass():
    found = engine_of().sample(["the quick"], Sampling(max_tokens=20, seed=1), n=6)[0]
    assert len({one.tokens for one in found}) == 6
    assert [one.usage.cached for one in found] == [0, 9, 9, 9, 9, 9]
    assert sum(one.usage.flops for one in found[1:]) / 5 < found[0].usage.flops
    assert {one.seed for one in engine_of().sample(["the quick"], Sampling(seed=1, max_tokens=1), n=6)[0]} == {
        one.seed for one in found
    }


def test_draws_follow_the_distribution():
    engine = engine_of(rows=64)
    sampling = Sampling(max_tokens=1, seed=0, temperature=1.3, top_k=3)
    found = engine.sample(["ab"], sampling, n=2000)[0]
    with torch.inference_mode():
        logits = engine.model(torch.tensor([list(b"ab")]))[0, -1]
    p, tokens = (logits / 1.3).topk(3)
    for token, share in zip(tokens.tolist(), p.softmax(-1).tolist(), strict=True):
        count = sum(one.tokens == (token,) for one in found)
        assert abs(count - 2000 * share) < 4 * (2000 * share * (1 - share)) ** 0.5
    assert {one.tokens[0] for one in found} <= set(tokens.tolist())


SCALED = dataclasses.replace(TINY, tied=True, rope_scaling=YarnScaling(factor=4.0, original_context=16))


@pytest.fixture
def compiler():
    if native.compiled(TINY.head_dim) is None:
        pytest.skip("no C compiler with OpenMP is here")


def test_head_sizes_that_fill_no_vector_are_not_compiled():
    assert native.native(engine_of(ODD).scheduler.decoder) is None


WIDE = dataclasses.replace(LOCAL, head_dim=32, context=99)
EIGHTS = dataclasses.replace(WIDE, head_dim=24)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(
    "config", [TINY, LOCAL, SCALED, WIDE, EIGHTS], ids=["llama", "windows", "yarn-tied", "heads of 32", "heads of 24"]
)
def test_the_compiled_step_is_the_model_s_own_with_the_same_bits_in_any_company(config):
    engine = engine_of(config)
    lengths = [9, 12, 1, 30, 9]
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(0, 257, (length + 1,), generator=generator) for length in lengths]
    cache, step = engine.scheduler.cache, native.native(engine.scheduler.decoder)
    last, places = torch.stack([text[-1] for text in texts]), torch.tensor(lengths)
    with torch.inference_mode():
        for row, text in enumerate(texts):
            place = torch.arange(len(text) - 1)[None]
            engine.model(text[None, :-1], positions=place, cache=Rows(cache, row, place))
        found = step(last, places, cache)
        kept = cache.keys[:, 1, :, 12].clone(), cache.values[:, 1, :, 12].clone()
        for row, text in zip(found, texts, strict=True):
            whole = engine.model(text[None])[0, -1]
            assert (row - whole).abs().max() <= 1e-5 * whole.abs().max()
        engine.scheduler.decoder(last, places, cache)
        for mine, theirs in zip(kept, (cache.keys[:, 1, :, 12], cache.values[:, 1, :, 12]), strict=True):
            assert (mine - theirs).abs().max() <= 1e-5 * theirs.abs().max()
        for count in (1, 2, 4):
            assert torch.equal(step(last[:count], places[:count], cache), found[:count])
        torch.set_num_threads(2)
        assert torch.equal(step(last, places, cache), found)
        torch.set_num_threads(1)


@pytest.mark.usefixtures("compiler")
def test_much_work_is_compiled_and_little_is_not_whatever_came_before(monkeypatch):
    monkeypatch.setattr(scheduler, "PAYS", 300)
    taken = []

    class Noting(native.Native):
        def __call__(self, tokens, places, cache):
            taken.append(len(tokens))
            return super().__call__(tokens, places, cache)

    monkeypatch.setattr(native, "Native", Noting)
    engine = engine_of(rows=4)
    much, little = Sampling(max_tokens=25, temperature=0), Sampling(max_tokens=24, temperature=0)
    eager = engine.sample(PROMPTS, little, n=2)  # 288 tokens
    assert not taken
    found = engine.sample(PROMPTS, much, n=2)  # 300, most of which wait for a row
    steps = len(taken)
    assert steps > 2 * 20
    for one, other in zip(found, eager, strict=True):
        assert [text.tokens[:24] for text in one] == [text.tokens for text in other]
    engine.sample(PROMPTS, little, n=2)
    assert len(taken) == steps
    with torch.no_grad():
        engine.model.head.weight.copy_(-engine.model.head.weight)
    engine.follow()
    changed = engine.sample(PROMPTS[:1], dataclasses.replace(much, max_tokens=100), n=3)[0][0]
    tokens, logprobs = by_hand(engine, PROMPTS[0].encode(), len(changed.tokens))
    assert [*PROMPTS[0].encode(), *changed.tokens] == tokens
    assert changed.logprobs == pytest.approx(logprobs, abs=1e-5)
    assert len(taken) > steps
    steps = len(taken)
    for _ in range(2):
        engine_of(rows=4, planned=299).sample(PROMPTS[:1], little)
        assert len(taken) == steps
    much_in_all = engine_of(rows=4, planned=300)
    for calls in (1, 2):
        much_in_all.sample(PROMPTS[:1], little)
        assert len(taken) == steps + calls * 23


def test_without_a_compiler_the_same_is_sampled(monkeypatch, caplog):
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setattr(scheduler, "PAYS", 1)
    monkeypatch.setattr(native, "compiled", native.compiled.__wrapped__)
    caplog.set_level("INFO")
    engine = engine_of()
    (found,) = engine.sample(["the quick"], Sampling(temperature=0, max_tokens=12))[0]
    assert [*b"the quick", *found.tokens] == by_hand(engine, b"the quick", len(found.tokens))[0]
    assert "is not compiled" in caplog.text


@pytest.mark.parametrize("config", [TINY, LOCAL, SCALED], ids=["llama", "windows-bias-norms", "yarn-tied"])
@pytest.mark.parametrize("ragged", [False, True])
def test_the_quick_step_is_the_model_s_own(config, ragged):
    engine = engine_of(config)
    lengths = [9, 12, 1] if ragged else [9, 9, 9]
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(0, 257, (length + 1,), generator=generator) for length in lengths]
    scheduler = engine.scheduler
    assert scheduler.decoder is not None
    with torch.inference_mode():
        for row, text in enumerate(texts):
            place = torch.arange(len(text) - 1)[None]
            engine.model(text[None, :-1], positions=place, cache=Rows(scheduler.cache, row, place))
        found = scheduler.decoder(torch.stack([text[-1] for text in texts]), torch.tensor(lengths), scheduler.cache)
        for row, text in zip(found, texts, strict=True):
            whole = engine.model(text[None])[0, -1]
            assert (row - whole).abs().max() <= 1e-5 * whole.abs().max()


@pytest.mark.parametrize("config", [TINY, LOCAL, SCALED], ids=["llama", "windows-bias-norms", "yarn-tied"])
def test_the_quick_step_in_bfloat16_is_as_near_to_float32_as_the_model_s_own(config):
    exact = engine_of(config).model
    engine = engine_of(config)
    engine.model.to(torch.bfloat16)
    exact.load_state_dict(engine.model.state_dict())
    text = torch.randint(0, 257, (64, 20), generator=torch.Generator().manual_seed(0))
    errors = {}
    with torch.inference_mode():
        places = torch.arange(19).expand(8, 19)
        for name in ("decoder", "model"):
            found = []
            for rows in text.split(8):
                engine.model(rows[:, :-1], positions=places, cache=Rows(engine.scheduler.cache, 0, places))
                found.append(engine.scheduler._decode(rows[:, -1], torch.full((8,), 19)).float())
            errors[name] = (torch.cat(found) - exact(text)[:, -1]).norm()
            assert engine.scheduler.decoder is not None or name == "model"
            engine.scheduler.decoder = None
    assert errors["decoder"] < 1.2 * errors["model"]


def test_without_a_seed_two_calls_differ_and_tell_their_seeds():
    engine = engine_of()
    one, two = (engine.sample(["ab"], Sampling(max_tokens=20))[0][0] for _ in range(2))
    assert one.tokens != two.tokens
    assert None not in (one.seed, two.seed)


@pytest.mark.parametrize("keep", [True, False])
def test_a_stop_string_ends_the_text_before_or_behind_itself(keep):
    engine = engine_of()
    sampling = Sampling(max_tokens=60, seed=2)
    whole = engine.sample(["ab"], sampling)[0][0]
    stop = whole.text[20:23]
    place = whole.text.index(stop)
    found = engine.sample(["ab"], dataclasses.replace(sampling, stop=("no such text", stop), keep_stop=keep))[0][0]
    assert (found.finish, found.stopped_by) == ("stop", stop)
    assert found.text == whole.text[: place + (3 if keep else 0)]
    assert found.tokens == whole.tokens[: len(found.tokens)]
    later = dataclasses.replace(sampling, stop=(stop,), min_tokens=len(found.tokens) + 1)
    assert len(engine.sample(["ab"], later)[0][0].tokens) > len(found.tokens)


def test_nothing_ends_before_its_least_tokens():
    engine = engine_of()
    likeliest = engine.sample(["ab"], Sampling(temperature=0, max_tokens=1))[0][0].tokens[0]
    with torch.no_grad():
        engine.model.head.weight[256] = 5 * engine.model.head.weight[likeliest]
    found = engine.sample(["ab"], Sampling(temperature=0, max_tokens=9))[0][0]
    assert (found.finish, found.tokens, found.text) == ("end", (256,), "")
    assert 256 not in engine.sample(["ab"], Sampling(temperature=0, max_tokens=9, min_tokens=5))[0][0].tokens[:5]


CHOICES = ("yes", "no", "nobody", "maybe é")


def test_choices_are_kept_to_and_follow_the_model():
    engine = engine_of()
    found = engine.sample(["ab"], Sampling(choices=CHOICES, seed=0, temperature=5.0, max_tokens=20), n=300)[0]
    assert {one.text for one in found} == set(CHOICES)
    assert all(one.finish == "end" for one in found)
    assert all(len(one.logprobs) == len(one.tokens) for one in found)
    greedy = engine.sample(["ab"], Sampling(choices=("yes", "no"), temperature=0, max_tokens=5))[0][0]
    with torch.inference_mode():
        logits = engine.model(torch.tensor([list(b"ab")]))[0, -1]
    assert greedy.text == ("yes" if logits[ord("y")] > logits[ord("n")] else "no")


def test_a_thought_is_cut_short_and_made_to_go_on():
    engine = engine_of()
    sampling = Sampling(max_tokens=60, seed=4, thinking=Thinking(most=20, end="<end>"))
    found = engine.sample(["ab"], sampling)[0][0]
    thought, _, answer = found.text.partition("<end>")
    assert found.tokens[20:25] == tuple(b"<end>")
    assert answer
    assert thought
    end = engine.sample(["ab"], Sampling(max_tokens=30, temperature=0))[0][0].text[7]  # of its own accord
    early = dataclasses.replace(sampling, temperature=0, thinking=Thinking(most=40, end=end, again=1, more="Wait"))
    text = engine.sample(["ab"], early)[0][0].text
    thought, _, _ = text.partition(end)
    assert thought.count("Wait") == 1
    once = dataclasses.replace(early, thinking=Thinking(most=40, end=end))
    assert "Wait" not in engine.sample(["ab"], once)[0][0].text


def test_scores_are_those_of_a_full_pass_and_of_the_sampler():
    engine = engine_of()
    found = engine.sample(PROMPTS, Sampling(max_tokens=10, seed=1))
    with_ids = [(list(p.encode()), one.tokens) for p, (one,) in zip(PROMPTS, found, strict=True)]
    for (one,), score in zip(found, engine.score_tokens(with_ids), strict=True):
        assert score.logprobs == pytest.approx(one.logprobs, abs=1e-5)
        assert score.total == pytest.approx(sum(one.logprobs), abs=1e-4)
    greedy = engine.sample(["the quick"], Sampling(max_tokens=5, temperature=0))[0][0]
    right, wrong = engine.score_tokens([(list(b"the quick"), greedy.tokens), (list(b"the quick"), (1, 2, 3, 4, 5))])
    assert right.greedy
    assert not wrong.greedy
    assert right.total > wrong.total
    (text,) = engine.score([("the quick", " fox")])
    assert text.tokens == tuple(b" fox")


def test_log_probabilities_are_those_that_training_minimises():
    engine = engine_of(LOCAL)
    (found,) = engine.sample(["the quick"], Sampling(max_tokens=30, seed=1, temperature=0.7, top_p=0.9))[0]
    text = torch.tensor([[*b"the quick", *found.tokens]])
    targets = text[:, 1:].clone()
    targets[:, : len(b"the quick") - 1] = -100
    engine.model.train()
    loss = next_token_loss(engine.model, {"tokens": text[:, :-1], "targets": targets})
    assert loss.requires_grad
    assert -sum(found.logprobs) / len(found.tokens) == pytest.approx(loss.item() / len(found.tokens), abs=1e-5)


def test_a_prefix_forked_and_extended_is_the_whole_prompt():
    engine = engine_of()
    sampling = Sampling(max_tokens=10, seed=1)
    prefix = engine.prefix("the quick")
    one, two = prefix.fork(2)
    longer = [one.extend(" brown fox"), two.extend(" red fox"), prefix]
    texts = ["the quick brown fox", "the quick red fox", "the quick"]
    for (found,), (whole,) in zip(engine.sample(longer, sampling), engine.sample(texts, sampling), strict=True):
        assert found.tokens == whole.tokens
        assert found.usage.cached == found.usage.prompt - 1
        assert whole.usage.cached == 0
    prefix.close()
    with pytest.raises(UserError, match="was closed"):
        engine.sample([prefix], sampling)


def test_the_likeliest_tokens_are_told():
    engine = engine_of()
    found = engine.sample(["ab"], Sampling(max_tokens=4, temperature=0, logprobs=3))[0][0]
    assert [next(iter(one)) for one in found.likeliest] == list(found.tokens)
    assert [next(iter(one.values())) for one in found.likeliest] == pytest.approx(found.logprobs)
    assert all(list(one.values()) == sorted(one.values(), reverse=True) and len(one) == 3 for one in found.likeliest)


def test_memory_is_what_it_says():
    engine = engine_of(rows=5)
    cache = engine.scheduler.cache
    assert engine.memory == cache.keys.nbytes + cache.values.nbytes


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux what the process holds")
def test_memory_is_what_the_process_grows_by():
    """Within 5 %: nothing else of the cache's size is ever held."""

    def held():
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    config = dataclasses.replace(TINY, kv_heads=4, head_dim=64, layers=4, context=264)
    sampling = Sampling(max_tokens=8, temperature=0)
    prompts = [[i] * 256 for i in range(48)]
    engine_of(config, rows=16).sample(prompts[:16], sampling)  # what any engine's first steps leave behind
    before = held()
    engine = engine_of(config, rows=48)
    engine.sample(prompts, sampling)
    assert engine.memory > 2**26
    assert held() - before == pytest.approx(engine.memory, rel=0.05)


def test_it_is_a_language_model():
    assert isinstance(engine_of(), LanguageModel)


@pytest.mark.parametrize(
    ("prompt", "sampling", "words"),
    [
        ("", Sampling(), "empty prompt"),
        ("a" * 100, Sampling(max_tokens=50), "100 tokens and max_tokens = 50 make 150, but engine holds 128"),
        ([0, 999], Sampling(), "Token 999 is not one of this model's 257"),
        ([], Sampling(), "A prompt is text, messages or token ids"),
        (7.5, Sampling(), "object is not iterable|A prompt is text"),
        ("a\udcff", Sampling(), "is no UTF-8"),
        ("a", Sampling(max_tokens=2, choices=("abc", "d")), "the longest has 3 tokens; give max_tokens = 3"),
    ],
)
def test_bad_prompts_are_one_sentence(prompt, sampling, words):
    with pytest.raises((UserError, TypeError), match=words):
        engine_of().sample([prompt], sampling)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_tokens": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"min_p": -0.1},
        {"top_k": -1},
        {"stop": ("",)},
        {"stop": "b"},
        {"choices": "b"},
        {"max_tokens": 1.5},
        {"max_tokens": 5, "min_tokens": 6},
        {"temperature": float("inf")},
        {"temperature": "1"},
        {"choices": ("a",), "stop": ("b",)},
        {"thinking": Thinking(most=300)},
    ],
    ids=str,
)
def test_bad_samplings_are_one_sentence(changes):
    with pytest.raises(UserError):
        Sampling(**changes)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rows": 0}, "rows = 0"),
        ({"rows": "4"}, "rows = '4'"),
        ({"context": 129}, "give 1 to 128"),
        ({"context": 0}, "="),
    ],
)
def test_what_an_engine_cannot_be_is_refused(options, words):
    with pytest.raises(UserError, match=words):
        engine_of(**options)


def test_a_choice_comes_back_as_it_was_given():
    engine = engine_of()
    engine.tokenizer.normalizer = normalizers.Lowercase()
    ((completion,),) = engine.sample(["a"], Sampling(max_tokens=4, choices=("Red", "BLUE")))
    assert completion.text in ("Red", "BLUE")
