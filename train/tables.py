"""How figures are written in tables, on the terminal and on pages."""

from typing import Any

import pandas as pd


def number(value: Any) -> str:
    """The text of one table cell: floats to 4 digits, thousands with commas, None as "".

    >>> [number(value) for value in (0.675, 18.413, 16_000, None, "joy")]
    ['0.6750', '18.41', '16,000', '', 'joy']
    """
    if value is None:
        return ""
    if isinstance(value, float):
        size = abs(value)
        if 1e-3 <= size <= 1 or size == 0:
            return f"{value:.4f}"  # shares: 0.9000 and 0.8875 align in a column
        return f"{value:,.0f}" if size >= 1e4 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):  # for Python, True is an int
        return f"{value:,}"
    return str(value)


def none_for_nan(table: pd.DataFrame) -> pd.DataFrame:
    """The cells as JSON can hold them: Python's numbers, and None in place of NaN."""
    return table.astype(object).where(table.notna(), None)


def print_table(title: str, table: pd.DataFrame, index: bool = True) -> None:
    """Print a title and the table's rows, or "none" where it has no row."""
    print(f"\n{title}")
    text = table.to_string(index=index, max_colwidth=80, float_format="{:.4f}".format)
    print(text if len(table) else "none")
