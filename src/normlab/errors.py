"""The one exception for what a user can mend, so that it is told apart from a defect."""


class UserError(Exception):
    """Bad input: a setting, a file, a folder. Its message says what is wrong, where, what to do.

    The program's doors print the message alone and exit with status 1. Any other exception is a
    defect of the program and keeps its traceback.
    """
