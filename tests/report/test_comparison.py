"""The comparison's picture: well formed, safe, and with every result and label in it."""

import re
from dataclasses import replace

from defusedxml.ElementTree import fromstring

from quorate.evaluation.compare import compare
from quorate.labels import Labels
from quorate.report.comparison import comparison_svg
from tests.evaluation.made import random_case

SVG = "{http://www.w3.org/2000/svg}"


def case():
    truth, found = random_case(3)
    labels = truth.labels
    odd = Labels(names=('<b>&"x"', *labels.names[1:]), ids=labels.ids)
    worse = found.take(found.score > 0.3)
    return replace(truth, labels=odd), {"first": found, "<script>": worse}


def test_every_result_and_label_is_drawn_and_names_are_harmless():
    truth, results = case()
    comparison = compare(results, truth, samples=40)
    drawn = fromstring(comparison_svg(comparison))
    circles = drawn.findall(f".//{SVG}circle")
    assert len(circles) == 2
    bars = [r for r in drawn.findall(f".//{SVG}rect") if r.get("class") != "paper"]
    measured = [c for c in comparison["<script>"].categories if c.difference is not None]
    assert len(bars) == len(measured)
    assert not drawn.findall(f".//{SVG}script")
    words = " ".join(drawn.itertext())
    assert "<script>" in words
    assert '<b>&"x"' in words


def test_only_those_that_differ_most_are_drawn_and_no_interval_is_needed():
    truth, results = case()
    svg = comparison_svg(compare(results, truth, samples=0), most=1)
    assert len(re.findall("the 1 that differ most", svg)) == 1
    assert "draws" not in svg


def test_results_that_are_equal_have_a_scale_all_the_same():
    truth, results = case()
    same = {"a": results["first"], "b": results["first"]}
    drawn = fromstring(comparison_svg(compare(same, truth, samples=10)))
    assert len(drawn.findall(f".//{SVG}circle")) == 2
