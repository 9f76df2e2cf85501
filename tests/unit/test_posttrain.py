"""Post-training: every switch's gradient by hand and by differences, packing, rollouts, resumption, explanations."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core.errors import UserError
from maquette.core.seeds import torch_generator
from maquette.language import tokenizers
from maquette.language.chat import PLAIN, ChatTemplate
from maquette.language.engine.engine import Engine
from maquette.language.interface import Completion, Sampling
from maquette.language.llama import Llama, LlamaConfig, count_targets
from maquette.language.posttrain import evaluation, objectives
from maquette.language.posttrain.distill import logit_objective, teacher_replies
from maquette.language.posttrain.evaluation import examined, held_out
from maquette.language.posttrain.examples import Example, examples_of, prompt_of, read_rows, reply_of
from maquette.language.posttrain.experience import sample_groups
from maquette.language.posttrain.grpo import grpo, prompts_of
from maquette.language.posttrain.policy import Policy, load_policy, save_policy
from maquette.language.posttrain.rejection import RejectionConfig, accepted
from maquette.language.posttrain.rewarding import is_right, worth
from maquette.language.posttrain.sft import SftConfig, laid_out, pack, reply_loss, rows_of, sft
from maquette.language.posttrain.switches import PRESETS, GrpoConfig, Switches, cost, preset
from maquette.language.posttrain.watching import WINDOW, Meter, sentences
from maquette.train import checkpoint
from maquette.train.distributed import ALONE, World
from maquette.train.loop import TrainConfig
from maquette.train.metrics import read_metrics
from maquette.train.optimizers import OptimizerConfig
from maquette.train.schedules import Schedule
from maquette.worlds.puzzles.arithmetic import Modular
from maquette.worlds.puzzles.puzzle import puzzles

torch.set_num_threads(1)

TINY = LlamaConfig(vocabulary=257, width=16, layers=1, heads=2, kv_heads=1, hidden=24, context=48, rope_theta=1e4)
CPU = torch.device("cpu")


def policy_of(seed=0, config=TINY, template=None):
    tokenizer = tokenizers.byte_tokenizer()
    model = Llama(config).initialise(torch_generator(seed, "initialise"))
    return Policy(model=model, tokenizer=tokenizer, end=tokenizers.end_id(tokenizer), template=template)


def training(steps=2, **changes):
    plain = {"steps": steps, "precision": "fp32", "device": "cpu", "log_every": 1}
    plain |= {"schedule": Schedule(kind="constant", warmup=0), "optimizer": OptimizerConfig(lr=1e-2, weight_decay=0.0)}
    return TrainConfig(**(plain | changes))


# The equations


def test_advantages_are_those_of_the_papers():
    rewards = torch.tensor([[1.0, 0.0, 0.0, 1.0], [2.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.0, 4.0]])
    std = math.sqrt(1 / 3)  # of 1, 0, 0, 1 over g − 1
    found = objectives.group_advantage(rewards, "mean", "group", eps=1e-4)
    assert found[0].tolist() == pytest.approx([v / (std + 1e-4) for v in (0.5, -0.5, -0.5, 0.5)])
    assert found[1].tolist() == [0.0] * 4
    assert objectives.group_advantage(rewards, "mean", "none")[2].tolist() == [-1.0, -1.0, -1.0, 3.0]
    left_out = objectives.group_advantage(rewards, "leave-one-out", "none")
    for row, values in zip(rewards.tolist(), left_out.tolist(), strict=True):
        by_hand = [r - (sum(row) - r) / 3 for r in row]
        assert values == pytest.approx(by_hand)
    assert torch.equal(objectives.group_advantage(rewards, "none", "none"), rewards)
    assert objectives.group_advantage(torch.tensor([[3.0]])).tolist() == [[0.0]]


@pytest.mark.parametrize(
    ("ratio", "advantage", "gain", "slope", "held"),
    [
        (1.0, 2.0, 2.0, 2.0, False),
        (1.25, 2.0, 2.5, 2.0, False),  # inside the higher bound, beyond the lower one's width
        (1.4, 2.0, 2.56, 0.0, True),
        (0.5, 2.0, 1.0, 2.0, False),  # a ratio that fell may rise again
        (0.5, -2.0, -1.6, 0.0, True),
        (1.4, -2.0, -2.8, -2.0, False),
    ],
)
def test_the_clip_holds_back_what_it_should_and_no_more(ratio, advantage, gain, slope, held):
    old = torch.tensor([[-1.0]], dtype=torch.float64)
    new = (old + math.log(ratio)).requires_grad_()
    found, clipped = objectives.clipped_surrogate(new, old, torch.full_like(old, advantage), 0.2, 0.28)
    found.sum().backward()
    assert float(found.detach()) == pytest.approx(gain)
    assert float(new.grad) == pytest.approx(slope * ratio)  # dρ/d log π = ρ
    assert bool(clipped) is held
    free, clipped = objectives.clipped_surrogate(new, old, torch.full_like(old, advantage), math.inf, math.inf)
    assert float(free.detach()) == pytest.approx(ratio * advantage)
    assert not bool(clipped)


def test_estimators_of_kl_have_the_means_and_the_gradients_that_are_said():
    torch.manual_seed(0)
    logits, reference = torch.randn(5, dtype=torch.float64, requires_grad=True), torch.randn(5, dtype=torch.float64)
    p, q = logits.log_softmax(-1), reference.log_softmax(-1)

    def mean(estimator):  # exactly, over the five tokens there are
        return (p.exp().detach() * objectives.kl_estimate(p[None], q[None], estimator)[0]).sum()

    def gradient(value):
        return torch.autograd.grad(value, logits, retain_graph=True)[0]

    kl, other = (p.exp() * (p - q)).sum(), (q.exp() * (q - p)).sum()
    assert mean("k1").item() == pytest.approx(kl.item())
    assert mean("k3").item() == pytest.approx(kl.item())
    assert mean("k2").item() != pytest.approx(kl.item(), rel=0.01)
    torch.testing.assert_close(gradient(mean("k1")), torch.zeros(5, dtype=torch.float64))
    torch.testing.assert_close(gradient(mean("k2")), gradient(kl))
    torch.testing.assert_close(gradient(mean("k3")), gradient(other))
    assert objectives.kl_estimate(p[None], q[None], "k3").min().item() >= 0


def test_weights_divide_as_the_papers_do():
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], dtype=torch.bool)
    expected = {
        "sample": ([0.5, 0.25, 0.0], [1, 1, 0]),
        "token": ([1.0, 1.0, 1.0], [2, 4, 0]),
        "constant": ([0.1, 0.1, 0.1], [1, 1, 0]),
        "sequence": ([1.0, 1.0, 1.0], [1, 1, 0]),
    }
    for length, (each, items) in expected.items():
        weights, counted = objectives.token_weights(mask, length, 10)
        torch.testing.assert_close(weights, mask * torch.tensor(each)[:, None])
        assert counted.tolist() == items


def test_overlong_replies_lose_reward_little_by_little():
    found = [objectives.overlong_penalty(tokens, 20, 4) for tokens in (1, 16, 17, 18, 20, 25)]
    assert found == [0.0, 0.0, -0.25, -0.5, -1.0, -1.0]


def test_entropy_and_logprobs_are_those_of_the_tempered_distribution():
    logits = torch.tensor([[[0.0, math.log(3.0)]]])
    assert float(objectives.token_logprobs(logits, torch.tensor([[1]]))) == pytest.approx(math.log(0.75))
    assert float(objectives.token_logprobs(logits, torch.tensor([[1]]), 0.5)) == pytest.approx(math.log(0.9))
    assert float(objectives.token_logprobs(logits, torch.tensor([[-100]]))) == 0.0
    assert float(objectives.token_entropy(logits)) == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert float(objectives.token_entropy(torch.zeros(1, 1, 8))) == pytest.approx(math.log(8))


class Table(torch.nn.Module):
    """Logits that are parameters: what a gradient is taken of by hand."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, tokens):
        return self.logits


SWITCHES = {
    **PRESETS,
    "k1 in the loss": Switches(kl=0.3, estimator="k1"),
    "k2 in the loss": Switches(kl=0.3, estimator="k2"),
    "k3 in the reward": Switches(kl=0.3, kl_in="reward"),
    "no baseline": Switches(baseline="none", spread="none", length="sequence"),
    "mask": Switches(overlong="mask", length="token"),
    "shape": Switches(overlong="shape", margin=2, length="constant"),
}


def rewarded(policy, switches, updates=2):
    """An experience's rows, from real replies of an untrained model, and the experience."""
    from maquette.language.posttrain.experience import Experience

    reference = policy_of(seed=9).model if switches.kl else None
    config = GrpoConfig(train=training(), switches=switches, prompts=3, group=4, max_tokens=5, passes=updates, rows=12)
    rows = [{"prompt": text} for text in ("ab", "c", "def")]
    experience = Experience(
        policy=policy,
        reference=reference,
        rows=rows,
        reward=lambda reply, row: {"e": float("e" in reply), "size": len(reply.encode()) / 10},
        config=config,
        meter=Meter(World(), CPU),
        directory=None,
    )
    return experience, experience(0, {"row": torch.arange(3), "slot": torch.arange(3)})


@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
def test_every_switch_has_the_gradient_of_its_equation(switches):
    """The objective against the equations written out token by token in float64, and against differences."""
    policy = policy_of()
    experience, batch = rewarded(policy, switches)
    batch = {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}
    rows, width = batch["tokens"].shape
    logits = torch.randn(rows, width, 257, generator=torch_generator(1, "logits"), dtype=torch.float64) * 0.3
    logits += policy.model(batch["tokens"]).detach().double()
    table = Table(logits)
    loss = experience.objective(table, batch)
    loss.backward()

    expected, gradient = 0.0, torch.zeros_like(logits)
    for r in range(rows):
        places = [t for t in range(width) if bool(batch["mask"][r, t])]
        divisor = {"sample": len(places), "token": 1, "sequence": 1, "constant": 5}[switches.length]
        for t in places:
            p = logits[r, t].softmax(-1)
            token, old, a = int(batch["targets"][r, t]), float(batch["old"][r, t]), float(batch["advantage"][r, t])
            ratio = float(p[token].log() - old)
            ratio = math.exp(ratio)
            bounded = min(max(ratio, 1 - switches.clip_low), 1 + switches.clip_high)
            value = -min(ratio * a, bounded * a)
            slope = -ratio * a if ratio * a <= bounded * a else 0.0
            if switches.kl and switches.kl_in == "loss":
                d = float(batch["reference"][r, t]) - float(p[token].log())
                value += switches.kl * {"k1": -d, "k2": d * d / 2, "k3": math.exp(d) - d - 1}[switches.estimator]
                slope += switches.kl * {"k1": 1.0, "k2": -d, "k3": 1 - math.exp(d)}[switches.estimator]
            expected += value / divisor
            one_hot = torch.zeros(257, dtype=torch.float64)
            one_hot[token] = 1.0
            gradient[r, t] = slope * (one_hot - p) / divisor  # d log p_token / d logits
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-6)  # the weights are float32's
    torch.testing.assert_close(table.logits.grad, gradient, rtol=1e-6, atol=1e-12)

    direction = torch.randn(logits.shape, generator=torch_generator(2, "direction"), dtype=torch.float64)
    with torch.no_grad():
        ends = [float(experience.objective(Table(logits + sign * 1e-6 * direction), batch)) for sign in (1, -1)]
    assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(float((gradient * direction).sum()), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
def test_rows_carry_the_advantages_of_their_rewards(switches):
    policy = policy_of()
    experience, batch = rewarded(policy, switches)
    replies = [
        "".join(chr(t) if t < 128 else "?" for t in row[row != -100].tolist() if t != 256) for row in batch["targets"]
    ]
    assert len(replies) == 12
    lengths = (batch["targets"] != -100).sum(1)
    cut = torch.tensor([int(row[row != -100][-1]) != 256 for row in batch["targets"]])
    if switches.overlong == "mask":
        assert torch.equal(batch["mask"].any(1), ~cut)
    metrics = experience.meter.read()
    assert metrics["length"] == pytest.approx(float(lengths.float().mean()))
    assert metrics["truncated"] == pytest.approx(float(cut.float().mean()))
    assert metrics["reward"] == pytest.approx(sum(v for k, v in metrics.items() if k.startswith("reward/")))
    assert ("reward/overlong" in metrics) == (switches.overlong == "shape")
    advantages = batch["advantage"][:, 0].view(3, 4)
    if switches.baseline != "none":
        torch.testing.assert_close(advantages.sum(1), torch.zeros(3), rtol=0, atol=1e-4)
    with torch.no_grad():
        logits = policy.model(batch["tokens"])
    torch.testing.assert_close(batch["old"], objectives.token_logprobs(logits, batch["targets"]), rtol=0, atol=1e-5)
    torch.testing.assert_close(
        batch["sampled"], batch["old"], rtol=0, atol=1e-4
    )  # the sampler says what the model says


def test_a_penalty_in_the_reward_moves_advantages_against_distance():
    plain, penal = (rewarded(policy_of(), dataclasses.replace(PRESETS["rloo"], kl=kl))[1] for kl in (1e-12, 0.5))
    assert torch.equal(plain["tokens"], penal["tokens"])
    distance = ((penal["old"] - penal["reference"]) * penal["mask"]).sum(1).view(3, 4)
    moved = penal["advantage"][:, 0].view(3, 4) - plain["advantage"][:, 0].view(3, 4)
    torch.testing.assert_close(moved, objectives.group_advantage(-0.5 * distance, "leave-one-out", "none"))


# Fine-tuning


EXAMPLES = [
    Example(prompt=tuple(range(65, 65 + p)), reply=(*range(97, 97 + r), 256))
    for p, r in ((3, 2), (1, 5), (4, 1), (2, 2), (6, 9), (1, 1))
]


def test_packed_rows_have_the_loss_and_the_gradient_of_rows_of_one():
    windowed = dataclasses.replace(TINY, window=4, qk_norm=True)
    for config in (TINY, windowed):
        policy = policy_of(config=config)
        found = {}
        for packed in (True, False):
            settings = SftConfig(train=training(), rows=1, length=20, packed=packed)
            rows = rows_of(policy, EXAMPLES, settings)
            batch = laid_out([[EXAMPLES[i] for i in row] for row in rows.rows])
            assert len(rows.rows) == (3 if packed else 6)
            policy.model.zero_grad()
            loss = reply_loss(policy.model, batch)
            loss.backward()
            gradients = {name: p.grad.clone() for name, p in policy.model.named_parameters()}
            found[packed] = loss.item(), int(count_targets(batch)), gradients
        assert found[True][0] == pytest.approx(found[False][0], rel=1e-6)
        assert found[True][1] == found[False][1] == sum(len(one.reply) for one in EXAMPLES)
        torch.testing.assert_close(found[True][2], found[False][2], rtol=1e-4, atol=1e-5)


def test_examples_in_a_row_do_not_see_one_another():
    policy = policy_of()
    batch = laid_out([EXAMPLES[:3]])
    changed = laid_out([[EXAMPLES[4], *EXAMPLES[1:3]]])
    first, second = (one["document"][0] == 1 for one in (batch, changed))
    from maquette.language.posttrain.sft import reply_logits

    torch.testing.assert_close(
        reply_logits(policy.model, batch)[0, first], reply_logits(policy.model, changed)[0, second]
    )
    leaky = batch | {"document": torch.zeros_like(batch["document"])}
    assert not torch.allclose(
        reply_logits(policy.model, leaky)[0, first], reply_logits(policy.model, changed)[0, second], atol=1e-4
    )


def test_only_replies_are_learned():
    batch = laid_out([[EXAMPLES[0]], [EXAMPLES[1]]])
    for row, example in zip(batch["targets"], EXAMPLES, strict=False):
        assert row[row != -100].tolist() == list(example.reply)
    place = len(EXAMPLES[0].prompt) - 1
    assert batch["tokens"][0, place + 1] == batch["targets"][0, place]


@given(st.lists(st.integers(1, 10), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_packing_keeps_every_example_once_and_no_row_overflows(lengths):
    rows = pack(lengths, 10)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in row) <= 10 for row in rows)
    assert len(rows) <= 1.25 * math.ceil(sum(lengths) / 10) + 2


def test_an_epoch_goes_through_every_row_once():
    rows = rows_of(policy_of(), EXAMPLES, SftConfig(train=training(), rows=2, packed=False))
    seen = [tuple(row[row != -100].tolist()) for step in range(3) for row in rows(step)["targets"]]
    assert sorted(seen) == sorted(one.reply for one in EXAMPLES)
    assert torch.equal(rows(1)["tokens"], rows(1)["tokens"])
    iteration = [int(one) for i in range(3) for one in prompts_of(i, 6, 2, seed=1)["row"]]
    assert sorted(iteration) == list(range(6))


def test_fine_tuning_learns_the_replies():
    policy = policy_of()
    rows = [{"prompt": a, "completion": b} for a, b in (("one", "1"), ("two", "2"))]
    examples = examples_of(rows, policy)
    sft(policy, examples, SftConfig(train=training(40, optimizer=OptimizerConfig(lr=2e-2)), rows=2, packed=False))
    engine = policy.engine(rows=2, context=16)
    said = engine.sample(["one", "two"], Sampling(temperature=0, max_tokens=4))
    assert [some[0].text for some in said] == ["1", "2"]
    assert {some[0].finish for some in said} == {"end"}


def test_rows_are_read_in_every_form(tmp_path):
    template = ChatTemplate(source=PLAIN, tokens={"eos_token": tokenizers.END})
    policy = policy_of(template=template)
    talk = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    rows = [
        {"messages": talk},
        {"prompt": talk[:1], "completion": talk[1:]},
        {"prompt": talk[:1], "completion": "ho"},
    ]
    found = examples_of(rows, policy)
    assert found[0] == found[1] == found[2]
    assert policy.tokenizer.decode(list(found[0].prompt), skip_special_tokens=False) == (
        f"<|user|>hi{tokenizers.END}<|assistant|>"
    )
    assert found[0].reply == (ord("h"), ord("o"), 256)
    assert policy.reply(tokenizers.END)[:-1] == list(tokenizers.END.encode()), "a special token's name is plain text"
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a"}\n\n{"prompt": "b"}\n')
    assert read_rows(path) == [{"prompt": "a"}, {"prompt": "b"}]
    for text, sentence in [("", "holds no rows"), ("{", "line 1 is not JSON"), ('{"a": 1}\n3', "line 2 is no object")]:
        path.write_text(text)
        with pytest.raises(UserError, match=sentence):
            read_rows(path)
    for bad, sentence in [
        ({"text": "a"}, "neither prompt nor messages"),
        ({"prompt": "a"}, "no reply to learn"),
        ({"messages": [{"role": "robot", "content": ""}]}, "give system, user or assistant"),
        ({"messages": talk[:1]}, "no reply to learn"),
        ({"prompt": "a", "completion": 3}, "give text, or one message"),
        ({"prompt": "", "completion": "a"}, "empty prompt"),
    ]:
        with pytest.raises(UserError, match=sentence) as refused:
            examples_of([bad], policy)
        assert str(refused.value).startswith("Row 1: ")
    with pytest.raises(UserError, match="no chat template"):
        policy_of().ask(talk)
    assert prompt_of({"messages": talk}) == talk[:1]
    assert reply_of({"messages": talk}) == "ho"


@pytest.mark.parametrize("changes", [{"length": 10}, {"rows": 0}, {"length": -1}])
def test_rows_too_short_for_an_example_are_refused(changes):
    with pytest.raises(UserError, match=r"has 16 tokens, and a row holds 10|rows = 0|length = -1"):
        rows_of(policy_of(), EXAMPLES, SftConfig(train=training(), **changes))


# Reinforcement


def begins_with_a_letter(reply, row):
    """A reward that an untrained model earns one time in five, unless the row forbids it."""
    return {"correct": float(reply[:1].isascii() and reply[:1].isalpha() and "forbidden" not in row)}


def incline(policy, token):
    """Make a token likely after the prompt "a"."""
    with torch.no_grad():
        policy.model.head.weight[token] += 0.2 * policy.model.features(torch.tensor([[97]]))[0, 0]


def run_of(directory, *, world=ALONE, seed=0, steps=3, **changes):
    policy = policy_of(seed)
    config = {"prompts": 4, "group": 4, "max_tokens": 3, "rows": 16, "switches": Switches(kl=0.1)} | changes
    rows = [{"prompt": text} for text in ("a", "bc", "d", "ef", "g", "hi")]
    return grpo(
        policy,
        rows,
        begins_with_a_letter,
        GrpoConfig(train=training(steps, save_every=1), **config),
        directory=directory,
        world=world,
    ), policy


def wide(steps, prompts=8):
    return {"steps": steps, "prompts": prompts, "group": 8, "max_tokens": 2, "rows": 64}


def test_reward_rises_by_reinforcement_alone(tmp_path):
    run_of(tmp_path, **wide(25, 4), switches=Switches())
    rows = [row for row in read_metrics(tmp_path / "metrics.jsonl") if "reward" in row]
    assert len(rows) == 25
    before, after = (sum(row["pass@1"] for row in part) / 5 for part in (rows[:5], rows[-5:]))
    assert after > before + 0.2, (before, after)
    assert rows[0]["pass@8"] >= rows[0]["pass@4"] >= rows[0]["pass@1"] == rows[0]["reward/correct"]
    assert all(abs(row["loss"]) < 1e-5 for row in rows), "advantages of a group add up to 0"
    assert rows[-1]["entropy"] < rows[0]["entropy"]
    told = [json.loads(line) for line in (tmp_path / "samples" / "000024.jsonl").read_text().splitlines()]
    assert len(told) == 4 * 8
    assert {one["reward"] for one in told if one["reply"][:1] in "abcdefghij"} == {1.0}


@pytest.mark.parametrize(
    "changes",
    [{}, {"minibatches": 2, "passes": 2}, {"switches": PRESETS["dapo"]}],
    ids=["grpo", "minibatches", "dapo"],
)
def test_a_run_that_was_stopped_ends_in_the_same_bits(tmp_path, changes):
    updates = changes.get("minibatches", 1) * changes.get("passes", 1)
    run_of(tmp_path / "whole", steps=3, **changes)
    run_of(tmp_path / "stopped", steps=3, **changes)
    for step in (2, 3):
        shutil.rmtree(checkpoint.folder(tmp_path / "stopped", step * updates))
    shutil.rmtree(tmp_path / "stopped" / "samples")
    run_of(tmp_path / "stopped", steps=3, **changes)
    ends = [checkpoint.read(checkpoint.folder(tmp_path / name, 3 * updates))[2] for name in ("whole", "stopped")]
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=0, equal_nan=True)
    for name in ("000001.jsonl", "000002.jsonl"):
        files = [(tmp_path / run / "samples" / name).read_text() for run in ("whole", "stopped")]
        assert files[0] == files[1]
    timed = ("seconds_per_step", "share_sampling")
    rows = [
        [{k: v for k, v in row.items() if k not in timed} for row in read_metrics(tmp_path / name / "metrics.jsonl")]
        for name in ("whole", "stopped")
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 3


def test_checkpoints_of_another_algorithm_are_not_gone_on_from(tmp_path):
    run_of(tmp_path, steps=1)
    with pytest.raises(UserError, match="another algorithm"):
        run_of(tmp_path, steps=2, group=2)


def test_flat_groups_make_way_for_others(tmp_path):
    """With a reward that one prompt can never earn, dynamic sampling asks others in its place."""
    policy = policy_of()
    rows = [{"prompt": "a", "forbidden": True}, {"prompt": "b"}]
    for resample, least in ((0, 0.5), (6, 0.0)):
        config = GrpoConfig(
            train=training(1, optimizer=OptimizerConfig(lr=1e-9)),
            prompts=2,
            group=48,
            max_tokens=1,
            rows=96,
            switches=Switches(resample=resample),
        )
        grpo(policy, rows, begins_with_a_letter, config, directory=tmp_path / str(resample))
        (row,) = read_metrics(tmp_path / str(resample) / "metrics.jsonl")
        assert row["zero_variance"] == least
        assert ("resampled" in row) == bool(resample)


def test_a_batch_that_teaches_nothing_changes_nothing(tmp_path):
    policy = policy_of()
    before = {name: p.clone() for name, p in policy.model.named_parameters()}
    config = GrpoConfig(
        train=training(2),
        prompts=2,
        group=2,
        max_tokens=2,
        rows=4,
        switches=dataclasses.replace(PRESETS["dapo"], overlong="keep"),
    )
    grpo(policy, [{"prompt": "a"}, {"prompt": "b"}], lambda reply, row: 0.0, config, directory=tmp_path)
    assert all(torch.equal(before[name], p) for name, p in policy.model.named_parameters())
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert rows[-1]["zero_variance"] == 1.0
    assert any("too hard" in one for one in sentences(rows))


def test_a_replys_seed_does_not_depend_on_what_is_beside_it():
    policy = policy_of()
    engine = policy.engine(rows=8, context=16)
    prompts = [policy.ask(text) for text in ("ab", "c", "ab")]
    sampling = Sampling(max_tokens=4)
    together = sample_groups(engine, prompts, [1, 2, 3], sampling, 2)
    alone = sample_groups(engine, prompts[2:], [3], sampling, 2)
    assert [one.tokens for one in together[2]] == [one.tokens for one in alone[0]]
    assert [one.tokens for one in together[0]] != [one.tokens for one in together[2]], "same prompt, another slot"


def test_the_engine_follows_the_weights():
    policy = policy_of()
    engine = policy.engine(rows=2, context=16)
    greedy = Sampling(temperature=0, max_tokens=6)
    before = engine.sample(["ab"], greedy)[0][0].tokens
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch_generator(3, "noise")))
    engine.follow()
    after = engine.sample(["ab"], greedy)[0][0].tokens
    fresh = Engine(policy.model, policy.tokenizer, ends=[256], rows=2, context=16).sample(["ab"], greedy)[0][0].tokens
    assert after == fresh != before


def test_a_reward_that_fails_is_told_in_a_sentence():
    with pytest.raises(
        UserError, match=r"The reward function failed on the reply 'so' to a row of prompt: KeyError: 'no"
    ):
        worth(lambda reply, row: row["nothing"], "so", {"prompt": "?"})


def test_bad_settings_are_refused_in_a_sentence(tmp_path):
    for make, sentence in [
        (lambda: Switches(clip_low=0), "clip_low = 0"),
        (lambda: Switches(kl=-1), "kl = -1"),
        (lambda: Switches(overlong="shape", margin=-1), "margin = -1"),
        (lambda: Switches(margin=3), "margin = 3"),
        (lambda: Switches(resample=-1), "resample = -1"),
        (lambda: preset("drgrpo"), "did you mean 'dr-grpo'"),
        (lambda: run_of(None, prompts=3, minibatches=2), "prompts = 3 cannot be cut into 1 processes"),
        (lambda: run_of(None, group=0), "group = 0"),
        (lambda: run_of(None, temperature=0), "temperature = 0"),
        (lambda: run_of(None, group=1, switches=PRESETS["rloo"]), "from the group takes 2"),
        (lambda: run_of(None, max_tokens=60), "more than the model's 48"),
        (lambda: run_of(None, world=World(size=2, strategy="fsdp")), "sharded model cannot be sampled"),
        (lambda: grpo(policy_of(), [], begins_with_a_letter, GrpoConfig(train=training())), "no prompts"),
        (lambda: worth(lambda reply, row: math.nan, "x", {}), "gave nan for reward of 'x'"),
        (lambda: worth(lambda reply, row: "1", "x", {}), "gave '1'"),
        (lambda: worth(lambda reply, row: {}, "x", {}), "gave no part for 'x'"),
        (lambda: worth(lambda reply, row: {"correct": 0.5}, "x", {}), "gave correct = 0.5; it is 1 or 0"),
        (lambda: sft(policy_of(), [], SftConfig(train=training())), "no examples"),
        (lambda: RejectionConfig(samples=0), "samples = 0"),
    ]:
        with pytest.raises(UserError, match=sentence):
            make()


# Rejection and distillation


def test_rejection_keeps_the_best_of_what_is_good_enough():
    policy = policy_of()
    incline(policy, policy.end)
    rows = [{"prompt": "a"}, {"prompt": "b"}]
    config = RejectionConfig(samples=24, keep=2, least=-3, max_tokens=8, rows=48)
    found = accepted(policy, rows, lambda reply, row: -len(reply), config)
    assert found == accepted(policy, rows, lambda reply, row: -len(reply), config)
    for prompt in "ab":
        kept = [one for one in found if one["prompt"] == prompt]
        assert 1 <= len(kept) <= 2
        assert [one["reward"] for one in kept] == sorted((one["reward"] for one in kept), reverse=True)
        assert len({one["completion"] for one in kept}) == len(kept)
    assert all(one["reward"] == -len(one["completion"]) >= -3 for one in found)
    assert not accepted(policy, rows, lambda reply, row: 0.0, dataclasses.replace(config, least=1.0))
    assert len(teacher_replies(policy, rows, dataclasses.replace(config, keep=24))) > 2
    assert examples_of(found, policy)


def test_logits_are_distilled():
    teacher, student = policy_of(1), policy_of(2)
    batch = laid_out([EXAMPLES[:3], EXAMPLES[3:5]])
    objective = logit_objective(teacher.model, temperature=2.0)
    assert objective(teacher.model, batch).item() == pytest.approx(0.0, abs=1e-4)
    before = objective(student.model, batch).item()
    assert before > 1
    config = SftConfig(train=training(15), rows=2)
    sft(student, EXAMPLES, config, objective=objective)
    assert objective(student.model, batch).item() < 0.7 * before
    with pytest.raises(UserError, match="The teacher's vocabulary has 257"):
        objective(policy_of(config=dataclasses.replace(TINY, vocabulary=260)).model, batch)


def test_divergence_is_that_of_the_equation():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    p, q = (teacher / 2).softmax(-1), (student / 2).softmax(-1)
    forward = objectives.distillation_divergence(student, teacher, temperature=2.0)
    torch.testing.assert_close(forward, 4 * (p * (p / q).log()).sum(-1))
    backward = objectives.distillation_divergence(student, teacher, temperature=2.0, reverse=True)
    torch.testing.assert_close(backward, 4 * (q * (q / p).log()).sum(-1))


# Explanations


def rows_with(**columns):
    size = max(len(values) for values in columns.values())
    plain = {"loss": 0.5, "gradient_norm": 1.0, "reward": 0.3, "pass@1": 0.3, "zero_variance": 0.1, "truncated": 0.0}
    return [plain | {name: values[i] for name, values in columns.items()} for i in range(size)]


@pytest.mark.parametrize(
    ("parts", "right"),
    [
        ({"reward": 1.0}, True),
        ({str(i): 0.1 for i in range(10)}, True),  # their plain sum is 0.9999999999999999
        ({"reward": 0.99}, False),
        ({"correct": 0.0, "style": 5.0}, False),
        ({"correct": 1.0, "length": -1.0}, True),
    ],
)
def test_a_reply_is_right_by_its_part_of_that_name_else_by_a_whole_reward(parts, right):
    assert is_right(parts) == right


def test_a_reward_may_give_any_number_and_cannot_change_the_row():
    row = {"prompt": "?"}
    assert worth(lambda reply, given: np.float32(0.5), "x", row) == {"reward": 0.5}
    assert worth(lambda reply, given: {"correct": True, "short": torch.tensor(2.0)}, "x", row) == {
        "correct": 1.0,
        "short": 2.0,
    }
    worth(lambda reply, given: float(bool(given.pop("prompt"))), "x", row)
    assert row == {"prompt": "?"}


RISING = [0.01 * i for i in range(2 * WINDOW)]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (rows_with(reward=RISING), None),
        (rows_with(reward=RISING, loss=[1e-8] * 40), "The loss is 0 and should be"),
        (rows_with(reward=RISING, loss=[0.0] * 40, gradient_norm=[0.0] * 40), None),
        (rows_with(reward=RISING, **{"zero_variance": [0.9] * 40, "pass@1": [0.05] * 40}), "are too hard"),
        (rows_with(reward=RISING, **{"zero_variance": [0.9] * 40, "pass@1": [0.95] * 40}), "prompts are too easy ("),
        (rows_with(reward=RISING, zero_variance=[0.9] * 40), "some prompts are too easy and the others too hard"),
        (rows_with(reward=[0.3, 0.31] * WINDOW), "has been flat over 20 rows"),
        (rows_with(reward=[0.3] * 5), None),
        (rows_with(reward=[1.0] * 40, **{"pass@1": [1.0] * 40}), "little left to win"),
        (rows_with(reward=[0.3, 0.31] * WINDOW, clip_rate=[0.5] * 40), "held back by the clip"),
        (rows_with(reward=RISING, entropy=[2.0] * 20 + [0.1] * 20), "entropy fell from 2.000 to 0.100"),
        (rows_with(reward=RISING, entropy=[2.0] * 20 + [1.0] * 20), None),
        (rows_with(reward=RISING, truncated=[0.5] * 40), "50% of the replies are cut"),
        (rows_with(reward=RISING, **{"reward/format": [v / 4 for v in RISING]}), "pay less for form"),
        (rows_with(reward=RISING, sampler_gap=[0.1] * 40), "differ from the trainer's by 0.100"),
        ([], None),
        ([{"step": 1, "validation_pass@1": 0.5}], None),
    ],
)
def test_a_sentence_where_one_is_needed_and_none_elsewhere(rows, said):
    found = sentences(rows)
    if said is None:
        assert found == []
    else:
        assert len(found) == 1
        assert said in found[0]


def test_a_meter_gives_means_and_begins_anew():
    meter = Meter(World(), CPU)
    assert meter.read() == {}
    meter.add("a", torch.tensor(3.0), 2)
    meter.add("a", 1, torch.tensor(2))
    meter.add("of nothing", 0.0, 0)
    assert meter.read() == {"a": 1.0}
    assert meter.read() == {}


def test_a_policys_folder_comes_back_whole(tmp_path):
    policy = policy_of()
    tokenizers.save(policy.tokenizer, tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").write_text(PLAIN)
    from maquette.language import checkpoints

    checkpoints.save(policy.model, tmp_path / "base")
    loaded = load_policy(tmp_path / "base")
    assert loaded.end == 256
    save_policy(loaded.model, tmp_path / "base", tmp_path / "out")
    again = load_policy(tmp_path / "out")
    assert again.template == loaded.template is not None
    assert torch.equal(again.model.embedding.weight, policy.model.embedding.weight)
    (tmp_path / "out" / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match="names no token that ends a text"):
        load_policy(tmp_path / "out")


def test_held_out_prompts_are_judged_with_the_weights_as_they_are():
    policy = policy_of()
    judge = held_out(policy, [{"prompt": "a"}, {"prompt": "b"}], begins_with_a_letter, max_tokens=1, n=64)
    before = judge(policy.model)
    incline(policy, ord("e"))
    assert judge(policy.model)["validation_pass@1"] > before["validation_pass@1"]


def test_an_examination_tells_right_from_sound_from_voted_from_gamed(monkeypatch):
    asked = puzzles(Modular(operations=2, modulus=7), "test", 2)
    right, wrong = asked[0].answer, (int(asked[0].answer) + 1) % 7
    lucky, malformed = f"<think>0+0=1</think>{right}", f"<think>0+0=1</think>{right} or 9"
    said = [
        [asked[0].worked(), lucky, f"<think>1</think>{wrong}", malformed, f"<think>{right}"],
        [asked[1].worked()] * 5,
    ]
    drawn = [[Completion(text=text, finish="stop") for text in some] for some in said]
    monkeypatch.setattr(evaluation, "sampled", lambda *_, **__: drawn)
    found = examined(policy_of(), asked, max_tokens=8, n=5, seed=0)
    assert found["pass@1"] == 0.7
    assert {name for name in found if name.startswith("pass")} == {"pass@1", "pass@4"}
    assert found["sound@1"] == 0.6
    assert found["gamed"] == pytest.approx(0.1), "the malformed one; what thinks without end is no answer"
    assert found["malformed"] == pytest.approx(0.2)
    assert found["cons@64"] == 1
    assert found["cons@64, others"] == 0
    assert found["thought, wrong"] == len("<think>1")


def test_a_reply_costs_its_passes():
    """Learned three times over 5 + 15 tokens, drawn once with a quarter of the prompt, read by whom the KL asks."""
    costs = {name: cost(PRESETS[name], prompt=5, reply=15, group=4) * 3 for name in PRESETS}
    bare = 3 * 20 + 15 + 5 / 4
    assert costs["dr-grpo"] == costs["dapo"] == pytest.approx(bare)
    assert costs["grpo"] == pytest.approx(bare + 20)
    assert costs["rloo"] == pytest.approx(bare + 40)
    again = cost(PRESETS["dapo"], prompt=5, reply=15, group=4, again=2)
    assert again * 3 == pytest.approx(bare + 2 * (15 + 5 / 4))
