"""The exception whose message is written for users."""

from __future__ import annotations

from pydantic import ValidationError


class FaqlabError(Exception):
    """Something the user can fix: the message says what is wrong, where, and what to do. Long ones are shortened."""

    def __init__(self, message: str) -> None:
        super().__init__(message if len(message) <= 300 else f"{message[:180]} … {message[-117:]}")


def first_problem(error: ValidationError) -> str:
    """Return the first problem that pydantic found, as `field: what is wrong with it`."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    what = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {what[0].lower()}{what[1:]}" if where else what
