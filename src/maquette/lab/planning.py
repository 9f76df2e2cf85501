"""From a budget, a model or a token count, on given hardware, to N, D, FLOPs, hours and the utilisation implied."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from maquette.core.errors import UserError, did_you_mean
from maquette.lab.laws import PUBLISHED, Allocation, Frontier, Hoffmann, Kaplan
from maquette.lab.scaling import fit_law
from maquette.lab.scaling_runs import read_runs

DEFAULT_LAW = "besiroglu"
DEFAULT_MFU = 0.4
"""Assumed where neither hours nor a utilisation is given: what well-run training reaches on datacentre GPUs."""

SIZES, COUNTS = (1e3, 1e15), (1e3, 1e18)
"""Parameters and tokens of models that anybody would train; the laws were fitted well inside."""

_SUFFIXES = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """One device and the peak that utilisation is a share of."""

    title: str
    peak: float
    """FLOP/s, dense (no sparsity), in the precision of the source."""
    source: str


HARDWARE: dict[str, Hardware] = {
    "h100": Hardware(title="NVIDIA H100 SXM", peak=989e12, source="NVIDIA H100 datasheet, bf16 dense"),
    "h200": Hardware(title="NVIDIA H200 SXM", peak=989e12, source="NVIDIA H200 datasheet, bf16 dense"),
    "a100": Hardware(title="NVIDIA A100", peak=312e12, source="NVIDIA A100 datasheet, bf16 dense"),
    "rtx4090": Hardware(
        title="NVIDIA RTX 4090", peak=165.2e12, source="NVIDIA Ada whitepaper, bf16 dense with fp32 accumulation"
    ),
    "2cpu": Hardware(
        title="two CPU cores",
        peak=300e9,
        source="fp32 matrix products measured on two AVX-512 cores; machines differ several-fold, so measure your own",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Attention:
    """What 6ND leaves out: the products of queries with keys and of weights with values."""

    layers: int
    width: int
    """Heads times head dimension."""
    context: int
    """Tokens per sequence."""

    @property
    def flops_per_token(self) -> float:
        """12 · layers · width · context (PaLM, 2204.02311, appendix B): not halved for the causal mask."""
        return 12.0 * self.layers * self.width * self.context


@dataclass(frozen=True, kw_only=True)
class PublishedRun:
    """A training run as its authors report it."""

    parameters: float
    tokens: float
    flops: float
    device_hours: float
    hardware: str
    attention: Attention
    source: str


LLAMA_3_405B = PublishedRun(
    parameters=405e9,
    tokens=15.6e12,
    flops=3.8e25,
    device_hours=30.84e6,
    hardware="h100",
    attention=Attention(layers=126, width=16_384, context=8_192),
    source="Llama Team 2024, 2407.21783 (FLOPs, tokens, shape; MFU of 38 to 43 % in steady phases); "
    "Llama 3.1 model card (30.84M H100 hours)",
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One training run: what is trained, what it costs, and what that rests on."""

    parameters: float
    tokens: float
    flops: float
    """6ND, plus attention where its shape was given."""
    law: str
    optimal: Allocation | None
    """The law's split of the same 6ND; None for a law without one."""
    loss: float | None
    """The law's prediction in nats per token, on its own data and tokenizer; None where it has none."""
    hardware: Hardware
    devices: int
    mfu: float
    """Model FLOPs utilisation: FLOPs over peak FLOP/s times device seconds."""
    device_hours: float
    notes: tuple[str, ...]

    @property
    def hours(self) -> float:
        """Wall-clock hours on all devices."""
        return self.device_hours / self.devices

    def as_rows(self) -> list[tuple[str, str]]:
        """(quantity, value) for a table of two columns."""
        rows = [
            ("parameters N", format_quantity(self.parameters)),
            ("tokens D", f"{format_quantity(self.tokens)} ({self.tokens / self.parameters:.3g} a parameter)"),
            ("training FLOPs", f"{self.flops:.3g}"),
            ("hardware", f"{self.devices} × {self.hardware.title}, peak {self.hardware.peak:.3g} FLOP/s each"),
            ("MFU", f"{self.mfu:.1%}"),
            ("wall-clock hours", f"{self.hours:,.4g}"),
            ("device-hours", format_quantity(self.device_hours)),
            ("law", self.law),
        ]
        if self.optimal is not None:
            n, d = format_quantity(self.optimal.parameters), format_quantity(self.optimal.tokens)
            rows.append(("compute-optimal at 6ND", f"{n} parameters, {d} tokens"))
        if self.loss is not None:
            rows.append(("predicted loss", f"{self.loss:.4g} nats per token"))
        return rows


def plan(
    *,
    budget: str | float | None = None,
    parameters: str | float | None = None,
    tokens: str | float | None = None,
    law: str = DEFAULT_LAW,
    hardware: str = "h100",
    devices: int = 1,
    mfu: float | None = None,
    hours: str | float | None = None,
    device_hours: str | float | None = None,
    attention: Attention | None = None,
) -> Plan:
    """Plan a run from one or two of a budget in FLOPs, a size and a token count; quantities may be text such as "405B".

    One of them is completed by the `law` (a published name, or a CSV of runs to fit), two by C = 6ND. Hours give the
    MFU implied; a MFU (else 40 %) gives the hours; hours and a MFU with nothing else are a budget.

    Raises:
        UserError: too few or too many quantities, a value out of range, an unknown law or hardware, or bad runs.
    """
    device = _device(hardware, devices, mfu)
    given = {"budget": budget, "parameters": parameters, "tokens": tokens}
    known = {name: parse_quantity(value, name) for name, value in given.items() if value is not None}
    spent = _device_hours(hours, device_hours, devices)
    notes = []
    if not known and spent is not None and mfu is not None:
        known["budget"], spent = spent * 3600 * device.peak * mfu, None
    elif spent is not None and mfu is not None:
        raise UserError("Hours and mfu were both given beside a model; leave one out: it is computed from the other.")
    if not 1 <= len(known) <= 2:
        how = "all given; leave one out" if known else "not given; give one or two, or hours and mfu alone"
        raise UserError(f"Budget, parameters and tokens were {how}: the rest is computed.")
    name, frontier, losses, law_notes = resolve_law(law)
    n, d = _in_bounds(*_model(known, frontier))
    total = n * d * (6 + (attention.flops_per_token / n if attention else 0))
    if spent is not None:
        mfu = total / (spent * 3600 * device.peak)
        if mfu > 1:
            notes.append("The implied MFU is above 100 %: no such device does this in these hours.")
        left_out = "" if attention else ", and 6ND leaves attention out"
        notes.append(
            f"The implied MFU counts every hour, restarts and evaluation too{left_out}: a steady phase has more."
        )
    elif mfu is None:
        mfu = DEFAULT_MFU
        notes.append(f"The MFU of {DEFAULT_MFU:.0%} is an assumption; measure yours over a few steps.")
    return Plan(
        parameters=n,
        tokens=d,
        flops=total,
        law=name,
        optimal=frontier.optimal(6 * n * d),
        loss=float(losses.loss(n, d)) if losses else None,
        hardware=device,
        devices=devices,
        mfu=mfu,
        device_hours=spent if spent is not None else total / (3600 * device.peak * mfu),
        notes=(*notes, *law_notes),
    )


def _device(hardware: str, devices: int, mfu: float | None) -> Hardware:
    if hardware not in HARDWARE:
        raise UserError(f"The hardware {hardware!r} is not in the table; {did_you_mean(hardware, HARDWARE)}")
    if devices < 1:
        raise UserError(f"devices must be at least 1, not {devices}; give the number of devices.")
    if mfu is not None and not 0 < mfu <= 1:
        raise UserError(f"mfu must lie above 0 and at most at 1, not {mfu:g}; give a share such as 0.4.")
    return HARDWARE[hardware]


def _device_hours(hours: str | float | None, device_hours: str | float | None, devices: int) -> float | None:
    if hours is not None and device_hours is not None:
        raise UserError("hours and device_hours were both given; leave one out: device_hours = hours × devices.")
    if device_hours is not None:
        return parse_quantity(device_hours, "device_hours")
    return None if hours is None else parse_quantity(hours, "hours") * devices


def _model(known: dict[str, float], frontier: Frontier) -> tuple[float, float]:
    match known:
        case {"parameters": n, "tokens": d}:
            return n, d
        case {"parameters": n, "budget": c}:
            return n, c / (6 * n)
        case {"tokens": d, "budget": c}:
            return c / (6 * d), d
        case {"parameters": n}:
            return n, frontier.for_parameters(n).tokens
        case {"tokens": d}:
            return frontier.for_tokens(d).parameters, d
    optimal = frontier.optimal(known["budget"])
    return optimal.parameters, optimal.tokens


def _in_bounds(parameters: float, tokens: float) -> tuple[float, float]:
    for name, value, (least, most) in (("parameters", parameters, SIZES), ("tokens", tokens, COUNTS)):
        if not least <= value <= most:
            raise UserError(
                f"This comes to {format_quantity(value)} {name}; laws are no guide below {format_quantity(least)} or "
                f"above {most:.0e}, so give other quantities."
            )
    return parameters, tokens


def resolve_law(law: str) -> tuple[str, Frontier, Hoffmann | Kaplan | None, tuple[str, ...]]:
    """Title, frontier, law of the loss and notes of a published law, or of one fitted to the runs of a CSV.

    Raises:
        UserError: neither a published name nor a readable CSV whose runs determine a law.
    """
    if law in PUBLISHED:
        found = PUBLISHED[law]
        counted = ("N counts non-embedding parameters.",) if found.counting == "non-embedding" else ()
        return found.title, found.frontier, found.law, (f"Law: {found.source}.", *counted, *filter(None, [found.note]))
    path = Path(law)
    if path.suffix.lower() != ".csv" and not path.exists():
        raise UserError(f"The law {law!r} is neither a published one nor a CSV of runs; {did_you_mean(law, PUBLISHED)}")
    runs = read_runs(path)
    fit = fit_law(runs)
    largest = max(run.compute("total") for run in runs)
    notes = (f"Fitted to {len(runs)} runs of at most {largest:.3g} FLOPs; beyond them it extrapolates.",)
    title = f"approach 3 fitted to {path}"
    return title, fit.law.frontier, fit.law, (*notes, *filter(None, [fit.convergence.warning]))


def parse_quantity(value: str | float, name: str = "quantity") -> float:
    """A positive number from text such as 3.8e25, 405B, 15.6T or 30.84M (K, M, B, T: thousand to trillion).

    Raises:
        UserError: anything else.
    """
    match = re.fullmatch(
        r"([0-9][0-9_,]*\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?([KMBT]?)", str(value).strip(), re.IGNORECASE
    )
    if match:
        number, exponent, suffix = match.groups()
        parsed = float(number.replace(",", "").replace("_", "") + (exponent or "")) * _SUFFIXES[suffix.upper()]
        if 0 < parsed < math.inf:
            return parsed
    raise UserError(f"{name} is {str(value)!r}, not a positive number; write it as 3.8e25, 405B, 15.6T or 30.84M.")


def format_quantity(value: float) -> str:
    """A number with K, M, B or T, to four figures; plain or in powers of ten outside their range."""
    for suffix, unit in reversed(_SUFFIXES.items()):
        if unit <= value < unit * 1000:
            return f"{value / unit:.4g}{suffix}"
    return f"{value:.4g}"
