"""python -m tokenizer "some text": every step from the text to its ids, printed."""

import argparse
import sys
from typing import NamedTuple

from tokenizer import schemes
from tokenizer.encoder import WordPieceTokenizer
from tokenizer.normalize import split_words
from tokenizer.wordpiece import wordpiece


class Questions:
    """A vocabulary that notes what it is asked, and what it answers."""

    def __init__(self, tok: WordPieceTokenizer) -> None:
        self.tok = tok
        self.notes: list[str] = []

    def __contains__(self, piece: object) -> bool:
        known = piece in self.tok
        answer = self.tok.convert_tokens_to_ids(str(piece)) if known else "no"
        self.notes.append(f"{piece}: {answer}")
        return known


def search(word: str, tok: WordPieceTokenizer) -> str:
    """The way of one word: all pieces that were tried, with their id or "no"."""
    vocab = Questions(tok)
    if word in tok.rules.added:
        return f"{word}: {tok.rules.ids[word]}"
    found = wordpiece(word, vocab, inner=tok.rules.prefix, max_chars=tok.rules.max_chars)
    return ", ".join(vocab.notes) + ("" if found else f" -> the whole word is {tok.unk_token}")


class Walk(NamedTuple):
    """A text's way to its pieces: as it is normalised, its words, and each word's search."""

    normalized: str
    words: list[str]
    pieces: list[str]


def walk(text: str, tok: WordPieceTokenizer) -> Walk:
    """Normalise and split a text, and search the vocabulary for the pieces of each word."""
    words: list[str] = []
    normalized = ""
    for part in tok.rules.parts(text):
        normalized += part.text
        words += [part.token.content] if part.token else split_words(part.text)
    return Walk(normalized, words, [search(word, tok) for word in words])


def steps(text: str, tok: WordPieceTokenizer) -> str:
    """The whole way of one text, as lines to read."""
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
    try:
        print(steps(options.text, WordPieceTokenizer.from_pretrained(options.model)))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
