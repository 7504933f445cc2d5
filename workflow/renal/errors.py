"""What ends a step without being a fault of the program."""


class InputError(Exception):
    """Bad input, told in one line that names the file, the fault and the remedy."""


class Stopped(Exception):
    """A training was told to stop; its state is stored and the next start goes on from it."""
