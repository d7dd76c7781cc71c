"""The one base of everything that a user can do wrong: the command line prints it as one line and exits with 2."""


class DeriveError(ValueError):
    """`where: what is wrong: expected X, got Y. What to do.`

    about: the name of the value whose equation it blames, where it blames one.
    """

    def __init__(self, message: str, about: str = "") -> None:
        super().__init__(message)
        self.about = about


class LanguageError(DeriveError):
    """An expression that isn't in the language: an unknown node, or shapes that don't fit."""
