"""Losses and gradients against TRL's trainers on the same tiny batch, weights and settings."""

import dataclasses
import math

import pytest
import torch

pytest.importorskip("trl")

import datasets
import transformers
import trl

from maquette.core.seeds import torch_generator
from maquette.language import checkpoints, tokenizers
from maquette.language.llama import Llama, LlamaConfig, count_targets
from maquette.language.posttrain import objectives
from maquette.language.posttrain.examples import examples_of
from maquette.language.posttrain.experience import Experience
from maquette.language.posttrain.policy import Policy
from maquette.language.posttrain.sft import laid_out, reply_loss
from maquette.language.posttrain.switches import GrpoConfig, Switches
from maquette.language.posttrain.watching import Meter
from maquette.train.distributed import World
from maquette.train.loop import TrainConfig

pytestmark = pytest.mark.against("trl")
MODEL = LlamaConfig(vocabulary=257, width=32, layers=2, heads=4, kv_heads=2, hidden=48, context=64, rope_theta=1e4)
TOKENS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same weights and tokenizer for both."""
    place = tmp_path_factory.mktemp("model")
    checkpoints.save(Llama(MODEL).initialise(torch_generator(0, "initialise")), place)
    tokenizers.save(tokenizers.byte_tokenizer(), place)
    return place


def theirs_of(folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def ours_of(folder):
    tokenizer = tokenizers.load(folder)
    return Policy(model=checkpoints.load(folder), tokenizer=tokenizer, end=tokenizers.end_id(tokenizer))


def gradients(model):
    """Ours under the layout's names, or theirs."""
    if not isinstance(model, Llama):
        return {name: p.grad for name, p in model.named_parameters()}
    with torch.no_grad():
        shadow = Llama(model.config)
        for (_, target), (_, source) in zip(shadow.named_parameters(), model.named_parameters(), strict=True):
            target.copy_(source.grad)
    return checkpoints.to_layout(shadow)


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    largest = max(float(g.abs().max()) for g in theirs.values())
    assert largest > 1e-3, "or nothing is compared"
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) <= 1e-4 * largest


def training(folder, **more):
    quiet = {"report_to": "none", "use_cpu": True, "bf16": False, "save_strategy": "no", "disable_tqdm": True}
    return {"output_dir": str(folder / "out"), "per_device_train_batch_size": 4, **quiet, **more}


def test_fine_tuning_has_trls_loss(folder):
    rows = [{"prompt": p, "completion": c} for p, c in (("one ", "uno"), ("two", " dos"), ("three", "t"), ("x", "y"))]
    model, tokenizer = theirs_of(folder)
    trainer = trl.SFTTrainer(
        model=model,
        args=trl.SFTConfig(**training(folder), packing=False, completion_only_loss=True, gradient_checkpointing=False),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    expected = trainer.compute_loss(model, batch)
    expected.backward()
    policy = ours_of(folder)
    mine = laid_out([[one] for one in examples_of(rows, policy)])
    loss = reply_loss(policy.model, mine) / count_targets(mine)
    loss.backward()
    assert int(count_targets(mine)) == int((batch["labels"][:, 1:] != -100).sum())
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    assert_same(gradients(policy.model), gradients(model))


SAME = {
    "grpo": (Switches(kl=0.1), {"loss_type": "grpo", "beta": 0.1, "use_bias_correction_kl": False}),
    "grpo, wide above": (Switches(clip_high=0.28), {"loss_type": "grpo", "epsilon_high": 0.28}),
    "dr-grpo": (Switches(spread="none", length="constant"), {"loss_type": "dr_grpo", "scale_rewards": "none"}),
    "dapo": (Switches(length="token", clip_high=0.28), {"loss_type": "dapo", "epsilon_high": 0.28}),
    "tokens": (Switches(length="token"), {"loss_type": "bnpo"}),
}


@pytest.mark.parametrize(("switches", "options"), SAME.values(), ids=SAME)
def test_reinforcement_has_trls_loss(folder, switches, options):
    model, tokenizer = theirs_of(folder)
    args = trl.GRPOConfig(
        **training(folder), num_generations=4, max_completion_length=TOKENS, gradient_checkpointing=False, **options
    )
    trainer = trl.GRPOTrainer(
        model=model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=args,
        train_dataset=datasets.Dataset.from_list([{"prompt": "a"}] * 4),
        processing_class=tokenizer,
    )
    policy = ours_of(folder)
    config = GrpoConfig(
        train=TrainConfig(steps=1, precision="fp32", device="cpu"),
        switches=switches,
        prompts=1,
        group=4,
        max_tokens=TOKENS,
        passes=2,
    )
    reference = Llama(MODEL).initialise(torch_generator(1, "initialise")) if switches.kl else None
    experience = Experience(
        policy=policy,
        reference=reference,
        rows=[{"prompt": "abc"}],
        reward=lambda reply, row: float(len(set(reply))),
        config=config,
        meter=Meter(World(), torch.device("cpu")),
        directory=None,
    )
    batch = experience(0, {"row": torch.tensor([0]), "slot": torch.tensor([0])})
    batch["old"] = batch["old"] + 0.5 * torch.randn(batch["old"].shape, generator=torch_generator(2, "old"))
    loss = experience.objective(policy.model, batch) / batch["items"].sum()
    loss.backward()

    place = 2  # the first target behind a prompt of three tokens
    mask, targets = batch["mask"][:, place:].long(), batch["targets"][:, place:].clamp(min=0)
    inputs = {
        "prompt_ids": batch["tokens"][:, : place + 1],
        "prompt_mask": torch.ones(4, place + 1, dtype=torch.long),
        "completion_ids": targets,
        "completion_mask": mask,
        "advantages": batch["advantage"][:, 0],
        "old_per_token_logps": batch["old"][:, place:],
        "num_items_in_batch": mask.sum(),
    }
    if reference is not None:
        inputs["ref_per_token_logps"] = batch["reference"][:, place:]
    trainer.current_gradient_accumulation_steps = trainer.args.steps_per_generation = 1
    expected = trainer._compute_loss(model.train(), inputs)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    assert_same(gradients(policy.model), gradients(model))
    with torch.no_grad():
        looser = dataclasses.replace(config, switches=dataclasses.replace(switches, clip_low=0.5, clip_high=0.5))
        experience.config = looser
        other = experience.objective(policy.model, batch) / batch["items"].sum()
    assert abs(other.item() - loss.item()) > 1e-4, "the batch is one in which the clip holds"


def test_advantages_are_defined_as_trls():
    """(r − mean) / (std + 1e-4), with the std of a sample, as its source has it: TRL has no function to call."""
    rewards = torch.tensor([[0.0, 1.0, 1.0, 3.0]])
    expected = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
    torch.testing.assert_close(objectives.group_advantage(rewards), expected)
    assert math.isclose(dataclasses.asdict(Switches())["eps"], 1e-4)
