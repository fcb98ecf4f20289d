"""Pairs from rows in three formats, and their tokens, exact to the last id."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples
from tiny_lm import CHATML, tiny_llama_folder, tiny_tokenizer

from bdtheory.rows import write_rows
from bdtheory.tasks.pairs import overlap, read_pairs, tokenise

NO_LM = 'needs transformers: pip install "bdtheory[lm]"'


def say(role, content, **more):
    return {"role": role, "content": content, **more}


ASKED, ANSWER = say("user", "what is 2 + 2 ?"), say("assistant", "4")
PLAIN = {"prompt": "the question", "completion": " the answer"}
TALK = {"prompt": [ASKED], "completion": [ANSWER]}
QUESTION = {"question": "what is 2 + 2 ?", "response": "4"}
MESSAGES = {"messages": [say("system", "the system"), ASKED, ANSWER]}
ALL = {"plain": PLAIN, "talk": TALK, "question": QUESTION, "messages": MESSAGES}


@pytest.fixture
def chat(monkeypatch):
    """The tiny tokenizer with its template."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("transformers", reason=NO_LM)
    return tiny_tokenizer()


@pytest.fixture
def bare(monkeypatch):
    """Without a template; eos is <|endoftext|>, id 0."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("transformers", reason=NO_LM)
    return tiny_tokenizer(chat=False)


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def named(tokenizer, *tokens):
    """Ids of tokens by their names in the vocabulary, where Ġ is a space."""
    found = tokenizer.get_vocab()
    return [found[token] for token in tokens]


def complaint(act):
    """The message of the ValueError; one line that says got, needed and try."""
    with pytest.raises(ValueError) as caught:
        act()
    assert type(caught.value) is ValueError
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    for part in ("got ", "; needed ", "; try "):
        assert message.count(part) >= 1, message
    return message


# Reading


@pytest.mark.parametrize(
    "row, kind, prompt, completion",
    [
        (PLAIN, "prompt/completion", "the question", " the answer"),
        (TALK, "prompt/completion", [ASKED], "4"),
        (QUESTION, "question/response", "what is 2 + 2 ?", "4"),
        (MESSAGES, "messages", MESSAGES["messages"][:2], "4"),
    ],
    ids=list(ALL),
)
def test_the_columns_say_the_format(tmp_path, row, kind, prompt, completion):
    rows = [{"id": 7, **row, "weight": 0.5, "selected": True}] * 2
    write_rows(tmp_path / "a.jsonl", rows)
    for source in (rows, tmp_path / "a.jsonl"):
        pairs = read_pairs(source, "train")
        assert (pairs.kind, pairs.rows, len(pairs)) == (kind, rows, 2)
        assert (pairs.prompts, pairs.completions) == ([prompt] * 2, [completion] * 2)
    assert pairs.name == str(tmp_path / "a.jsonl") and pairs.places == ["line 1", "line 2"]
    assert repr(pairs).startswith(f"Pairs(n=2, kind={kind!r}")


def test_fields_that_arrow_adds_are_dropped_from_messages_only(tmp_path):
    """Arrow gives every message of a column the same fields, null where a message had none."""
    pytest.importorskip("pyarrow", reason='Parquet needs pyarrow: pip install "bdtheory[lm]"')
    row = {"messages": [ASKED, say("tool", "it says 4", name="sum"), ANSWER]}
    write_rows(tmp_path / "a.parquet", [row])
    pairs = read_pairs(tmp_path / "a.parquet")
    assert pairs.prompts == [[ASKED, say("tool", "it says 4", name="sum")]]
    assert pairs.rows[0]["messages"][2] == ANSWER | {"name": None}


def test_take():
    rows = [{**QUESTION, "response": str(k)} for k in range(5)]
    pairs = read_pairs(rows, "train")
    for picked in ([3, 1], np.array([3, 1]), [False, True, False, True, False]):
        taken = pairs.take(picked)
        assert sorted(taken.completions) == ["1", "3"]
        assert [row["response"] for row in taken.rows] == taken.completions
        assert taken.places == [f"row {k}" for k in taken.completions]
        assert (taken.kind, taken.name) == (pairs.kind, pairs.name)
    assert pairs.take([3, 1]).completions == ["3", "1"]
    assert len(pairs.take([])) == 0 and overlap(pairs, pairs.take([])) == 0
    with pytest.raises(IndexError):
        pairs.take([5])


def talk(*messages):
    return {"messages": list(messages)}


HAS = "(those with a value: "
BAD = {
    # name: (format, the second row, further text)
    "column missing": ("plain", {"prompt": "a", "x": 1}, f"'completion' {HAS}prompt, x)"),
    "null": ("question", {**QUESTION, "response": None}, f"'response' {HAS}question)"),
    "none of them": ("messages", {"text": "a"}, f"no column 'messages' {HAS}text)"),
    "no column": ("messages", {}, f"{HAS}none"),
    "another format": ("plain", QUESTION, "the format question/response; needed prompt/completion"),
    "two formats": ("plain", PLAIN | MESSAGES, "columns of prompt/completion and of messages"),
    "another form": ("plain", TALK, "a prompt that is a conversation"),
    "text after talk": ("talk", PLAIN, "a prompt that is a text"),
    "empty completion": ("plain", {**PLAIN, "completion": ""}, "an empty completion"),
    "blank completion": ("plain", {**PLAIN, "completion": " \n\t"}, "an empty completion"),
    "blank response": ("question", {**QUESTION, "response": " "}, "an empty completion"),
    "blank message": ("messages", talk(ASKED, say("assistant", " ")), "an empty completion"),
    "empty question": ("question", {**QUESTION, "question": ""}, "an empty question"),
    "nothing asked": ("messages", talk(ANSWER), "an empty prompt"),
    "empty messages": ("messages", talk(say("user", ""), ANSWER), "an empty prompt"),
    "no message": ("messages", talk(), "'[]' in 'messages'"),
    "no prompt message": ("talk", {**TALK, "prompt": []}, "'[]' in 'prompt'"),
    "number": ("plain", {**PLAIN, "completion": 4}, "'4' of type int in 'completion'"),
    "number asked": ("question", {**QUESTION, "question": 1.5}, "'1.5' of type float"),
    "list and text": ("talk", {**TALK, "completion": "4"}, "'4' in 'completion'"),
    "text and list": ("plain", {**PLAIN, "completion": [ANSWER]}, "of type list in 'completion'"),
    "texts as messages": ("messages", talk("a", "b"), "in 'messages'; needed a list"),
    "role": ("messages", talk(say("me", "a"), ANSWER), "the role 'me' of message 0"),
    "no role": ("messages", talk(ASKED, {"content": "a"}), "the role None of message 1"),
    "no content": ("messages", talk({"role": "user"}, ANSWER), "0 in 'messages': got 'None' of"),
    "parts": ("messages", talk(say("user", [{"text": "a"}]), ANSWER), "of type list in 'content'"),
    "the user last": ("messages", talk(ASKED, ANSWER, ASKED), "a last message of user"),
    "completion of the user": ("talk", {**TALK, "completion": [ASKED]}, "a last message of user"),
    "two completions": ("talk", {**TALK, "completion": [ASKED, ANSWER]}, "2 messages in"),
    "half a pair": ("plain", {**PLAIN, "prompt": "\ud800"}, "surrogate pair in 'prompt'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_rows(case):
    good, row, text = BAD[case]
    rows = [ALL[good], row, ALL[good]]
    assert len(read_pairs([ALL[good]] * 2)) == 2
    message = complaint(lambda: read_pairs(rows, "train"))
    assert message.startswith("train, row 1")
    assert text in message


def test_errors_name_the_line_of_a_file(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n\n{"prompt": "a", "completion": ""}\n')
    assert complaint(lambda: read_pairs(path, "train")).startswith(f"{path}, line 3: got an empty")


def test_first_row_without_a_format():
    assert "no column 'response'" in complaint(lambda: read_pairs([{"question": 1, "x": 2}]))
    assert "no column of a pair" in complaint(lambda: read_pairs([{"text": "a"}]))


def test_overlap_is_by_content():
    train = read_pairs([QUESTION, {**QUESTION, "response": "5"}])
    val = [QUESTION, {**QUESTION, "id": 1}, {**QUESTION, "response": "6"}]
    assert overlap(train, read_pairs(val)) == 2
    assert overlap(read_pairs(val), train) == 1
    other = [{"content": ASKED["content"], "role": "user"}]  # another order of the fields
    assert overlap(train, read_pairs([{"prompt": other, "completion": [ANSWER]}])) == 1
    assert overlap(train, read_pairs([MESSAGES])) == 0  # it has a system message too
    plain = read_pairs([{"prompt": QUESTION["question"], "completion": "4"}])
    assert overlap(train, plain) == 0  # not the same to a chat model
    assert overlap(plain, plain) == 1


# Tokens


def test_plain_text_with_its_end(bare):
    encoded = tokenise(read_pairs([PLAIN]), bare, max_length=64)
    assert encoded.prompts == [named(bare, "the", "Ġquestion")]
    assert encoded.responses == [named(bare, "Ġthe", "Ġanswer", "<|endoftext|>")]
    assert encoded.responses[0][-1] == bare.eos_token_id == 0
    assert (encoded.cut, encoded.dropped, encoded.rows.tolist()) == (0, 0, [0])
    assert encoded.template == "plain text: prompt, completion, end token '<|endoftext|>'"


def test_an_end_that_is_there_is_not_doubled(bare):
    rows = [{**PLAIN, "completion": " the answer<|endoftext|>"}, PLAIN]
    encoded = tokenise(read_pairs(rows), bare, max_length=64)
    assert encoded.responses == [named(bare, "Ġthe", "Ġanswer", "<|endoftext|>")] * 2


def test_plain_text_does_not_go_through_the_template(chat):
    encoded = tokenise(read_pairs([PLAIN]), chat, max_length=64)
    assert encoded.responses == [named(chat, "Ġthe", "Ġanswer", "<|im_end|>")]
    assert encoded.template.startswith("plain text")


def test_the_front_token_and_nothing_behind(bare):
    """Some tokenizers add a token behind a text too; between prompt and completion it is wrong."""
    from tokenizers import processors

    with_bos = tiny_tokenizer(chat=False, bos=True)
    encoded = tokenise(read_pairs([PLAIN]), with_bos, max_length=64)
    assert encoded.prompts == [[1, *named(bare, "the", "Ġquestion")]]
    assert encoded.prompts == with_bos(["the question"])["input_ids"]
    assert encoded.responses == [named(bare, "Ġthe", "Ġanswer", "<|endoftext|>")]
    both = tiny_tokenizer(chat=False, bos=True)
    both.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A <|im_end|>",
        special_tokens=[("<|im_start|>", 1), ("<|im_end|>", 2)],
    )
    assert both("the question")["input_ids"] == [*encoded.prompts[0], 2]
    again = tokenise(read_pairs([PLAIN]), both, max_length=64)
    assert (again.prompts, again.responses) == (encoded.prompts, encoded.responses)


def test_an_empty_prompt_needs_a_front_token(bare):
    pairs = read_pairs([PLAIN, {**PLAIN, "prompt": ""}], "train")
    message = complaint(lambda: tokenise(pairs, bare, max_length=64))
    assert message.startswith("train, row 1: got no token in the prompt")
    with_bos = tiny_tokenizer(chat=False, bos=True)
    assert tokenise(pairs, with_bos, max_length=64).prompts[1] == [1]


def test_a_tokenizer_without_an_end_token(bare):
    bare.eos_token = None
    encoded = tokenise(read_pairs([PLAIN]), bare, max_length=64)
    assert encoded.responses == [named(tiny_tokenizer(chat=False), "Ġthe", "Ġanswer")]
    assert "no end token" in encoded.template


def test_a_question_without_a_template_is_text_with_a_line_break(bare):
    encoded = tokenise(read_pairs([QUESTION]), bare, max_length=64)
    assert bare.decode(encoded.prompts[0]) == "what is 2 + 2 ?\n"
    assert encoded.responses == [[*ids(bare, "4"), 0]]
    assert "no chat template: question, line break, response" in encoded.template


@pytest.mark.parametrize("kind", ["talk", "question", "messages"])
def test_a_conversation_as_the_template_has_it(chat, kind):
    encoded = tokenise(read_pairs([ALL[kind]]), chat, max_length=128)
    system = "<|im_start|>system\nthe system<|im_end|>\n" if kind == "messages" else ""
    asked = "<|im_start|>user\nwhat is 2 + 2 ?<|im_end|>\n<|im_start|>assistant\n"
    assert encoded.prompts == [ids(chat, system + asked)]
    assert encoded.prompts[0][0] == 1
    assert encoded.responses == [[ids(chat, "4")[0], chat.eos_token_id, ids(chat, "\n")[0]]]
    whole = [*MESSAGES["messages"][:-2], ASKED, ANSWER] if kind == "messages" else [ASKED, ANSWER]
    text = chat.apply_chat_template(whole, tokenize=False)
    assert chat.decode(encoded.prompts[0] + encoded.responses[0]) == text
    assert encoded.template.startswith("the tokenizer's chat template")


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@examples(60)
@given(data=st.data())
def test_tokens_decode_to_the_rendered_conversation(data):
    pytest.importorskip("transformers", reason=NO_LM)
    chat = _chat()
    turns = data.draw(st.lists(st.tuples(texts, texts.filter(str.strip)), min_size=1, max_size=3))
    messages = [say(*m) for q, a in turns for m in (("user", q), ("assistant", a))]
    encoded = tokenise(read_pairs([{"messages": messages}]), chat, max_length=10_000)
    prompt, response = encoded.prompts[0], encoded.responses[0]
    assert chat.decode(prompt + response) == chat.apply_chat_template(messages, tokenize=False)
    assert chat.decode(response) == turns[-1][1] + "<|im_end|>\n"


def _chat(made=[]):  # noqa: B006  # one tokenizer for all examples
    made.append(tiny_tokenizer()) if not made else None
    return made[0]


def test_messages_without_a_template(bare):
    for row in (TALK, MESSAGES):
        message = complaint(lambda row=row: tokenise(read_pairs([row]), bare, max_length=64))
        assert "a tokenizer without a chat template" in message


def test_a_template_that_renders_the_prompt_otherwise(chat):
    chat.chat_template = "{{ messages | length }}" + CHATML
    message = complaint(lambda: tokenise(read_pairs([QUESTION], "val"), chat, max_length=64))
    assert message.startswith("val, row 0: got a chat template that renders the prompt otherwise")


def test_a_template_that_refuses(chat):
    chat.chat_template = "{{ raise_exception('no system role') }}"
    message = complaint(lambda: tokenise(read_pairs([MESSAGES], "val"), chat, max_length=64))
    assert message.startswith("val, row 0: ") and "no system role; roles system, user" in message


def test_a_template_without_the_response(chat):
    chat.chat_template = "{{ messages[0]['content'] }}"
    message = complaint(lambda: tokenise(read_pairs([QUESTION], "val"), chat, max_length=64))
    assert "no token in the response" in message


def test_many_rows_at_once_are_as_one_by_one(chat):
    rows = [{"question": "the " * k + "?", "response": "is " * (7 - k)} for k in range(7)]
    together = tokenise(read_pairs(rows), chat, max_length=200)
    alone = [tokenise(read_pairs([row]), chat, max_length=200) for row in rows]
    assert together.prompts == [e.prompts[0] for e in alone]
    assert together.responses == [e.responses[0] for e in alone]
    assert together.rows.tolist() == list(range(7))


# Length


@pytest.fixture
def uneven():
    """Plain pairs with 2 + 3, 4 + 2, 2 + 6 and 1 + 2 tokens with the end."""
    pairs = [("ab", "cd"), ("abcd", "x"), ("ab", "cdefg"), ("a", "b")]
    return read_pairs([{"prompt": p, "completion": c} for p, c in pairs], "train")


def test_what_fits_stays_as_it_is(bare, uneven):
    for too_long in ("error", "cut", "drop"):
        encoded = tokenise(uneven, bare, max_length=8, too_long=too_long)
        assert [len(ids) for ids in encoded.prompts] == [2, 4, 2, 1]
        assert [len(ids) for ids in encoded.responses] == [3, 2, 6, 2]
        assert (encoded.cut, encoded.dropped, encoded.rows.tolist()) == (0, 0, [0, 1, 2, 3])


def test_too_long_is_an_error_at_first(bare, uneven):
    message = complaint(lambda: tokenise(uneven, bare, max_length=5))
    assert message.startswith("train, row 1: got 2 of 4 pairs with too many tokens, the longest 8;")
    assert "at most 5" in message
    for option in ("--too-long cut", "--too-long drop", "--max-length"):
        assert option in message


@pytest.mark.parametrize(
    "room, prompts, responses, cut",
    [
        (7, ["ab", "abcd", "b", "a"], ["cd.", "x.", "cdefg.", "b."], 1),
        (6, ["ab", "abcd", "b", "a"], ["cd.", "x.", "cdefg", "b."], 1),
        (5, ["ab", "bcd", "b", "a"], ["cd.", "x.", "cdef", "b."], 2),
        (3, ["b", "d", "b", "a"], ["cd", "x.", "cd", "b."], 3),
        (2, ["b", "d", "b", "a"], ["c", "x", "c", "b"], 4),
    ],
)
def test_cut(bare, uneven, room, prompts, responses, cut):
    encoded = tokenise(uneven, bare, max_length=room, too_long="cut")
    assert [bare.decode(ids) for ids in encoded.prompts] == prompts
    found = [bare.decode(ids).replace("<|endoftext|>", ".") for ids in encoded.responses]
    assert found == responses
    assert (encoded.cut, encoded.dropped, encoded.rows.tolist()) == (cut, 0, [0, 1, 2, 3])


def test_drop(bare, uneven):
    encoded = tokenise(uneven, bare, max_length=5, too_long="drop")
    assert [bare.decode(ids) for ids in encoded.prompts] == ["ab", "a"]
    assert [len(ids) for ids in encoded.responses] == [3, 2]
    assert (encoded.cut, encoded.dropped, encoded.rows.tolist()) == (0, 2, [0, 3])
    assert repr(encoded).startswith("Encoded(k=2, cut=0, dropped=2")
    message = complaint(lambda: tokenise(uneven, bare, max_length=2, too_long="drop"))
    assert message.startswith("train, row 0: got 4 of 4 pairs with too many tokens")


def test_bad_settings(bare, uneven):
    assert "'skip'" in complaint(lambda: tokenise(uneven, bare, max_length=9, too_long="skip"))
    assert "got 1;" in complaint(lambda: tokenise(uneven, bare, max_length=1))
    assert "no pairs" in complaint(lambda: tokenise(uneven.take([]), bare, max_length=9))


def test_no_warning_of_texts_beyond_the_context(chat, caplog, monkeypatch):
    """The tokenizer's own context is 256; a longer text is what `too_long` is for."""
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    caplog.set_level(logging.WARNING, "transformers")  # the command line lets errors through only
    long = read_pairs([{**PLAIN, "completion": "x " * 400}])
    tokenise(long, chat, max_length=64, too_long="cut")
    assert caplog.records == []
    chat("x " * 400)  # what it says otherwise
    assert "longer than the specified maximum" in caplog.text


def test_the_model_folder_reads_back(chat, tmp_path):
    """tiny_lm.py: the same seed, the same weights; the tokenizer in the folder is the one given."""
    pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny_llama_folder(tmp_path / "a", num_hidden_layers=1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "<|im_start|>user\nthe é\u2028 \t answer<|im_end|>\n"
    assert ids(tokenizer, text) == ids(chat, text) and tokenizer.decode(ids(chat, text)) == text
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 2 and len(tokenizer) < 400
    again = [tiny_llama_folder(tmp_path / f"{s}", s, num_hidden_layers=1) for s in (0, 1)]
    models = [AutoModelForCausalLM.from_pretrained(path) for path in (folder, *again)]
    first, same, other = (model.get_input_embeddings().weight for model in models)
    assert first.shape == (len(tokenizer), 32)
    assert (first == same).all()
    assert (first == other).all(1).nonzero().tolist() == [[2]]  # pad's embedding begins as 0
