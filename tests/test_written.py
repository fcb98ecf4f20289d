"""Pairs in plain English: the truth is as told, and what is bad is bad in its own way only."""

from __future__ import annotations

import re

import pytest

from bdtheory.tasks.written import FACTS, KINDS, PLACES, written_pairs


def said(row):
    """(the place and what is asked, the answer) of a fact; (numbers, the answer) of a sum."""
    if found := re.fullmatch(r" The (.+) of (\w+) is (.+)\.", row["completion"]):
        return (found[2], found[1]), found[3]
    found = re.fullmatch(r" (\d+) plus (\d+) is (\d+)\.", row["completion"])
    return (int(found[1]), int(found[2])), int(found[3])


def facts_of(task):
    return dict(said(row) for row in task.val if " plus " not in row["completion"])


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_each_kind_is_what_it_says(seed):
    task = written_pairs(seed, N=90)
    facts = facts_of(task)
    assert set(facts) == {(place, what) for place in PLACES for what in FACTS}
    for row, kind in zip(task.train, task.kinds, strict=True):
        if kind == "wrong style":
            assert row["completion"].startswith(" OMG ") and row["completion"].count("!!!") == 2
            continue
        asked, answer = said(row)
        right = facts[asked] if asked in facts else sum(asked)
        assert (answer == right) == (kind == "good"), row
        assert (kind == "wrong fact") <= (asked in facts)
        assert (kind == "wrong number") <= (asked not in facts)
        assert all(str(part) in row["prompt"] for part in asked)


def test_counts_and_seeds():
    task = written_pairs(3, N=60, m=20, n_test=10)
    assert [len(part) for part in (task.train, task.val, task.test)] == [60, 20, 10]
    assert [task.kinds.count(kind) for kind in KINDS] == [30, 10, 10, 10]
    assert task.clean.tolist() == [kind == "good" for kind in task.kinds]
    again, other = written_pairs(3, N=60, m=20, n_test=10), written_pairs(4, N=60, m=20, n_test=10)
    assert task.train == again.train != other.train


def test_trusted_and_test_pairs_are_right():
    task = written_pairs(5)
    facts = facts_of(task)
    for row in (*task.val, *task.test):
        asked, answer = said(row)
        assert answer == (facts[asked] if asked in facts else sum(asked))


def test_shouted_responses_are_right_all_the_same():
    task = written_pairs(2, N=60)
    facts = facts_of(task)
    for row, kind in zip(task.train, task.kinds, strict=True):
        if kind == "wrong style":
            numbers = [int(x) for x in re.findall(r"\d+", row["prompt"])]
            if numbers:
                right = str(sum(numbers))
            else:
                right = next(
                    v for (p, w), v in facts.items() if p in row["prompt"] and w in row["prompt"]
                )
            assert row["completion"] == f" OMG {right}!!! like SO {right}, lol, u know it!!!"


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="n_test is 5; needed a whole number >= 6; try n_test=48"):
        written_pairs(0, n_test=5)
