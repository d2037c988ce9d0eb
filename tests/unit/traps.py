"""What a hostile file holds, as the tests use it."""

from collections.abc import Callable


class Trap:
    """Unpickled without care, it calls `function`."""

    def __init__(self, function: Callable, *arguments: object):
        self.call = function, arguments

    def __reduce__(self):
        return self.call
