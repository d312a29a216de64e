"""The two ways a run ends early, each told in one line on stderr and by the exit code."""


class UserError(Exception):
    """A user's mistake (exit code 2): the message says what is wrong, the value, where it
    came from, what is allowed and what to do."""


class RunFailure(Exception):
    """A run that cannot go on (exit code 1): what happened and what to try."""
