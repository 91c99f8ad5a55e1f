"""A function from text to ids that remembers its answers."""

from collections.abc import Callable

LONGEST_KEY = 200  # what is longer hardly comes twice, and must not fill the memory


class Memory(dict[str, tuple[int, ...]]):
    """memory[text] is function(text), computed on first sight: later one look-up in a dict.

    It holds `size` answers at most and then starts afresh; nobody can tell but by the clock.
    """

    def __init__(self, function: Callable[[str], tuple[int, ...]], size: int = 2**17) -> None:
        super().__init__()
        self.function = function
        self.size = size

    def __missing__(self, text: str) -> tuple[int, ...]:
        answer = self.function(text)
        if len(text) <= LONGEST_KEY:
            if len(self) >= self.size:
                self.clear()
            self[text] = answer
        return answer
