"""Numbers, intervals and regions in words: the same in the terminal, the report and RESULTS.md."""

import math

from maquette.core.statistics import Interval

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, digits: int = 3) -> str:
    """A few significant digits, powers of ten written out: 0.123, 1,240, 3.8 × 10²⁵."""
    if value == 0 or not math.isfinite(value):
        return {0.0: "0", math.inf: "∞", -math.inf: "−∞"}.get(value, "–")
    exponent = math.floor(math.log10(abs(value)))
    if not -4 <= exponent < 6:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        short = f"{float(mantissa):g}".replace("-", "−")
        return f"{short} × 10{str(int(power)).translate(_SUPERSCRIPTS)}"
    return f"{value:,.{max(0, digits - 1 - exponent)}f}".replace("-", "−")


def exact(value: float) -> str:
    """A number that someone chose, as chosen: 0.5, 20,000, 3 × 10⁻⁴."""
    if not math.isfinite(value):
        return number(value)
    mantissa, _, power = f"{value:.6g}".partition("e")
    digits = f"{float(mantissa):,.10f}".rstrip("0").rstrip(".").replace("-", "−")
    return f"{digits} × 10{str(int(power)).translate(_SUPERSCRIPTS)}" if power else digits


def interval(found: Interval | None) -> str:
    """The bounds, or a dash where no look was reached; seeds that all gave the same have none."""
    if found and found.low == found.high:
        return "no spread"
    return f"[{number(found.low)}, {number(found.high)}]" if found else "–"


def region(low: float, high: float) -> str:
    """Where a claim wants its effect."""
    if math.isinf(high):
        return f"above {exact(low)}"
    if math.isinf(low):
        return f"below {exact(high)}"
    return f"within ±{exact(high)}" if low == -high else f"{exact(low)} to {exact(high)}"


def duration(seconds: float) -> str:
    """Seconds in words: 40 ms, 0.4 s, 12 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 0.1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
