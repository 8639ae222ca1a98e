"""Mistakes that the user of a binary can mend; binaries print them in one line."""


class UsageError(ValueError):
    """A flag, or a folder named by a flag, cannot be used as given."""


class DataNotFoundError(FileNotFoundError):
    """A dataset is neither prepared in the data directory nor within reach, or it is damaged."""
