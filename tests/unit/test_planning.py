import numpy as np
import pytest

from maquette.core.errors import UserError
from maquette.lab.laws import PUBLISHED
from maquette.lab.planning import HARDWARE, LLAMA_3_405B, format_quantity, parse_quantity, plan


def test_llama_3_405b_row():
    row = LLAMA_3_405B
    planned = plan(parameters="405B", tokens="15.6T", hardware="h100", devices=16_384, device_hours="30.84M")
    assert (planned.parameters, planned.tokens) == (row.parameters, row.tokens)
    assert planned.flops == pytest.approx(row.flops, rel=0.005)
    assert planned.device_hours == row.device_hours
    assert planned.hours == pytest.approx(1882, abs=1)
    assert planned.mfu == pytest.approx(0.345, abs=0.001)  # below the 38 to 43 % of steady phases
    assert any("every hour" in note and "attention" in note for note in planned.notes)

    with_attention = plan(parameters=405e9, tokens=15.6e12, device_hours=30.84e6, attention=row.attention)
    assert with_attention.mfu == pytest.approx(0.374, abs=0.001)
    assert with_attention.flops / planned.flops == pytest.approx(1 + 126 * 16_384 * 8_192 * 12 / (6 * 405e9))

    again = plan(parameters="405B", tokens="15.6T", devices=16_384, mfu=planned.mfu)
    assert again.device_hours == pytest.approx(row.device_hours)
    rows = dict(planned.as_rows())
    assert rows["parameters N"] == "405B"
    assert rows["tokens D"].startswith("15.6T")
    assert rows["training FLOPs"] == "3.79e+25"
    assert rows["device-hours"] == "30.84M"
    assert rows["MFU"] == "34.5%"


def test_one_quantity_is_completed_by_the_law():
    law = PUBLISHED["besiroglu"].law
    budget = plan(budget=5.76e23)
    assert budget.flops == pytest.approx(5.76e23)
    assert budget.loss == pytest.approx(law.loss(budget.parameters, budget.tokens))
    assert plan(parameters=budget.parameters).tokens == pytest.approx(budget.tokens)
    assert plan(tokens=budget.tokens).parameters == pytest.approx(budget.parameters)
    assert any("assumption" in note for note in budget.notes)


def test_two_quantities_give_the_third_and_the_optimum_beside_it():
    by_size = plan(budget=6e20, parameters=1e9)
    assert by_size.tokens == pytest.approx(1e11)
    assert plan(budget=6e20, tokens=1e11).parameters == pytest.approx(1e9)
    assert by_size.optimal.compute == pytest.approx(6e20)
    assert by_size.optimal.parameters > 1e9
    assert plan(budget=6e20, law="hoffmann-1").loss is None


def test_hours_and_a_utilisation_are_a_budget():
    planned = plan(hours=2, mfu=0.5, hardware="2cpu", devices=3)
    assert planned.flops == pytest.approx(2 * 3 * 3600 * 0.5 * HARDWARE["2cpu"].peak)
    assert planned.hours == pytest.approx(2)


def test_impossible_hours_are_said_to_be():
    assert any("above 100 %" in note for note in plan(budget=1e24, hours=1).notes)


def test_kaplans_count_is_said():
    assert any("non-embedding" in note for note in plan(budget=1e20, law="kaplan").notes)


def test_law_from_a_csv_of_runs(tmp_path):
    law = PUBLISHED["besiroglu"].law
    path = tmp_path / "mine.csv"
    rows = [(n, d, law.loss(n, d)) for n in np.geomspace(1e7, 1e9, 5) for d in np.geomspace(1e9, 1e11, 5)]
    path.write_text("parameters,tokens,loss\n" + "".join(f"{n!r},{d!r},{v!r}\n" for n, d, v in np.array(rows).tolist()))
    planned = plan(budget=1e21, law=str(path))
    assert planned.parameters == pytest.approx(law.optimal(1e21).parameters, rel=1e-3)
    assert "25 runs of at most 6e+20 FLOPs" in planned.notes[-1]

    path.write_text("parameters,tokens,loss\n1e6,1e7,3\n")
    with pytest.raises(UserError, match="1 runs of 1 sizes"):
        plan(budget=1e21, law=str(path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "were not given; give one or two"),
        ({"budget": 1e20, "parameters": 1e9, "tokens": 1e10}, "were all given; leave one out"),
        ({"hours": 3}, "were not given; give one or two"),
        ({"budget": 1e20, "hours": 3, "mfu": 0.3}, "leave one out"),
        ({"budget": 1e20, "hours": 3, "device_hours": 3}, "hours and device_hours were both given"),
        ({"budget": 1e20, "hardware": "h10"}, "did you mean 'h100'"),
        ({"budget": 1e20, "mfu": 40}, "mfu must lie above 0"),
        ({"budget": 1e20, "devices": 0}, "devices must be at least 1"),
        ({"budget": 1e20, "law": "chinchila"}, "neither a published one nor a CSV"),
        ({"budget": 1e20, "law": "nowhere.csv"}, "nowhere.csv does not exist"),
        ({"parameters": "405 billion"}, "parameters is '405 billion', not a positive number"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        plan(**arguments)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3.8e25", 3.8e25),
        ("405B", 405e9),
        ("15.6T", 15.6e12),
        ("30.84m", 30.84e6),
        ("1_000", 1e3),
        ("16,384", 16384),
        (2, 2),
    ],
)
def test_quantities_parse(text, value):
    assert parse_quantity(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text", ["", "B", "-3", "0", "1e999", "nan", "inf", "4 05B", "405BB", "1.2.3", "3,8e", None, True]
)
def test_bad_quantities_are_refused(text):
    with pytest.raises(UserError, match="not a positive number"):
        parse_quantity(text, "tokens")


@pytest.mark.parametrize("value", [0.5, 12.0, 999.0, 1234.0, 405e9, 15.6e12, 3.8e25])
def test_formatted_quantities_parse_back(value):
    assert parse_quantity(format_quantity(value)) == pytest.approx(value, rel=1e-3)
