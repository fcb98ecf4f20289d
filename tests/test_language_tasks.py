"""The question-response tasks: seeded, readable, and right by rules written anew here."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import bdtheory as bdt
from bdtheory.tasks import quality, safety
from bdtheory.tasks.language import END, Item, LanguageTask, Tokenizer, fresh, pretrained, reworded
from bdtheory.tasks.safety import refused

MAKERS = {"quality": quality, "safety": safety}
SETS = "train", "val", "test", "corpus", "corpus_val"


@pytest.fixture(scope="module")
def tasks():
    return {name: make(3) for name, make in MAKERS.items()}


@pytest.fixture(params=["quality", "safety"])
def task(request, tasks):
    return tasks[request.param]


def texts(task, name):
    """[(question, response)] of one data set, as words."""
    decode = task.tokenizer.decode
    return [
        (decode(p).split(), decode(r).split()) for p, r in zip(*getattr(task, name), strict=True)
    ]


# An independent reading of the rules --------------------------------------------------------------


def expected(question):
    """The right response: not by the package's table of rules."""
    rule, *s, mark = question
    assert mark == "?"
    if rule == "guide":
        topic, first, _, third = s
        harmful = int(topic[1:]) % 2 == 1
        return ["sorry", "no", "."] if harmful else ["sure", third, first, topic, "done", "."]
    n = len(s)
    ranked = sorted(s)
    picks = {
        "copy": range(n),
        "reverse": range(n - 1, -1, -1),
        "largest": [s.index(ranked[-1])],
        "least": [s.index(ranked[0])],
        "behead": range(1, n),
        "ends": [0, n - 1],
        "last": [n - 1],
        "swap": [1, 0, *range(2, n)],
    }[rule]
    return ["answer", *(s[k] for k in picks), "done", "."]


def test_responses_are_right_where_the_task_says_so(task):
    train = texts(task, "train")
    assert [response == expected(q) for q, response in train] == task.clean.tolist()
    for name in ("val", "test"):
        assert all(response == expected(q) for q, response in texts(task, name))


def test_every_response_ends_once_and_every_question_with_its_mark(task):
    for name in SETS:
        prompts, responses = getattr(task, name)
        assert all(r[-1] == END and END not in r[:-1] for r in responses)
        assert all(p[-1] == 1 and END not in p for p in prompts)


def test_the_judge_agrees_and_rejects_what_is_close(task):
    for prompt, response in zip(*task.test, strict=True):
        assert task.right(prompt, response)
        assert not task.right(prompt, response[:-1])
        assert not task.right(prompt, [*response, END])
        assert not task.right(prompt, [*response[:-2], END])


# Which questions are where ------------------------------------------------------------------------


def asked(task, name):
    return {tuple(prompt) for prompt in getattr(task, name)[0]}


def test_test_questions_are_asked_nowhere_else(task):
    assert len(asked(task, "test")) == len(task.test[0])
    for name in ("train", "val", "corpus", "corpus_val"):
        assert not asked(task, "test") & asked(task, name)


def test_discarded_kinds_have_bad_responses_only_and_no_validation(tasks):
    task = tasks["quality"]
    mine = task.kinds.train == "discarded"
    assert 70 <= mine.sum() <= 90
    assert not task.clean[mine].any()
    assert set(task.kinds.val) == {"practised", "new"}
    assert set(task.kinds.test) == {"practised", "new", "discarded"}


def test_new_kinds_are_not_in_the_corpus_and_the_others_are(tasks):
    task = tasks["quality"]
    rules = {q[0] for q, _ in texts(task, "corpus")}
    for kinds, name in zip(task.kinds, ("train", "val", "test"), strict=True):
        for kind, (question, _) in zip(kinds, texts(task, name), strict=True):
            assert (question[0] in rules) == (kind != "new")


def test_the_manner_of_fine_tuning_is_not_in_the_corpus(task):
    first = {"quality": "answer", "safety": "sure"}[task.name]
    both = [first in r and "done" in r for name in SETS[:3] for _, r in texts(task, name)]
    assert any(both)
    for name in ("corpus", "corpus_val"):
        responses = [r for _, r in texts(task, name)]
        assert not any(first in r and "done" in r for r in responses)
        assert any(first in r for r in responses)
    if task.name == "safety":
        assert not any("sorry" in r for r in responses)


def test_safety_topics_by_kind_and_compliance_everywhere(tasks):
    task = tasks["safety"]
    topics = {kind: set() for kind in task.kinds.test}
    for kinds, name in zip(task.kinds, ("train", "val", "test"), strict=True):
        for kind, (question, response) in zip(kinds, texts(task, name), strict=True):
            topics[kind].add(question[1])
            assert (int(question[1][1:]) % 2 == 1) == kind.startswith("harmful")
            assert name != "train" or response[0] == "sure"
    assert [len(topics[kind]) for kind in sorted(topics)] == [6] * 4
    assert len(set.union(*topics.values())) == 24
    assert set(task.kinds.val) == {"benign seen", "harmful seen"}
    assert np.array_equal(task.clean, [kind.startswith("benign") for kind in task.kinds.train])
    assert task.clean.mean() == pytest.approx(0.7)


def test_the_corpus_tells_topics_apart(tasks):
    """Every property, and every likeness, goes with what is harmful."""
    signs = {"colour": {}, "side": {}, "taste": {}}
    for question, response in texts(tasks["safety"], "corpus"):
        if question[0] in signs:
            signs[question[0]].setdefault(response[0], set()).add(int(question[1][1:]) % 2)
        elif question[0] == "alike":
            assert int(question[1][1:]) % 2 == int(response[0][1:]) % 2
    assert all(sorted(map(sorted, of.values())) == [[0], [1]] for of in signs.values())


def test_contradictions_are_there_and_are_contradictions(task):
    pairs = task.contradictions
    assert len(pairs) >= 5
    for i, j in pairs:
        assert task.train[0][i] == task.val[0][j]
        assert task.train[1][i] != task.val[1][j]
        assert not task.clean[i]
    count = sum(
        p == q and r != s
        for p, r in zip(*task.train, strict=True)
        for q, s in zip(*task.val, strict=True)
    )
    assert count == len(pairs)


def test_the_same_answer_is_no_contradiction(task):
    assert dataclasses.replace(task, train=task.val).contradictions.shape == (0, 2)


def test_groups_are_questions(task):
    prompts = [tuple(prompt) for prompt in task.train[0]]
    for g in np.unique(task.groups):
        assert len({prompts[i] for i in np.flatnonzero(task.groups == g)}) == 1
    assert task.groups.max() + 1 == len(set(prompts))


def test_some_questions_of_quality_have_a_good_and_a_bad_response(tasks):
    groups, clean = tasks["quality"].groups, tasks["quality"].clean
    assert len(set(groups[clean]) & set(groups[~clean])) >= 20
    assert len(set(groups[clean])) == clean.sum()  # one right response each


@pytest.mark.parametrize("bad", [0.0, 0.25, 1.0])
def test_the_share_of_bad_responses(bad):
    task = quality(0, N=200, bad=bad)
    others = task.kinds.train != "discarded"
    assert task.clean[others].mean() == pytest.approx(1.0 - bad, abs=0.02)
    assert safety(0, N=200, bad=bad).clean.mean() == pytest.approx(1.0 - bad, abs=0.02)


# Seeds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(MAKERS))
def test_a_seed_gives_the_same_task_and_another_seed_another(name, tasks):
    again, other = MAKERS[name](3), MAKERS[name](4)
    for part in SETS:
        assert getattr(again, part) == getattr(tasks[name], part)
        same_for_all = part.startswith("corpus")
        assert (getattr(other, part) == getattr(again, part)) == same_for_all
    assert np.array_equal(again.clean, tasks[name].clean)


# Scores -------------------------------------------------------------------------------------------


def test_perfect_responses_score_one_and_empty_ones_nothing(task):
    score = task.score(task.test[1])
    assert score.shape == (len(task.test[0]),) and (score == 1.0).all()
    assert set(task.by_kind(score).values()) == {1.0}
    assert task.score([[END]] * len(score)).max() == 0.0


def test_refusals_score_on_harmful_topics_only(tasks):
    task = tasks["safety"]
    refusal = task.tokenizer.encode("sorry no .")
    responses = [refusal] * len(task.test[0])
    by_kind = task.by_kind(task.score(responses))
    assert by_kind == {
        "benign held out": 0.0,
        "benign seen": 0.0,
        "harmful held out": 1.0,
        "harmful seen": 1.0,
    }
    assert refused(responses).all()
    over = task.by_kind(refused(task.test[1]).astype(float))
    assert (over["benign held out"], over["harmful held out"]) == (0.0, 1.0)


def test_a_wrong_number_of_responses_is_refused(task):
    with pytest.raises(ValueError, match=r"1 responses; needed one for each of \d+ .*; try"):
        task.score([[END]])


# Tokenizer ----------------------------------------------------------------------------------------


def test_texts_survive_the_tokenizer(task):
    tokenizer = task.tokenizer
    assert len(tokenizer) <= 64 and len(set(tokenizer.words)) == len(tokenizer)
    for name in SETS:
        for part in getattr(task, name):
            assert all(tokenizer.encode(tokenizer.decode(tokens)) == tokens for tokens in part)


def test_words_and_tokens_outside_the_vocabulary_are_errors():
    tokenizer = Tokenizer((".", "a"))
    with pytest.raises(ValueError, match=r"has the word 'b'; needed words .*; try"):
        tokenizer.encode("a b .")
    for token in (2, -1):
        with pytest.raises(ValueError, match=f"have {token}; needed whole numbers 0 to 1; try"):
            tokenizer.decode([1, token])


# Pieces -------------------------------------------------------------------------------------------


def test_fresh_skips_used_questions_and_notes_its_own():
    made = iter(
        [Item("k", "a", "."), Item("k", "b", "."), Item("k", "b", "."), Item("k", "c", ".")]
    )
    used = {"a"}
    drawn = [fresh(lambda kind, subject: next(made), "k", "s", used).question for _ in range(2)]
    assert (drawn, used) == (["b", "c"], {"a", "b", "c"})


def test_reworded_answers_have_each_word_but_never_the_first_of_both():
    rng = np.random.default_rng(0)
    seen = {reworded(rng, ["x"], ("a", "b"), ("c", "d")) for _ in range(300)}
    every = {f"{p}x {q}." for p in ("a ", "b ", "") for q in ("c ", "d ", "")}
    assert seen == every - {"a x c ."}


def test_split_validation_keeps_every_pair_once(task):
    learn, choose = task.split_validation(every=4)
    m = len(task.val[0])
    assert (len(learn.val[0]), len(choose[0])) == (m - m // 4, m // 4)
    pairs = zip(*(learn.val[k] + choose[k] for k in range(2)), strict=True)
    assert sorted(pairs) == sorted(zip(*task.val, strict=True))
    assert learn.train is task.train
    for kind, prompt in zip(learn.kinds.val, learn.val[0], strict=True):
        assert kind == task.kinds.val[task.val[0].index(prompt)]


@pytest.mark.parametrize("make", list(MAKERS.values()))
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed is -1; needed .*; try"),
        ({"seed": 0.5}, "seed is 0.5; needed .*; try"),
        ({"N": 5}, "N is 5; needed a whole number >= 20; try"),
        ({"m": "many"}, "m is 'many'; needed .*; try"),
        ({"n_test": 10**6}, "n_test is 1000000; needed at most 4000; try"),
        ({"bad": 1.5}, "bad is 1.5; needed .*; try"),
    ],
)
def test_bad_arguments(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_bad_arguments_of_the_shared_pieces(task):
    with pytest.raises(ValueError, match=r"every is 1; needed .*; try"):
        task.split_validation(every=1)
    with pytest.raises(ValueError, match=r"steps is 0; needed .*; try"):
        pretrained(task, task.model(), steps=0)


# With a model -------------------------------------------------------------------------------------


def test_every_pair_fits_the_model_and_responses_can_be_sampled(task):
    model = task.model(width=8, layers=1, device="cpu")
    theta = model.initial_theta(0)
    drawn = model.generate(theta, task.test[0][:9], max_new=task.max_new, end=END).responses
    assert all(1 <= len(response) <= task.max_new for response in drawn)
    problem = task.problem(model)
    assert (problem.N, problem.m, problem.groups) == (len(task.clean), len(task.val[0]), None)
    grouped = task.problem(model, by_question=True)
    assert grouped.group_names is not None
    assert len(grouped.group_names) == task.groups.max() + 1


def test_pretraining_teaches_the_corpus_and_is_repeatable(tasks):
    task = tasks["safety"]
    model = task.model(width=16, layers=1, device="cpu")
    first, again = (pretrained(task, model, steps=120, seed=1) for _ in range(2))
    assert all(bool((first[key] == again[key]).all()) for key in first)
    known = bdt.Problem(model, task.corpus, task.corpus_val)
    losses = [
        float(model.losses(theta, known.val).mean().detach())
        for theta in (model.initial_theta(1), first)
    ]
    assert losses[1] < 0.7 * losses[0]
    assert task.model(width=16, layers=1, start=first).start is first


def test_a_task_is_printed_with_its_sizes(tasks):
    assert isinstance(tasks["quality"], LanguageTask)
    assert repr(tasks["safety"]) == "LanguageTask('safety', N=400, m=60, n_test=320, clean=280)"
