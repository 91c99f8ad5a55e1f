"""Text -> ids: BERT's WordPiece tokenizer, by hand, in the standard library alone."""

from tokenizer.encoder import WordPieceTokenizer

__all__ = ["WordPieceTokenizer"]
