"""Distillation: a student learns a teacher's replies (sequences) or its next-token distributions (logits)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maquette.core.errors import UserError
from maquette.language.llama import Llama
from maquette.language.posttrain.examples import Row
from maquette.language.posttrain.objectives import distillation_divergence
from maquette.language.posttrain.policy import Policy
from maquette.language.posttrain.rejection import RejectionConfig, accepted
from maquette.language.posttrain.rewarding import Reward
from maquette.language.posttrain.sft import reply_logits
from maquette.train.loop import Batch, Objective


def teacher_replies(
    teacher: Policy, rows: Sequence[Row], config: RejectionConfig, reward: Reward | None = None
) -> list[dict[str, object]]:
    """Sequence-level distillation (Kim & Rush 2016, arXiv:1606.07947): what the teacher says, to be learned by `sft`.

    With a reward only what is good enough, as DeepSeek-R1's 600,000 traces were chosen; without one everything.
    """
    return accepted(teacher, rows, reward or _anything, config)


def logit_objective(teacher: Llama, *, temperature: float = 1.0, reverse: bool = False) -> Objective:
    """An objective for `sft`: the divergence of the student's next-token distributions from the teacher's, on replies.

    Raises:
        UserError: when called with a student whose vocabulary is another.
    """
    teacher = teacher.eval().requires_grad_(False)

    def objective(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        teacher.to(batch["tokens"].device)
        with torch.no_grad():
            taught = reply_logits(teacher, batch)
        logits = reply_logits(model, batch)
        if logits.shape != taught.shape:
            raise UserError(
                f"The teacher's vocabulary has {taught.shape[-1]} tokens and the student's {logits.shape[-1]}; logits "
                "can be learned only where both have the same tokenizer. Learn the teacher's replies instead."
            )
        divergence = distillation_divergence(logits, taught, temperature=temperature, reverse=reverse)
        return (divergence * (batch["targets"] != -100)).sum()

    return objective


def _anything(reply: str, row: Row) -> float:
    return 1.0
