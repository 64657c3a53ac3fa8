"""The one exception that users are meant to read."""


class FaqlabError(Exception):
    """Something the user can mend: the message says what is wrong, where, and what to do."""
