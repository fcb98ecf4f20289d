"""The rounds of `refine`: which questions, their new responses, the data set, the adaptation."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .hypergradient import mean_loss
from .methods.bmo import BMO, fit_jointly
from .methods.online import Round
from .methods.run import in_kind
from .models.training import threads_for
from .problem import Problem
from .ratios import ImportanceWeights, importance_weights
from .refinement import HISTORY, Refinement
from .selection import Selection, Status, as_text, to_numpy
from .weights import entropy

if TYPE_CHECKING:
    from .refining import Generation

EXAMPLES = 3  # of responses before and after, kept from each round


class Rounds:
    """The rounds of one call of `refine`; `found` is the result so far."""

    found: Refinement

    def __init__(
        self, problem: Problem, method: Any, generation: Generation, score: Any, seed: int
    ):
        self.problem, self.method, self.generation = problem, method, generation
        self.score, self.seed = score, seed
        given = generation.offline
        self.offline = 1.0 - generation.share if given is None else given  # mass of offline pairs
        self.asked = problem.train.prompts()
        self.questions = question_codes(self.asked)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return self.found.parts()

    def restore(self, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.found = Refinement.of_parts(facts, arrays)

    def advance(self) -> None:
        """One round: generate, put the pairs together, adapt, record."""
        theta = self._theta()
        with threads_for(self.problem.model, theta):
            self._advance(theta)

    def _advance(self, theta: Any) -> None:
        start, r = time.process_time(), self.found.rounds + 1
        seed = int(np.random.default_rng([self.seed, r]).integers(2**31))
        chosen = self._choose(seed)
        made = self._generate(theta, chosen, seed)
        given, data = self._round(made)
        selection = self._adapt(given, data, theta, seed)
        row = self._row(given, data, selection, made) | {
            "round": r,
            "seconds": time.process_time() - start,
        }
        history = {k: np.append(self.found.history[k], row[k]) for k in HISTORY}
        examples = [*self.found.examples, *self._examples(made, r)]
        message = _message(history, self.offline > 0.0)
        self.found = Refinement(self.found.offline, selection, history, examples, message)

    def _theta(self) -> Any:
        """The model that generates now: the start, then that of the round before."""
        model = self.problem.model
        if self.found.rounds:
            model = dataclasses.replace(model, start=self.found.selection.theta)
        return model.initial_theta(self.seed)  # on the model's device: a saved theta is on the CPU

    # Generation ----------------------------------------------------------------------------------

    def _choose(self, seed: int) -> np.ndarray:
        """The codes of the questions to regenerate: of lowest offline mass, or random ones."""
        Q = int(self.questions.max()) + 1
        count = round(self.generation.share * Q)
        if count < 1:
            raise ValueError(
                f"share is {self.generation.share:g} of {Q} questions, which leaves no question to "
                f"regenerate; needed at least one; try share={1 / Q:.3g} or more"
            )
        if not self.generation.lowest:
            return np.sort(np.random.default_rng(seed).choice(Q, count, replace=False))
        w = to_numpy(self.found.offline.weights).astype(np.float64)
        return np.argsort(np.bincount(self.questions, weights=w), kind="stable")[:count]

    def _generate(self, theta: Any, chosen: np.ndarray, seed: int) -> _Made:
        """Responses to the chosen questions; empty ones are left out."""
        first = np.unique(self.questions, return_index=True)[1]  # a row that asks each question
        rows = np.repeat(first[chosen], self.generation.responses)
        asked, settings = self.asked, self.generation.settings()
        prompts = [asked[k] for k in rows] if isinstance(asked, list) else asked[rows]
        samples = self.problem.model.generate(theta, prompts, seed=seed, **settings)
        log_pi = to_numpy(samples.log_probs).astype(np.float64)
        kept = np.array([not self._is_empty(response) for response in samples.responses])
        if not kept.any():
            raise ValueError(
                f"the model generated nothing for any of {len(chosen)} questions; needed at least "
                "one response; try a higher temperature, or a model pretrained on such questions"
            )
        responses = [r for r, keep in zip(samples.responses, kept, strict=True) if keep]
        empty = len(chosen) - len(np.unique(self.questions[rows[kept]]))
        return _Made(rows[kept], responses, log_pi[kept], empty)

    def _is_empty(self, response: Any) -> bool:
        """No token, or none but the one that ends a response."""
        return isinstance(response, list) and response in ([], [self.generation.end])

    # Adaptation ----------------------------------------------------------------------------------

    def _round(self, made: _Made) -> tuple[Round, Any]:
        """Offline pairs and generated ones as one data set, with their base weights.

        The generated part has the mass 1 - offline, the same for each of its questions; the offline
        part keeps its weights in proportion.
        """
        online = self.problem.train.answered(made.rows, made.responses)
        codes = self.questions[made.rows]
        counts = np.bincount(codes)[codes]
        base = (1.0 - self.offline) / (counts * len(np.unique(codes)))
        if self.offline == 0.0:
            return Round(base, codes, made.log_pi), online
        w = self.offline * to_numpy(self.found.offline.weights).astype(np.float64)
        return (
            Round(
                np.concatenate([w, base]),
                np.concatenate([self.questions, codes]),
                np.concatenate([np.full(len(w), np.nan), made.log_pi]),
            ),
            self.problem.train.join(online),
        )

    def _adapt(self, given: Round, data: Any, theta: Any, seed: int) -> Selection:
        """The model and the weights after the round."""
        model = self.problem.model
        if hasattr(model, "training"):
            steps = self.generation.steps or model.training.steps
            training = dataclasses.replace(model.training, steps=steps)
            model = dataclasses.replace(model, start=theta, training=training)
            problem = self.problem.with_train(data, model)
            selector = self.method.online(problem, given, self.generation.level)
            from .methods.train import train  # needs torch

            return train(problem, self.method, seed=seed, selector=selector)
        return adapt_exactly(self.problem.with_train(data), self.method, given, theta)

    # Records -------------------------------------------------------------------------------------

    def _row(self, given: Round, data: Any, selection: Selection, made: _Made) -> dict[str, float]:
        w = to_numpy(selection.weights).astype(np.float64)
        masses = np.bincount(given.questions, weights=w / w.sum())
        ratios = self._ratios(given, data, selection.theta)
        return {
            "val_loss": selection.val_loss,
            "score": np.nan if self.score is None else float(self.score(selection.theta)),
            "questions": float(np.exp(entropy(masses))),
            "ess": ratios.ess,
            "clipped": ratios.clipped_share,
            "empty": made.empty,
        }

    def _ratios(self, given: Round, data: Any, theta: Any) -> ImportanceWeights:
        """Importance ratios of the generated responses at the end of the round."""
        rows = np.flatnonzero(given.generated)
        online, old = data.take(rows), given.log_pi_old[rows]
        model = self.problem.model
        if hasattr(model, "training"):
            log_pi = -model.losses(theta, online)
        else:
            log_pi = model.log_probs(theta, online.prompts(), online.responses())
        log_pi = to_numpy(log_pi).astype(np.float64)
        tau, clip = getattr(self.method, "tau", 1.0), getattr(self.method, "clip", None)
        # One group: an effective sample size has no scale, and a common factor cannot overflow.
        group = np.zeros(len(rows))
        return importance_weights(log_pi, old, tau=tau, clip=clip, groups=group)

    def _examples(self, made: _Made, r: int) -> list[dict[str, Any]]:
        """The first generated responses of a few questions, beside the offline ones."""
        shown = np.unique(made.rows, return_index=True)[1][:EXAMPLES]
        asked, before = self.asked, self.problem.train.responses()
        return [
            {
                "round": r,
                "prompt": np.asarray(asked[made.rows[k]]).tolist(),
                "before": np.asarray(before[made.rows[k]]).tolist(),
                "after": np.asarray(made.responses[k]).tolist(),
            }
            for k in shown
        ]


class _Made(NamedTuple):
    """Generated responses: the offline row that asks the question (k,), the response, log pi."""

    rows: np.ndarray
    responses: list
    log_pi: np.ndarray
    empty: int


def question_codes(asked: Any) -> np.ndarray:
    """The question of every pair as a number from 0, equal for equal prompts, (n,)."""
    keys = [tuple(np.asarray(prompt).tolist()) for prompt in asked]
    number = {key: k for k, key in enumerate(dict.fromkeys(keys))}
    return np.array([number[key] for key in keys])


def adapt_exactly(problem: Problem, method: BMO, given: Round, theta: Any) -> Selection:
    """A round of a model in closed form: theta_next at the base weights, all ratios still 1.

        theta_next = argmin of L_val + gamma sum_i w_i l_i                 (C10)

    Of several minimisers the one nearest theta, the model before: what no question and no
    validation sample sees stays as it was, as under training.
    """
    w = in_kind(problem, given.base)
    theta = in_kind(problem, theta)
    moved = problem.with_train(_beyond(problem.train, theta))
    moved.val = _beyond(problem.val, theta)
    fit = fit_jointly(moved, w, method.gamma, None)  # theta_next - theta, of least norm
    theta = theta + fit.theta
    test = problem.test
    return Selection(
        weights=w,
        theta=theta,
        val_loss=mean_loss(problem, theta, problem.val),
        test_loss=None if test is None else mean_loss(problem, theta, test),
        status=Status.STATIONARY if fit.converged else Status.DIVERGED,
        history={},
        method=as_text(method),
        message=fit.message or "theta minimises L_val + gamma F_w at the round's weights",
    )


def _beyond(data: Any, theta: Any) -> Any:
    """The same questions, and what theta leaves of the responses: y - X theta."""
    return dataclasses.replace(data, y=data.y - data.X @ theta)


def _message(history: dict[str, np.ndarray], offline: bool) -> str:
    """One sentence on the rounds so far; `offline`: whether offline pairs have mass in them."""
    rounds, empty = len(history["round"]), int(history["empty"].sum())
    text = f"{rounds} round{'s' if rounds > 1 else ''} of generation"
    if empty:
        kept = "which kept it offline" if offline else "which left it out of the round"
        text += f"; nothing was generated for a question {empty} times, {kept}"
    return text
