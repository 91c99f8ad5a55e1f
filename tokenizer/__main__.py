"""python -m tokenizer "some text": every step from the text to its ids, printed."""

import argparse
import io
import sys
from typing import NamedTuple

from tokenizer import schemes
from tokenizer.encoder import WordPieceTokenizer
from tokenizer.inputs import typed
from tokenizer.normalize import split_words
from tokenizer.rules import Rules
from tokenizer.wordpiece import wordpiece


class LoggedVocab:
    """A vocabulary that logs every look-up: the piece, and its id or "no"."""

    def __init__(self, vocab: dict[str, int]) -> None:
        self.vocab = vocab
        self.log: list[str] = []

    def __contains__(self, piece: object) -> bool:
        self.log.append(f"{piece}: {self.vocab.get(str(piece), 'no')}")
        return piece in self.vocab


def search(word: str, rules: Rules) -> str:
    """All pieces of a normalised word that were looked up, with their id or "no"."""
    vocab = LoggedVocab(rules.vocab)
    found = wordpiece(word, vocab, inner=rules.prefix, max_chars=rules.max_chars)
    return ", ".join(vocab.log) + (
        "" if found else f" -> the whole word is {rules.names.unk_token}"
    )


class Walk(NamedTuple):
    """The steps from a text to its pieces: normalised, split into words, each word looked up."""

    normalized: str
    words: list[str]
    pieces: list[str]


def walk(text: str, tok: WordPieceTokenizer) -> Walk:
    """Normalise and split a text, and search the vocabulary for the pieces of each word."""
    normalized, words, pieces = "", [], []
    for part in tok.rules.parts(text):
        normalized += part.text
        if part.token:  # an added token is found whole, not looked up piece by piece
            words.append(part.token.content)
            pieces.append(f"{part.token.content}: {part.token.id}")
        else:
            found = split_words(part.text)
            words += found
            pieces += [search(word, tok.rules) for word in found]
    return Walk(normalized, words, pieces)


def steps(text: str, tok: WordPieceTokenizer) -> str:
    """All steps of one text, as lines to read."""
    normalized, words, pieces = walk(text, tok)
    encoded = tok(text)
    tokens = tok.convert_ids_to_tokens(encoded.input_ids)
    characters = schemes.characters(text)
    lines = [
        f"text            {text!r}",
        f"as characters   {len(characters)}, {len(set(characters))} of them different",
        f"as words        {' | '.join(schemes.words(text))}",
        f"normalised      {normalized!r}",
        f"split           {' | '.join(words)}",
        "pieces          what the vocabulary says to each, the longest first",
        *(f"  {line}" for line in pieces),
        f"tokens          {' '.join(tokens)}",
        f"input_ids       {encoded.input_ids}",
        f"attention_mask  {encoded.attention_mask}",
        f"back to text    {tok.convert_tokens_to_string(tokens)}",
    ]
    return "\n".join(lines)


def main() -> int:
    """Print the steps of the text on the command line; the exit status, 2 for a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m tokenizer", description=__doc__)
    parser.add_argument("text")
    parser.add_argument("--model", default="demo", help="folder, Hub name, or demo (the default)")
    options = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):  # UTF-8 in any locale
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        print(steps(typed(options.text), WordPieceTokenizer.from_pretrained(options.model)))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
