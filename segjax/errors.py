"""The one exception that a user is meant to read."""


class SegjaxError(Exception):
    """A mistake the user can mend.

    The message is one line: what was got, the rule it breaks, and the remedy. Commands print it
    without a traceback and exit with a code that is not 0.
    """
