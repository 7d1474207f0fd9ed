"""The report says what the numbers say, loads nothing, and is the same bytes twice."""

import base64
import json
import re
from html.parser import HTMLParser

import pytest
from reported import (
    ORDER,
    drawn,
    example,
    many,
    row,
    rows,
)

from fieldmark.core import plugins, store
from fieldmark.report import about, leaderboard, page, plots, tables
from fieldmark.report.about import About


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    page.write(path, page.Content(**example()))
    return path.read_text()


class Outline(HTMLParser):
    """Refuses tags that do not close what was opened; keeps attributes and text."""

    VOID = frozenset({"meta", "img", "br", "link", "hr", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.attributes, self.text = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else at {self.getpos()}"

    def handle_data(self, data):
        self.text.append(data)


def test_page_is_well_formed_and_every_picture_has_words(html):
    attributes = Outline(html).attributes
    sources = [value for tag, name, value in attributes if (tag, name) == ("img", "src")]
    alts = [value for tag, name, value in attributes if (tag, name) == ("img", "alt")]
    examples = 3 * 4 * len(ORDER) + 2 * (1 + len(ORDER))  # photo, mask and both; then what all make of the same two
    examples += 2 * 8 + len(ORDER) - 1  # two strips; a mistake of all but the first
    assert len(sources) == len(alts) == 10 + examples  # ten plots
    assert all(alts)


def test_page_loads_nothing(html):
    for _, name, value in Outline(html).attributes:
        if name in ("src", "href", "srcset", "data", "action"):
            assert value.startswith(("data:", "#")), value
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in html
    for drawing in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", html):
        assert not re.search(r"(href|src)=\"(?!#)", base64.b64decode(drawing).decode())


def test_page_is_the_same_bytes_twice(html, tmp_path):
    drawn.cache_clear()
    page.write(tmp_path / "again.html", page.Content(**example()))
    assert (tmp_path / "again.html").read_text() == html


def test_every_model_and_group_is_shown(html):
    text = " ".join(Outline(html).text)
    for name in [*ORDER, "bird on moon", "mammal on water", "train@random_mask-2", "225def6"]:
        assert name in text


def test_unknown_is_a_word(html):
    text = " ".join(Outline(html).text)
    assert "unknown" in text
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", text)


def test_page_without_anything_measured_and_with_a_hostile_name(tmp_path):
    nothing = {"rows": [], "claims": [], "groups": [], "gallery": [], "compared": [], "drawings": []}
    nothing |= {"gate": None, "about": {}, "strips": [], "failures": {}}
    path = tmp_path / "report.html"
    page.write(path, page.Content(**(example() | nothing | {"title": "<script>alert(1)</script>"})))
    text = path.read_text()
    assert "<script>alert" not in text
    assert "No champion yet" in " ".join(Outline(text).text)


def test_verdict_names_the_check_that_settled_it():
    gate = example()["gate"]
    assert page.verdict(gate) == (
        "The champion is erm: ersm stays a challenger (not enough evidence: worst-group accuracy, ersm minus erm:"
        " 0.031 [-0.012, 0.071])."
    )
    passed = [reason | {"passed": True} for reason in gate.decisions[0]["reasons"]]
    promoted = page.Gate("ersm", [gate.decisions[0] | {"verdict": "promote", "reasons": passed}])
    assert page.verdict(promoted).startswith("The champion is ersm: ersm was promoted (worst-group accuracy")
    assert page.verdict(page.Gate("erm", [])) == "The champion is erm."


def test_leaderboard_text_is_aligned():
    printed = leaderboard.leaderboard_text(rows(), [*ORDER, "unmeasured"]).splitlines()
    assert len({len(line) for line in printed}) == 1
    assert printed[0].split() == ["model", "average", "worst", "group", "gap", "closed", "BG-Gap", "mask", "AUC"]
    assert "0.721 [0.661, 0.781]" in printed[1]
    assert printed[-1].split() == ["unmeasured"] + ["unknown"] * 5


def test_leaderboard_markdown_and_records():
    lines = leaderboard.leaderboard_markdown(rows(), ORDER).splitlines()
    assert {line.count("|") for line in lines} == {7}
    first = leaderboard.leaderboard_records(rows(), ORDER)[0]
    assert first == {
        "model": "erm",
        "average": "0.892 [0.862, 0.922]",
        "worst group": "0.721 [0.661, 0.781]",
        "gap closed": "0.000 [-0.200, 0.200]",
        "BG-Gap": "0.151 [0.121, 0.181]",
        "mask AUC": "0.500 [0.490, 0.510]",
    }


def test_rows_read_back_from_json_print_the_same(tmp_path):
    store.write_json(tmp_path / "leaderboard.json", rows())
    assert "NaN" not in (tmp_path / "leaderboard.json").read_text()
    back = json.loads((tmp_path / "leaderboard.json").read_text())
    assert leaderboard.find(back, "erm", "mask_iou_top_area")["mean"] is None
    assert leaderboard.leaderboard_text(back, ORDER) == leaderboard.leaderboard_text(rows(), ORDER)
    again = plots.drawings(back, ORDER, [])
    assert [drawing.svg for drawing in again] == [drawing.svg for drawing in plots.drawings(rows(), ORDER, [])]


def test_measures_are_shown_in_one_order_and_strangers_last():
    mixed = [row("erm", metric, 0.5) for metric in ("stranger", "acc_no_fg", "token_auc", "acc_original", "average")]
    assert leaderboard.metrics(mixed) == ["average", "token_auc", "acc_original", "acc_no_fg", "stranger"]


def test_no_model_is_best_where_the_object_is_gone(tmp_path):
    bare = [row("erm", "average", 0.8), row("erm", "acc_no_fg", 0.7)]
    page.write(tmp_path / "report.html", page.Content(**(example() | {"rows": bare})))
    text = (tmp_path / "report.html").read_text()
    assert "<strong>0.800</strong>" in text
    assert "<strong>0.700</strong>" not in text
    assert leaderboard.UNRANKED["acc_no_fg"] in text


def test_validation_rows_stay_out_of_the_leaderboard():
    assert leaderboard.find([row("erm", "average", 0.9, part="val")], "erm", "average") is None


def test_a_page_of_many_models_groups_and_folds_them(tmp_path):
    page.write(tmp_path / "report.html", page.Content(**many()))
    html = (tmp_path / "report.html").read_text()
    summaries = re.findall(r"<summary>(.*?)</summary>", html)
    for heading in about.FAMILIES:
        assert (
            sum(summary.startswith(f"{heading.capitalize()} (") for summary in summaries) == 3
        )  # what, plots, measures
    assert sum("pictures" in summary for summary in summaries) == 33 + 6  # of each model; strips
    assert "<details open" not in html
    assert 'class="model" open' not in html
    assert len(html) < 15e6


def test_costs_stand_beside_the_plain_networks():
    told = tables.costs(example()["about"], ORDER)
    assert list(told) == ["parameters", "multiply-adds"]  # no clock was read
    assert told["multiply-adds"]["ersm"] == (6e8, "600 M", "3.00 ×")
    alone = tables.costs({"zoom": About(about.TWO_STAGES, "none", {"macs": 1e9})}, ["zoom", "erm"])
    assert alone == {"multiply-adds": {"zoom": (1e9, "1 G", ""), "erm": (None, "unknown", "")}}, (
        "nothing to compare with"
    )


def test_a_speed_that_was_not_measured_is_left_out(tmp_path):
    content = example()
    plain = content["about"]["erm"]
    about = content["about"] | {"erm": plain._replace(cost={**plain.cost, "answering": 100.0})}
    page.write(tmp_path / "report.html", page.Content(**content | {"about": about}))
    html = (tmp_path / "report.html").read_text()
    assert "Answers a second: 1.00 ×." in html
    assert "Answers a second: ." not in html


def test_the_page_says_what_each_measure_means_and_what_it_could_reach(html):
    measures = {one["metric"]: one for one in [tables.measure(rows(), ORDER, m, {}) for m in ("average", "bg_gap")]}
    assert (measures["average"]["ideal"], measures["bg_gap"]["ideal"]) == ("1", "0")
    assert (measures["average"]["leaders"], measures["bg_gap"]["leaders"]) == (["oracle_mask"], ["oracle_mask"])
    assert plugins.find("robustness", "worst_group").MEANING in html
    assert html.count("▲ upper end") == html.count("▼ lower end") > 5


def test_failures_of_a_model_that_never_fails_are_unknown_not_nan(html):
    assert "No mistake." in html
    assert re.search(r"0 <small>of 400</small></td>\s*<td data-value=\"\">unknown", html)
