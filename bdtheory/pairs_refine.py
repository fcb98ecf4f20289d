"""`bdtheory refine` on question-response pairs: what is thrown away is answered anew by the model.

Offline selection as `select` makes it, or an earlier result of it; then rounds of refining.py with
the same model. The training rows and the last round's responses are written with their weights.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import numpy as np

from .archive import read_json
from .cli_pairs import FILES, PAIRS, TABLES, need_output, one_of, settle
from .methods.checkpoint import Checkpoint
from .models.checks import check_count
from .outputs import MANIFEST, options_of, outputs
from .pairs_input import ADDED, PairData, load_pairs, method_of
from .pairs_refined import COMMAND, Made, print_refined, write_refined
from .pairs_run import learned, notes_on, say, unfinished
from .refinement import Refinement
from .refining import Generation
from .rounds import Rounds
from .selection import Selection, Status
from .storage import recover
from .weighted import ending_of

MARKS = (*ADDED, "generated", "round")  # columns that have to be free in the training file
ROUNDS: dict[str, Any] = {
    "rounds": 1,
    "share": 0.25,
    "offline": None,
    "responses": 1,
    "temperature": 0.8,
    "max_new": 128,
    "selection": None,
}
FREE = {"rounds", "share", "offline", "responses", "temperature", "max_new", "top"}


def refine_pair_options(parser: ArgumentParser) -> None:
    """The options of `refine` on pairs alone, beside those that it shares with `select`."""
    add = parser.add_argument_group("refining, for pairs").add_argument
    text = "go on from this result of bdtheory select: same files, model, seed, training options"
    add("--selection", metavar="FOLDER", help=text)
    add("--max-new", type=int, metavar="TOKENS", help="most tokens of a response (default 128)")


class PairRounds(Rounds):
    """`Rounds` that remember what the last of them generated, as tokens, across checkpoints."""

    made: list[list[Any]]  # [[row of the problem, tokens], ...]

    def _generate(self, theta: Any, chosen: np.ndarray, seed: int) -> Any:
        found = super()._generate(theta, chosen, seed)
        drawn = zip(found.rows.tolist(), found.responses, strict=True)
        self.made = [[row, list(tokens)] for row, tokens in drawn]
        return found

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        facts, arrays = super().state()
        return {"made": self.made, "found": facts}, arrays

    def restore(self, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.made = facts["made"]
        super().restore(facts["found"], arrays)


def refine_pairs(args: Namespace) -> None:
    """Selection, rounds, and the enlarged data set: a folder of files, and a summary."""
    settle(args, PAIRS | ROUNDS, {*TABLES, "task", "steps", "pretrain_steps"}, "pairs")
    one_of(args, "method", ("penalty", "bmo"), "pairs")
    need_output(args)
    check_count(args.rounds, "rounds", try_=1)
    generation_of(args, None)
    with unfinished(args) as folder, outputs(args, COMMAND) as places:
        data = load_pairs(args, MARKS)
        _check_room(args, data)
        say(data.notes(), sys.stderr)
        problem, method = data.problem(), method_of(args)
        if args.selection is None:
            offline = learned(data, problem, method, args, folder)
        else:
            offline = earlier(args, data, places.sums)
        rounds = PairRounds(problem, method, generation_of(args, data), None, args.seed)
        go_on(rounds, offline, args, folder / "rounds")
        made = texts_of(data, rounds.made)
        result = write_refined(places, args, data, rounds.found, made)
    say(notes_on(offline), sys.stderr)
    if result["not_ended"]:
        cut = f"{result['not_ended']} of {len(made.texts)} generated responses did not end within"
        say([f"{cut} --max-new {args.max_new} tokens and are written as they are"], sys.stderr)
    print_refined(sys.stdout, data, result, made)
    sys.stdout.write(f"written to {args.output}: refined{ending_of(args.train)}, {FILES}\n")


def generation_of(args: Namespace, data: PairData | None) -> Generation:
    """What the options ask of a round; without data to see whether they are in range."""
    end = None if data is None else data.model.tokenizer.eos_token_id
    return Generation(
        share=args.share,
        responses=args.responses,
        temperature=args.temperature,
        offline=args.offline,
        max_new=args.max_new,
        end=end,
    )


def _check_room(args: Namespace, data: PairData) -> None:
    """Whether a response of --max-new tokens fits behind the longest prompt."""
    longest = max(len(prompt) for prompt in data.tokens["train"].prompts)
    room = data.model.max_length - longest
    if args.max_new > room:
        raise ValueError(
            f"got --max-new {args.max_new} after prompts of up to {longest} tokens; needed at most "
            f"{data.model.max_length} together; try --max-new {max(room, 1)}"
        )


def earlier(args: Namespace, data: PairData, sums: dict[str, str]) -> Selection:
    """The selection of an earlier `bdtheory select`, which was made of the same by the same."""
    place = Path(args.selection)
    recover(place)
    try:
        manifest = read_json(place / MANIFEST)
        options = dict(manifest["options"])
        theirs = {name: manifest["sha256"][options[name]] for name in ("train", "val")}
        model = manifest["model_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{place} is no result to go on from ({type(error).__name__}); needed a folder that "
            "bdtheory select wrote of pairs; try leaving --selection out"
        ) from None
    mine = {name: sums[getattr(args, name)] for name in ("train", "val")}
    for name in [name for name in mine if mine[name] != theirs[name]]:
        _refuse(place, f"another {name} file than {getattr(args, name)}")
    if model != data.model.files:
        _refuse(place, f"another model than {args.model}")
    paths = {"train", "val", "test", "model", "truth", *FREE, "selection"}
    for name, value in options_of(args).items():
        if name not in paths and options.get(name) != value:
            option = name.replace("_", "-")
            _refuse(place, f"{option} {options.get(name)!r:.40}, got {value!r}")
    return Selection.load(place / "selection")


def _refuse(place: Path, made: str) -> None:
    raise ValueError(
        f"{place} was made with {made}; needed the same to go on; try the same options, or leaving "
        "--selection out"
    )


def go_on(rounds: PairRounds, offline: Selection, args: Namespace, folder: Path) -> None:
    """All rounds asked for, the state after each of them in the folder."""
    more = {"generation": repr(rounds.generation), "offline": repr(offline)}
    store = Checkpoint(folder, rounds.problem, rounds.method, args.seed, **more)
    if not store.resume(rounds):
        rounds.found, rounds.made = Refinement(offline, offline), []
    while rounds.found.rounds < args.rounds:
        sys.stderr.write(f"round {rounds.found.rounds + 1} of {args.rounds}\n")
        rounds.advance()
        if rounds.found.selection.status is Status.DIVERGED:
            raise ValueError(
                f"round {rounds.found.rounds} diverged ({rounds.found.selection.message}); needed "
                "finite losses; try a smaller --learning-rate"
            )
        store.save(rounds)


def texts_of(data: PairData, made: list[list[Any]]) -> Made:
    """What was generated as texts, each with the training row that asks for it."""
    tokenizer, found = data.model.tokenizer, Made([], [], [])
    for row, tokens in made:
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        found.rows.append(int(data.rows[row]))
        found.texts.append(text)
        found.ended.append(bool(tokens) and tokens[-1] == tokenizer.eos_token_id)
    return found
