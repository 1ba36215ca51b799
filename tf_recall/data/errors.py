"""Errors of other libraries in the one line that ours have."""


def one_line(error: Exception) -> str:
    """What an error says, its lines joined by blanks; its kind where it says nothing.

    Example:
        >>> one_line(ValueError("no\\n  file"))
        'no file'
    """
    return " ".join(str(error).split()) or type(error).__name__
