"""Sums in one fixed order: whoever has which terms, the same bits."""

import numpy as np
import pytest

from tinyattn.ranks import tree


def _by_definition(terms):
    """The largest power of two below the number of terms, and the rest."""
    if len(terms) == 1:
        return terms[0]
    half = 1 << (len(terms) - 1).bit_length() - 1
    return _by_definition(terms[:half]) + _by_definition(terms[half:])


def _terms(count):
    return [
        row.copy() for row in np.random.default_rng(count).standard_normal((count, 50)).astype(np.float32)
    ]


@pytest.mark.parametrize("count", range(1, 17))
def test_sums_do_not_depend_on_who_adds_up(count):
    expected = _by_definition(_terms(count))
    for parts in range(1, count + 1):
        found = []
        for part in range(parts):
            mine, stack = tree.share(count, part, parts), tree.Stack()
            terms = _terms(count)
            for number in mine:
                stack.push((number, 1), terms[number])
            assert [node for node, _ in stack.found] == list(tree.nodes(mine))
            found += stack.found
        assert np.array_equal(tree.total(found), expected)


def test_another_order_would_have_other_bits():
    terms = _terms(8)
    one_by_one = terms[0]
    for term in terms[1:]:
        one_by_one = one_by_one + term
    assert not np.array_equal(one_by_one, _by_definition(terms))


def test_shares_are_contiguous_and_even():
    for terms in range(1, 20):
        for parts in range(1, terms + 1):
            shares = [tree.share(terms, k, parts) for k in range(parts)]
            assert [n for share in shares for n in share] == list(range(terms))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
