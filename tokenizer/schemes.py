"""What WordPiece is better than: characters as tokens, and words as tokens.

Characters need hardly a vocabulary, but texts get long and a model must learn its words from
letters. Words make texts short, but `cat` and `cats` are strangers and every new word is unknown.
"""

from typing import Any


def characters(text: str) -> list[str]:
    """Every character is a token.

    >>> characters("core")
    ['c', 'o', 'r', 'e']
    """
    return list(text)


def words(text: str) -> list[str]:
    """Whatever stands between white space is a token.

    >>> words("task of NLP.")
    ['task', 'of', 'NLP.']
    """
    return text.split()


def number(tokens: list[str]) -> dict[str, int]:
    """An id for every different token, in sorted order.

    >>> number(["b", "a", "b"])
    {'a': 0, 'b': 1}
    """
    return {token: place for place, token in enumerate(sorted(set(tokens)))}


def one_hot(tokens: list[str]) -> Any:
    """A torch tensor with a row per token and a column per id: one 1 in each row, zeros elsewhere.

    As plain numbers, ids would say that token 7 is more than token 3; as columns, they are equals.

    >>> one_hot(["b", "a", "b"]).tolist()
    [[0, 1], [1, 0], [0, 1]]
    """
    import torch

    ids = number(tokens)
    columns = torch.tensor([ids[token] for token in tokens], dtype=torch.int64)
    return torch.nn.functional.one_hot(columns, num_classes=len(ids))
