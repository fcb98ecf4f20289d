"""What a row holds: the columns say the format, and the format says prompt and completion.

| kind              | columns                      | prompt           | response               |
| ----------------- | ---------------------------- | ---------------- | ---------------------- |
| prompt/completion | prompt, completion: texts    | the text         | the text as it stands  |
|                   | both lists of messages       | these messages   | the assistant's one    |
| question/response | question, response: texts    | one user message | one assistant message  |
| messages          | messages: a list of messages | all but the last | the last, of assistant |

The columns are TRL's, see "Dataset formats" in its documentation. A message is {"role": ...,
"content": text}; of the last one the content counts, and no other field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..rows import Row, shown
from ..storage import fail

FORMATS = {
    "prompt/completion": ("prompt", "completion"),
    "question/response": ("question", "response"),
    "messages": ("messages",),
}
ROLES = ("system", "developer", "user", "assistant", "tool")
Message = dict[str, Any]
Prompt = str | list[Message]


def parts_of(where: str, row: Row, kind: str | None) -> tuple[str, Prompt, str]:
    """(kind, prompt, completion) of a row, whose kind has to be `kind` if that is given.

    `where` says in errors which row it is.
    """
    kind = _kind(where, row, kind)
    prompt, completion = PARTS[kind](where, row)
    if not completion.strip():
        fail(where, "an empty completion", "text in it", "dropping this row")
    return kind, prompt, completion


def _kind(where: str, row: Row, wanted: str | None) -> str:
    """The format of the row: the one whose columns it has. It has to be `wanted`, if given."""
    present = [column for column, value in row.items() if value is not None]
    kinds = [k for k, columns in FORMATS.items() if set(columns) <= set(present)]
    if len(kinds) == 1 and wanted in (None, kinds[0]):
        return kinds[0]
    if len(kinds) > 1:
        remedy = f"dropping the column {FORMATS[kinds[1]][0]!r}"
        fail(where, f"the columns of {' and of '.join(kinds)}", "those of one format", remedy)
    if kinds:
        remedy = "a file for each format"
        fail(where, f"the format {kinds[0]}", f"{wanted} as in the rows before", remedy)
    has = [columns for columns in FORMATS.values() if set(columns) & set(present)]
    columns = FORMATS[wanted] if wanted else (has or [()])[0]
    missing = [repr(column) for column in columns if column not in present]
    names = ", ".join(name[:40] for name in present[:20]) or "none"
    got = f"no column {missing[0]}" if missing else "no column of a pair"
    needed = "prompt and completion, question and response, or messages"
    fail(where, f"{got} (those with a value: {names})", needed, "renaming the columns")


def _text(where: str, row: Row, column: str) -> str:
    """The text in a cell."""
    value = row[column]
    if not isinstance(value, str):
        got = f"{shown(value)} of type {type(value).__name__} in {column!r}"
        fail(where, got, "a text", "json.dumps or str of it, or the column that has the text")
    try:
        value.encode()
    except UnicodeEncodeError:
        fail(where, f"half of a surrogate pair in {column!r}", "text", "dropping this row")
    return value


def _messages(where: str, row: Row, column: str) -> list[Message]:
    """The messages in a cell, checked, without fields that are null (Arrow adds them)."""
    value = row[column]
    objects = isinstance(value, list) and all(isinstance(message, dict) for message in value)
    if not objects or not value:
        remedy = '[{"role": "user", "content": "2 + 2?"}]'
        fail(where, f"{shown(value)} in {column!r}", "a list of messages, at least one", remedy)
    for k, message in enumerate(value):
        if (role := message.get("role")) not in ROLES:
            got = f"the role {role!r:.40} of message {k} in {column!r}"
            fail(where, got, f"one of {', '.join(ROLES)}", '"user" or "assistant"')
        _text(f"{where}, message {k} in {column!r}", {"content": None} | message, "content")
    return [{k: v for k, v in message.items() if v is not None} for message in value]


def _ends(where: str, messages: list[Message], column: str) -> tuple[list[Message], str]:
    """(messages before the last, text of the last), the last one of the assistant."""
    last = messages[-1]
    if last["role"] != "assistant":
        remedy = "dropping what follows the assistant's last turn"
        fail(where, f"a last message of {last['role']} in {column!r}", "the assistant's", remedy)
    return messages[:-1], last["content"]


def _asked(where: str, prompt: list[Message]) -> list[Message]:
    """The prompt, if it says anything."""
    if not any(message["content"] for message in prompt):
        fail(where, "an empty prompt", "a message with text before the response", "dropping it")
    return prompt


def _completion_parts(where: str, row: Row) -> tuple[Prompt, str]:
    if not isinstance(row["prompt"], list):
        return _text(where, row, "prompt"), _text(where, row, "completion")
    prompt, completion = (_messages(where, row, column) for column in ("prompt", "completion"))
    before, text = _ends(where, completion, "completion")
    if before:
        got = f"{len(completion)} messages in 'completion'"
        fail(where, got, "one, of the assistant", "those before it at the prompt's end")
    return _asked(where, prompt), text


def _response_parts(where: str, row: Row) -> tuple[Prompt, str]:
    question, response = (_text(where, row, column) for column in ("question", "response"))
    if not question:
        fail(where, "an empty question", "text in it", "dropping this row")
    return question, response


def _message_parts(where: str, row: Row) -> tuple[Prompt, str]:
    prompt, text = _ends(where, _messages(where, row, "messages"), "messages")
    return _asked(where, prompt), text


PARTS: dict[str, Callable[[str, Row], tuple[Prompt, str]]] = {
    "prompt/completion": _completion_parts,
    "question/response": _response_parts,
    "messages": _message_parts,
}
