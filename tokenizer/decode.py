"""From tokens back to text, as far as the tokens tell it."""

from collections.abc import Iterable

# Spaces that BERT's decoder takes out around punctuation and in contractions. The order counts,
# and each rule sees one token at a time, with the space before it: "don ' t" stays apart.
CLEANED_UP = {
    " .": ".",
    " ?": "?",
    " !": "!",
    " ,": ",",
    " ' ": "'",
    " n't": "n't",
    " 'm": "'m",
    " do not": " don't",
    " 's": "'s",
    " 've": "'ve",
    " 're": "'re",
}


def tokens_to_text(tokens: Iterable[str], prefix: str = "##", cleanup: bool = True) -> str:
    """Tokens joined with spaces, pieces of one word without.

    >>> tokens_to_text(["play", "##ing", ",", "not", "work", "##ing"])
    'playing, not working'
    """
    words: list[str] = []
    for token in tokens:
        if words:  # the first token stays as it is, even with "##"
            token = token[len(prefix) :] if token.startswith(prefix) else f" {token}"
        words.append(clean_up_spaces(token) if cleanup else token)
    return "".join(words)


def clean_up_spaces(text: str) -> str:
    """A token or, for tokenizers with clean_up_tokenization_spaces, a text without these spaces."""
    for wide, close in CLEANED_UP.items():
        text = text.replace(wide, close)
    return text
