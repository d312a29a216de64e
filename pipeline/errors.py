"""The ways a run ends early, each told in one line on stderr and by the exit code."""


class UserError(Exception):
    """A user's mistake (exit code 2): the message says what is wrong, the value, where it
    came from, what is allowed and what to do."""


class RunFailure(Exception):
    """A run that cannot go on (exit code 1): what happened and what to try."""


class Diverged(RunFailure):
    """A loss is not finite, or beyond all measure."""


class Collapsed(RunFailure):
    """The classifier guesses, or the generator's images are all alike."""


class Stopped(Exception):
    """A run that was ended on purpose before its last step; its MLflow run is KILLED."""
