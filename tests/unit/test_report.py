"""What a report says, on the page, in the paper and on slides, from records made up for it."""

import base64
import dataclasses
import functools
import re
from pathlib import Path

import numpy as np
import pytest
import typst

from maquette.cli import commands
from maquette.core.errors import UserError
from maquette.core.records import Cost, Prediction, Record, write_record
from maquette.core.statistics import Interval
from maquette.lab.artifacts import plain
from maquette.lab.bending import Axis, Bend, Between, Search
from maquette.lab.criticism import Criticism, Curve, Reading
from maquette.lab.evidence import Evidence
from maquette.lab.figures import Figure, Series, along, draw
from maquette.lab.improvement import Candidate, Improvement
from maquette.lab.report import typeset
from maquette.lab.report.bending_figures import effect_curve, search_history
from maquette.lab.report.contents import absent, section
from maquette.lab.report.markdown import criticism_line, improvement_line, results_section
from maquette.lab.report.page import write_page
from maquette.lab.report.prose import literal, parse, plain_text, points, read_discussion, to_html
from maquette.lab.report.sentences import finding
from maquette.lab.report.slides import MOST, choose
from maquette.lab.run import Run
from maquette.lab.study import load_study
from maquette.lab.verdicts import Verdict, judge

TOY = Path(__file__).parent.parent / "contract" / "toy_study.py"
AWKWARD = '# Is _this_ @tab:x *really* $5 <b>bold</b> \\ `code` & "quoted" [a](b) C^0.5 = N_opt ~ 50 %?'
DISCUSSION = """# What I make of it

It holds, see @fig:forest and @tab:claims; the costs are in @sec:cost. [Read](https://example.org/a_b) **more**.

## Why

- One *point*, from @fig:along-noise.
- Another, with `code`.

1. A numbered one.

> Quoted.

```sh
maquette list
```
"""


@pytest.fixture(scope="module")
def toy():
    return load_study(str(TOY))


def record(arm, seed, config, scale="laptop"):
    mean = config["mean"] + 0.01 * seed * (1 + config["mean"])
    return Record(
        study="toy",
        scale=scale,
        arm=arm,
        seed=seed,
        key=f"{arm}{seed}",
        config=config,
        measures={"score": mean, "largest": mean + 1},
        cost=Cost(flops=100, tokens=200, wall_seconds=60, cpu_seconds=50),
        threads=1,
        machine={"cpu": "a CPU", "cores": 2, "memory_gib": 4.0, "gpu": None, "system": "Linux x86_64"},
        versions={"python": "3.11", "maquette": "0.1"},
        commit="0123456789abcdef",
        started=f"2026-01-0{seed + 1}T10:00:00.000",
        finished=f"2026-01-0{seed + 1}T11:00:00.000",
    )


def evidence_of(study, scale="laptop", seeds=5):
    configs = study.configs(study.scale(scale)).items()
    records = {(arm, seed): record(arm, seed, plain(config), scale) for arm, config in configs for seed in range(seeds)}
    said = Prediction(study="toy", scale=scale, seed=0, key="", basis={}, measures={"score": 2.0}, made="2026-01-01T09")
    predictions = {0: said} if study.foretell else {}
    return Evidence(study=study, scale_name=scale, scale=study.scale(scale), records=records, predictions=predictions)


def reading(claim, label, mean, half=0.1):
    interval = Interval(mean=mean, low=mean - half, high=mean + half, confidence=0.95, n=3)
    return Reading(label=label, interval=interval, verdict=judge(interval, claim.region))


def criticism_of(study, axes=2):
    """Axes along which the first claim breaks at the third place and goes under at the fourth; the second one holds."""
    found = []
    for number in range(axes):
        axis = Axis.over("spread", (0.01, 0.1, 1.0, 10.0), objection="Noise!", log=True, name=f"noise{number or ''}")
        for claim, means in zip(study.claims[:2], ((1, 0.9, 0.55, 0.1), (0, 0, 0, 0)), strict=True):
            places = [bend.label for bend in axis.bends]
            readings = tuple(reading(claim, place, mean) for place, mean in zip(places, means, strict=True))
            found.append(Curve(axis=axis, claim=claim, unbent=readings[1], readings=readings))
    return Criticism(seeds=3, curves=tuple(found), cost=Cost(flops=7e3, wall_seconds=9), changes={"steps": 50})


def improvement_of(verdict=Verdict.REPRODUCED):
    search = Search(
        arm="high",
        measure="score",
        direction="higher",
        by=0.1,
        over={"spread": Between(low=0.1, high=1)},
        question="Can it be higher?",
    )
    scores = [1.0, 0.8, 1.3, None]
    candidates = [
        Candidate(number=number, values={"spread": 0.1 * number} if number else {}, score=score, flops=100.0)
        for number, score in enumerate(scores)
    ]
    return Improvement(
        search=search,
        candidates=tuple(candidates),
        best=candidates[2],
        base=(1.0, 1.1),
        improved=(1.3, 1.4),
        interval=Interval(mean=0.3, low=0.25, high=0.35, confidence=0.95, n=2),
        verdict=verdict,
        cost=Cost(flops=3e3, wall_seconds=5),
        base_flops=100,
        improved_flops=101,
    )


@pytest.fixture(scope="module")
def discussion(tmp_path_factory):
    path = tmp_path_factory.mktemp("discussion") / "mine.md"
    path.write_text(DISCUSSION, encoding="utf-8")
    return read_discussion(path)


@pytest.fixture(scope="module")
def whole(toy, discussion):
    """A report with all that one can hold, which draws each figure once."""
    command = "maquette run toy\nmaquette criticise toy"
    found = section(
        evidence_of(toy),
        command,
        criticism_of(toy),
        improvement_of(),
        authors=("Ann A.", "Żoë B."),
        discussion=discussion,
    )
    plates = [dataclasses.replace(one, draw=functools.cache(one.draw)) for one in found.plates]
    return dataclasses.replace(found, plates=plates)


def text_of(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", re.sub(r"(?s)<(svg|style).*?</\1>", "", html)))


def test_the_page_numbers_in_order_and_every_link_arrives(whole, tmp_path):
    write_page(tmp_path / "page.html", [whole])
    html = (tmp_path / "page.html").read_text()
    ids = re.findall(r'id="([^"]+)"', html)
    targets = set(re.findall(r'<a href="#([^"]+)"', html))
    assert {"fig:forest", "tab:claims", "sec:cost", "fig:along-noise", "ref:paper", "ref:holm"} <= targets
    assert targets <= set(ids)
    for word in ("Figure", "Table"):
        numbers = [int(found) for found in re.findall(rf"<figcaption><b>{word} (\d+)\.", html)]
        assert numbers == list(range(1, len(numbers) + 1))
    shown = re.findall(r'<h2 id="sec:[a-z]+"><span class="number">(\d)</span>([^<]+)', html)
    assert [title for _, title in shown] == list(whole.parts.values())
    assert "What I make of it" in whole.parts.values()


def test_page_and_paper_say_the_same(whole, tmp_path):
    write_page(tmp_path / "page.html", [whole])
    page = text_of((tmp_path / "page.html").read_text())
    document = typeset._document(whole)
    claims = next(table for table in document["tables"] if table["label"] == "tab:claims")
    cells = [plain_text(cell) for row in claims["rows"] for cell in row["cells"]]
    assert {"A higher mean scores higher.", "control: again_low in place of high", "reproduced", "fails"} <= set(cells)
    for said in [*cells, *(plain_text(document[name]) for name in ("abstract", "statistics", "limits"))]:
        for name, number in whole.names.items():
            said = said.replace(name, number)
        assert re.sub(r"\s+", " ", said.replace("&", "&amp;")) in page


def test_the_abstract_answers(whole):
    said = plain_text(whole.abstract)
    assert "A small reproduction of Nobody et al. (2024) ref:paper. The paper reports: +1.0." in said
    assert "“A higher mean scores higher”, is reproduced at laptop scale, over 5 seeds: its effect is 1.02" in said
    assert "Bent along noise and noise1, it ceases to be reproduced along each" in said
    assert "A search improves the score of high by 0.300 [0.250, 0.350]" in said
    assert "20 trials over 5 seeds" in said


def test_figures_first_then_the_search_last(whole, toy):
    labels = [one.label for one in whole.plates]
    assert labels == ["fig:score-by-mean", "fig:forest", "fig:along-noise", "fig:along-noise1", "fig:search"]
    bare = section(evidence_of(dataclasses.replace(toy, figures=None)), "maquette run toy")
    assert [one.label for one in bare.plates] == ["fig:forest"]


def test_cost_counts_what_came_on_top(whole):
    table = next(one for one in whole.tables if one.label == "tab:cost")
    assert [row.cells[0] for row in table.rows[-3:]] == ["criticism", "improvement", "all"]
    assert table.rows[-1].cells[2] == "12,000"  # 20 trials of 100, 7,000 and 3,000


def test_where_a_claim_breaks(toy):
    first, second = criticism_of(toy).curves[:2]
    assert finding(first) == "undecided at 1; refuted at 10"
    assert finding(second) == "reproduced at every place"
    shaky = dataclasses.replace(first, unbent=reading(first.claim, 0.1, 0.5))
    assert finding(shaky).startswith("undecided even as it stands")


def test_curves_mark_what_broke_and_where_the_study_stands(toy):
    curve = criticism_of(toy).curves[0]
    figure = effect_curve(curve, "C1")
    marks = {series.label: list(series.x) for series in figure.series}
    assert marks == {"effect": [0.01, 0.1, 1, 10], "not reproduced": [1, 10], "as it stands": [0.1]}
    assert (figure.kind, figure.region[0]) == ("log-x", 0.5)
    assert figure.places == {0.01: "0.01", 0.1: "0.1", 1: "1", 10: "10"}
    away = effect_curve(dataclasses.replace(curve, unbent=reading(curve.claim, "as it stands", 0.8)), "C1")
    assert [(series.mark, list(series.y)) for series in away.series if series.muted] == [("dashed", [0.8, 0.8])]
    axis = Axis(name="arms", bends=(Bend(label="few"), Bend(label="none")), objection="?")
    named = tuple(reading(curve.claim, bend.label, 1) for bend in axis.bends)
    unbent = reading(curve.claim, "as it stands", 1)
    places = effect_curve(Curve(axis=axis, claim=curve.claim, unbent=unbent, readings=named), "C1").places
    assert list(places.values()) == ["as it stands", "few", "none"]


def test_the_search_shows_the_best_so_far_and_leaves_out_what_is_too_dear():
    figure = search_history(improvement_of())
    series = {one.label: (list(one.x), list(one.y)) for one in figure.series}
    assert series["candidate"] == ([1, 2], [0.8, 1.3])
    assert series["best so far"] == ([1, 2], [0.8, 1.3])
    assert series["as it stands"][1] == [1.0, 1.0]
    assert "1 that failed or cost over 1.02 times the study" in figure.caption


@pytest.fixture
def warnings_of_typst(monkeypatch):
    """What Typst complains of while the test runs."""
    complaints = []

    def compile_(*arguments, **options):
        typeset_, warnings = typst.compile_with_warnings(*arguments, **options)
        complaints.extend(warnings)
        return typeset_

    monkeypatch.setattr(typeset.typst, "compile", compile_)
    return complaints


def pages_of(path):
    return len(re.findall(rb"/Type\s*/Page\b", path.read_bytes()))


def test_paper_and_slides_are_typeset_the_same_every_time(whole, tmp_path, warnings_of_typst):
    paper = tmp_path / "report.pdf"
    typeset.write_paper(paper, whole)
    first = paper.read_bytes()
    assert first.startswith(b"%PDF")
    assert 2 <= pages_of(paper) <= 8
    typeset.write_paper(paper, whole)
    assert paper.read_bytes() == first
    many = typeset.write_slides(tmp_path / "slides.pdf", whole)
    assert pages_of(tmp_path / "slides.pdf") == many == len(choose(whole))
    assert not warnings_of_typst
    assert {path.name for path in tmp_path.iterdir()} == {"report.pdf", "slides.pdf"}


def test_text_that_is_special_elsewhere_is_only_text(toy, tmp_path, warnings_of_typst):
    paper = dataclasses.replace(toy.paper, title=AWKWARD, reports=AWKWARD, authors="O'Neil & Sons")
    claim = dataclasses.replace(toy.claims[0], text=AWKWARD, contested=AWKWARD)
    study = dataclasses.replace(toy, question=AWKWARD, paper=paper, claims=(claim,), figures=None)
    told = section(evidence_of(study), "maquette run toy", authors=("#eval(1)",))
    typeset.write_paper(tmp_path / "report.pdf", told)
    typeset.write_slides(tmp_path / "slides.pdf", told)
    write_page(tmp_path / "page.html", [told])
    assert not warnings_of_typst
    html = (tmp_path / "page.html").read_text()
    assert "<b>bold</b>" not in html
    assert "C<sup>0.5</sup> = N<sub>opt</sub>" in html


@pytest.mark.parametrize(("scale", "seeds"), [("smoke", 2), ("tour", 1)])
def test_a_scale_that_decides_nothing_says_so(toy, tmp_path, scale, seeds):
    told = section(evidence_of(dataclasses.replace(toy, foretell=None, foretold=()), scale, seeds), "maquette run toy")
    assert "which decides nothing" in plain_text(told.abstract)
    assert told.statistics == []
    assert [source.label for source in told.sources] == ["ref:paper"]
    claims = next(one for one in told.tables if one.label == "tab:claims")
    assert "Interval" not in claims.head
    assert {len(row.cells) for row in claims.rows} == {len(claims.head)} == {len(claims.align)}
    typeset.write_paper(tmp_path / "report.pdf", told)
    titles = [page.title for page in choose(told)]
    assert "The effects; nothing is decided" in titles
    assert not [title for title in titles if "control" in title]


def test_what_trials_published_is_on_the_page(toy, tmp_path):
    run = Run(tmp_path / "trial", exhibits=tmp_path / "exhibits")
    run.animation("Samples over training", np.zeros((2, 8, 8, 3), np.uint8), 4.0)
    run.table("Replies before and after", ["puzzle", "before"], [["1+1=", "<b>3</b> ✗"]])
    write_page(tmp_path / "page.html", [section(evidence_of(toy), "a", exhibits=tmp_path / "exhibits")])
    page = (tmp_path / "page.html").read_text()
    gif = (tmp_path / "exhibits" / "samples-over-training.gif").read_bytes()
    assert base64.b64encode(gif).decode() in page
    assert "Samples over training." in page
    assert "&lt;b&gt;3&lt;/b&gt; ✗" in page  # what a model wrote is never markup
    assert "<b>3</b>" not in page


def test_two_studies_on_one_page_do_not_share_anchors(toy, tmp_path):
    other = dataclasses.replace(toy, name="other")
    sections = [section(evidence_of(toy), "a"), section(evidence_of(other), "b")]
    write_page(tmp_path / "tour.html", sections, heading="A tour")
    ids = re.findall(r'id="((?:toy|other)-[^"]+)"', (tmp_path / "tour.html").read_text())
    assert len(ids) == len(set(ids))
    assert {"toy-fig:forest", "other-fig:forest"} <= set(ids)


def test_a_talk_has_ten_to_fifteen_pages(toy, whole):
    least = choose(section(evidence_of(dataclasses.replace(toy, figures=None)), "maquette run toy"))
    assert len(least) >= 10
    figures = toy.figures(evidence_of(toy).by_seed)
    many = dataclasses.replace(
        toy, figures=lambda by_seed: [dataclasses.replace(figures[0], title=f"F{i}") for i in range(9)]
    )
    talk = "\n\n".join(f"## Part {part}\n\n" + "\n".join(f"- Point {point}." for point in range(5)) for part in (1, 2))
    two = dataclasses.replace(whole.discussion, blocks=parse(talk))
    most = choose(section(evidence_of(many), "x", criticism_of(toy, axes=4), improvement_of(), discussion=two))
    titles = [page.title for page in most]
    assert len(most) == MOST
    assert titles.count("What I make of it") == 2, "nothing of the discussion is left out"
    assert "Along noise, C1 is undecided at 1; refuted at 10" in titles
    assert "Tuning improves the score" in titles
    assert "F0" in titles
    assert "F8" not in titles
    assert titles[-1] == "How to run it again"


def test_the_controls_have_no_column_without_a_word(toy):
    """What a control needs is to fail; only a check asks for a region of its own."""
    (page,) = [one for one in choose(section(evidence_of(toy), "c")) if one.title.startswith("Every control")]
    assert "Needed" not in page.table.head
    for place, heading in enumerate(page.table.head):
        assert any(row.cells[place] for row in page.table.rows), heading
    check = dataclasses.replace(toy.claims[1], control=())
    checked = (dataclasses.replace(toy.claims[0], checks=(check,)), *toy.claims[1:])
    pages = choose(section(evidence_of(dataclasses.replace(toy, claims=checked)), "c"))
    assert any("Needed" in one.table.head for one in pages if one.table and one.table.label == "tab:controls")


def test_discussion_takes_its_title_and_its_points(discussion):
    assert discussion.title == "What I make of it"
    assert [node["level"] for node in discussion.blocks if node["kind"] == "heading"] == [1]
    assert [plain_text([one]) for one in points(discussion.blocks)] == [
        "It holds, see fig:forest and tab:claims; the costs are in sec:cost. Read more.",
        "Why",
        "One point, from fig:along-noise.",
        "Another, with code.",
        "A numbered one.",
    ]
    prose = parse("First *things* first. Then more.\n\nThese:\n\n- one\n- two\n\nLast. And so on.")
    assert [plain_text([one]) for one in points(prose)] == ["First things first.", "one", "two", "Last."]


def test_html_of_prose():
    html = to_html(parse(DISCUSSION), {"fig:forest": "Figure 2"}, "toy-")
    assert '<a href="#toy-fig:forest">Figure 2</a>' in html
    assert '<a href="https://example.org/a_b">Read</a> <strong>more</strong>' in html
    assert "<pre>maquette list</pre>" in html
    assert to_html(parse("`@fig:x` me@home:x <script> [x](javascript:alert(1))"), {}) == (
        "<p><code>@fig:x</code> me@home:x &lt;script&gt; [x](javascript:alert(1))</p>"
    )


@pytest.mark.parametrize(
    "text", [AWKWARD, *"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "1. one", "- one", "    four", "a\\*b"]
)
def test_literal_text_stays_what_it_was(text):
    plainly = plain_text(parse(literal(text.strip()))).translate(str.maketrans("’“”‘\u00a0", "'\"\"' "))
    assert plainly == re.sub(r"[_^](?=opt|0\.5)", "", text.strip())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist; check the path"),
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"caf\xe9", "is not UTF-8 text"),
        (b"See ![me](me.png).", "holds an image, 'me.png'"),
    ],
)
def test_a_discussion_that_cannot_be_used(tmp_path, content, sentence):
    path = tmp_path / "mine.md"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(sentence)) as caught:
        read_discussion(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("See @fig:forrest.", "refers to @fig:forrest, which is not there; did you mean 'fig:forest'?"),
        ("See @sec:criticism.", "refers to @sec:criticism, which is not there"),
        ("**See @tab:claim**", "did you mean 'tab:claims'?"),
    ],
)
def test_a_reference_to_what_is_not_there(toy, tmp_path, words, sentence):
    path = tmp_path / "mine.md"
    path.write_text(words)
    with pytest.raises(UserError, match=re.escape(sentence)):
        section(evidence_of(toy), "maquette run toy", discussion=read_discussion(path))


def test_what_is_absent_is_said(toy, whole):
    bare = section(evidence_of(toy), "maquette run toy")
    assert absent(bare, "toy") == ["The discussion is its author's to add: --discussion my.md"]
    assert absent(whole, "toy") == []


@pytest.fixture
def command_line(toy, tmp_path, monkeypatch, capsys):
    """Runs `maquette report toy_study.py …` in a folder with records of the toy."""
    monkeypatch.chdir(tmp_path)
    for (arm, seed), one in evidence_of(toy).records.items():
        write_record(tmp_path / "runs" / "toy" / "laptop" / "trials" / f"{arm}.{seed}.json", one)
    (tmp_path / "mine.md").write_text("It holds: @fig:forest.")

    def run(*options):
        assert commands.run(["report", str(TOY), *options]) == 0
        return capsys.readouterr()

    return run


def test_the_command_writes_what_is_asked_for(command_line, tmp_path):
    said = command_line("--pdf", "--slides", "--author", "Ann A., Bob B.", "--author", "Cy", "--discussion", "mine.md")
    assert said.out.split() == ["runs/toy/laptop/report.pdf", "runs/toy/laptop/slides.pdf"]
    assert "--discussion" not in said.err
    assert all(Path(name).read_bytes().startswith(b"%PDF") for name in said.out.split())
    said = command_line("--author", "Ann A., Bob B.", "--author", "Cy", "--out", "page.html")
    assert said.out.strip() == "page.html"
    assert "--discussion my.md" in said.err.splitlines()[-1]
    html = (tmp_path / "page.html").read_text()
    assert "Ann A., Bob B., Cy" in html
    assert f"maquette run {TOY} --scale laptop</pre>" in html


def test_records_of_other_code_are_called_stale_and_shown_with_the_settings_they_were_made_with(toy, tmp_path):
    evidence = evidence_of(toy)
    made = {key: dataclasses.replace(one, config=one.config | {"draws": 77}) for key, one in evidence.records.items()}
    found = section(dataclasses.replace(evidence, records=made), "maquette run toy", current=False)
    write_page(tmp_path / "page.html", [found])
    page = text_of((tmp_path / "page.html").read_text())
    assert "code no longer gives these records" in page
    assert "draws 77" in page
    claims = next(one for one in choose(found) if one.kind == "claims")
    assert "code no longer gives these records" in plain_text(claims.prose)
    assert "Stale" not in plain_text(section(evidence, "maquette run toy").warnings)


def test_the_command_says_so_of_records_of_other_code(command_line):
    assert "Stale: today's code no longer gives these records" in command_line("--out", "page.html").err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--scale", "tour"), "There are no records of toy at tour scale in"),
        (("--discussion", "none.md"), "none.md does not exist"),
        (("--pdf", "--slides", "--out", "x.pdf"), "--out names one file"),
        (("--axes", "noise"), "toy offers no critique"),
        (("--author", " , "), "--author is empty"),
    ],
)
def test_bad_options_are_one_sentence_and_nothing_is_written(command_line, tmp_path, options, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        command_line(*options)
    assert not list(tmp_path.rglob("*.html")) + list(tmp_path.rglob("*.pdf"))


def test_axes_are_known_and_criticised(tmp_path, monkeypatch):
    bent = TOY.with_name("bent_study.py")
    study = load_study(str(bent))
    monkeypatch.chdir(tmp_path)
    one = record("near", 3, plain(study.configs(study.scale("laptop"))["near"]) | {"mean": 1.0})
    config = {name: value for name, value in one.config.items() if name != "mean"}
    path = tmp_path / "runs" / "bent" / "laptop" / "trials" / "near.3.json"
    write_record(path, dataclasses.replace(one, study="bent", config=config))
    with pytest.raises(UserError, match="There is no axis 'nose'; did you mean 'noise'"):
        commands.run(["report", str(bent), "--axes", "nose"])
    with pytest.raises(UserError, match="holds no criticism; make some: maquette criticise"):
        commands.run(["report", str(bent), "--axes", "noise"])


def test_results_tell_what_bending_and_tuning_have_shown_and_whether_it_still_holds(toy):
    said = criticism_line(toy, criticism_of(toy), current=True)
    assert said.startswith("Criticism, 3 seeds a place: the first claim is along *noise* ")
    assert "refuted at 10" in said
    assert "stale" not in said
    assert "**stale**" in criticism_line(toy, criticism_of(toy), current=False)
    said = improvement_line(improvement_of(), current=False)
    assert "improved by more than 0.1" in said
    assert "**stale**" in said
    section = results_section(evidence_of(toy), "again", current=True, beside=[said])
    assert f"\n- {said}\n- Again: `again`" in section
    assert "under way" not in section


def test_results_say_that_a_study_has_not_come_to_its_first_look(toy):
    section = results_section(evidence_of(toy, seeds=2), "again", current=True)
    assert "It is under way, with 2 of the 5 seeds of its first look" in section
    assert "under way" not in results_section(evidence_of(toy, "smoke", seeds=1), "again", current=True)


@pytest.mark.parametrize(("low", "high"), [(0.013, 0.43), (0.2, 0.5), (1, 80), (0.02, 30)])
def test_a_logarithmic_axis_has_numbers_to_read_it_by(low, high):
    series = [Series(x=[low, high], y=[1.0, 2.0], mark="points")]
    drawn = draw(Figure(title="", x="", y="", series=series, kind="log-x"))
    axis = drawn[drawn.index('id="matplotlib.axis_1"') : drawn.index('id="matplotlib.axis_2"')]
    assert axis.count('<g id="xtick_') >= 2
    assert len(re.findall(r"<!-- [\d.]+ -->", axis)) >= 2


def test_a_curve_along_measures_is_their_mean_over_the_seeds():
    by_seed = {
        0: {"before": {"at 1": 0.0, "at 8": 0.5}, "after": {"at 1": 1.0, "at 8": 1.0}},
        3: {"before": {"at 1": 0.5, "at 8": 1.0}, "after": {"at 1": 0.0, "at 8": 0.5}},
    }
    figure = along(by_seed, ("after", "before"), {1: "at 1", 8: "at 8"}, title="Two", x="samples", y="share")
    assert [(one.label, one.x, one.y) for one in figure.series] == [
        ("after", [1, 8], [0.5, 0.75]),
        ("before", [1, 8], [0.25, 0.75]),
    ]
    assert (figure.title, figure.x) == ("Two", "samples")
