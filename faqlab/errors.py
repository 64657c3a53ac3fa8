"""The exception whose message is written for users."""

from pydantic import ValidationError


class FaqlabError(Exception):
    """Something the user can fix: the message says what is wrong, where, and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(shorten(message))


def shorten(text: str) -> str:
    """Return *text* on one line of at most 300 characters, without its middle if it is longer."""
    text = text if len(text) <= 300 else f"{text[:180]} … {text[-117:]}"
    return "".join(c if c.isprintable() else " " for c in text)


def first_problem(error: ValidationError) -> str:
    """Return the first problem that pydantic found, as `field: what is wrong with it`."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    what = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {what[0].lower()}{what[1:]}" if where else what
