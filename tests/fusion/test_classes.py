"""How classifiers decide: each rule against plain arithmetic, and what no order may change."""

from fractions import Fraction
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.classifications import NO_CHOICE, Classifications
from quorate.errors import InputError
from quorate.fusion.classes import fuse
from quorate.labels import Labels
from quorate.spec import Majority, Maximum, Product, Sum
from quorate.spec.classification import CLASS_METHODS

LABELS = Labels.from_names(("cat", "dog", "bird"))
RULES = (Sum(), Majority(), Product(), Maximum())


def table(*rows, labels=LABELS, names="abcdefgh"):
    """The members' rows of one picture, or of several where each is a list of rows."""
    members = [np.atleast_2d(row) for row in rows]
    tables = [
        Classifications.of(name, np.arange(len(one)), one, labels)
        for name, one in zip(names, members, strict=False)
    ]
    return Classifications.join(tables)


def decided(found, how=None):
    fused = fuse(found, how)
    return fused.labels.names[fused.index[0]], fused.probabilities[0].tolist()


A, B, C = (0.5, 0.4, 0.1), (0.2, 0.7, 0.1), (0.6, 0.3, 0.1)


@pytest.mark.parametrize(
    ("how", "label", "probabilities"),
    [
        (Sum(), "dog", (1.3 / 3, 1.4 / 3, 0.1)),
        (Sum(method="mean"), "dog", (1.3 / 3, 1.4 / 3, 0.1)),
        (Sum(method="weighted", weights={"c": 2}), "cat", (1.9 / 4, 1.7 / 4, 0.1)),
        (Majority(), "cat", (2 / 3, 1 / 3, 0)),
        (Majority(weights={"b": 3}), "dog", (0.4, 0.6, 0)),
        (Product(), "dog", (0.06 / 0.145, 0.084 / 0.145, 0.001 / 0.145)),
        (Maximum(), "dog", (0.6 / 1.4, 0.7 / 1.4, 0.1 / 1.4)),
    ],
)
def test_each_rule_by_hand(how, label, probabilities):
    said, found = decided(table(A, B, C), how)
    assert said == label
    assert found == pytest.approx(probabilities, abs=1e-6)


def test_a_product_takes_weights_as_powers_and_a_zero_as_almost_a_veto():
    _, found = decided(table((0.5, 0.4, 0.1), (0.2, 0.7, 0.1)), Product(weights={"a": 2}))
    parts = (0.25 * 0.2, 0.16 * 0.7, 0.01 * 0.1)
    assert found == pytest.approx([one / sum(parts) for one in parts], abs=1e-6)
    label, found = decided(table((1, 0, 0), (0, 0.5, 0.5)), Product())
    assert label == "cat"  # each has one veto: 1 x least against least x 0.5
    assert np.isfinite(found).all()


@pytest.mark.parametrize("how", RULES)
def test_one_member_decides_alone_and_a_silent_one_changes_nothing(how):
    label, found = decided(table(A), how)
    assert label == "cat"
    if not isinstance(how, Majority):
        assert found == pytest.approx(A, abs=1e-6)
    silent = Classifications.join(
        [
            Classifications.of("a", [0], [A], LABELS),
            Classifications.of("b", [], np.empty((0, 3)), LABELS),
        ]
    )
    assert decided(silent, how) == (label, found)
    assert fuse(silent, how).took_part.tolist() == [[True, False]]


@pytest.mark.parametrize("how", RULES)
def test_ties_go_to_the_larger_mean_and_then_to_the_earlier_label(how):
    assert decided(table((0.4, 0.4, 0.2)), how)[0] == "cat"
    assert decided(table((0.1, 0.45, 0.45), (0.1, 0.45, 0.45)), how)[0] == "dog"
    if isinstance(how, Majority):  # one vote each; dog has the larger mean
        assert decided(table((0.51, 0.49, 0), (0.1, 0.9, 0)), how)[0] == "dog"
    if isinstance(how, Maximum):  # 0.6 for two labels; bird has the larger mean
        assert decided(table((0.6, 0.1, 0.3), (0.2, 0.2, 0.6)), how)[0] == "bird"


@pytest.mark.parametrize("how", RULES)
def test_nothing_at_all_is_the_first_label_with_a_probability_of_0(how):
    fused = fuse(table((0, 0, 0), (0, 0, 0)), how)
    assert fused.probabilities.tolist() == [[0, 0, 0]]
    assert fused.index.tolist() == [0]
    assert fused.choices.tolist() == [[NO_CHOICE, NO_CHOICE]]
    assert fused.votes.tolist() == [0]


rows = st.lists(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4), min_size=2, max_size=6)
rules = st.sampled_from(
    [*RULES, Sum(weights={"a": 3, "b": 0.1}), Product(weights={"a": 3, "c": 0.3})]
)


@given(rows, rules, st.randoms())
def test_neither_the_order_of_members_nor_the_company_of_a_picture_changes_a_bit(rows, how, random):
    labels = Labels.from_names("wxyz")
    pairs = list(zip("abcdef", rows, strict=False))
    whole = fuse(table(*rows, labels=labels), how)
    random.shuffle(pairs)
    names, turned = zip(*pairs, strict=True)
    again = fuse(table(*turned, labels=labels, names=names), how)
    assert (again.probabilities == whole.probabilities).all()
    assert (again.ranking == whole.ranking).all()
    beside = [np.array([row, row[::-1], row]) for row in rows]
    among = fuse(table(*beside, labels=labels), how)
    assert (among.probabilities[[0, 2]] == whole.probabilities[0]).all()
    assert (among.ranking[2] == whole.ranking[0]).all()


@given(rows)
def test_the_sum_decides_as_exact_arithmetic_does(rows):
    """The label is the argmax of the sum; ties as far as 32 bits tell are the mean's."""
    labels = Labels.from_names("wxyz")
    fused = fuse(table(*rows, labels=labels))
    exact = [sum(Fraction(float(np.float32(row[k]))) for row in rows) for k in range(4)]
    best = max(exact)
    assert exact[fused.index[0]] >= best * (1 - Fraction(1, 2**48))
    if best and exact.count(best) == 1 and sorted(exact)[-2] < best * (1 - Fraction(1, 2**48)):
        assert fused.index[0] == exact.index(best)


@given(rows)
def test_the_product_is_a_product(rows):
    labels = Labels.from_names("wxyz")
    rows = [[max(one, 1e-3) for one in row] for row in rows]
    found = fuse(table(*rows, labels=labels), Product()).probabilities[0]
    exact = [prod(row[k] for row in rows) for k in range(4)]
    assert found == pytest.approx([one / sum(exact) for one in exact], abs=1e-5)


def test_every_method_of_a_spec_is_known_and_no_member_is_an_error():
    assert set(CLASS_METHODS) == {"sum", "mean", "weighted", "majority", "product", "max"}
    with pytest.raises(InputError, match="no member"):
        fuse(Classifications.empty(labels=LABELS))
