"""Cut the bodies out of functions and classes, by the syntax tree of their source."""

import ast

MESSAGE = "exercise: write this"
Function = ast.FunctionDef | ast.AsyncFunctionDef


def cut(source: str, names: list[str]) -> str:
    """The source with only signature, docstring and a NotImplementedError left of these functions.

    names: "function", "Class.method", or "Class" for all of its methods. Raises KeyError naming
    what the source does not have.

    >>> print(cut('def double(x):\\n    "Twice x."\\n    # why\\n    return 2 * x\\n', ["double"]))
    def double(x):
        "Twice x."
        raise NotImplementedError("exercise: write this")
    <BLANKLINE>
    """
    lines = source.splitlines(keepends=True)
    functions = [function for name in names for function in find(source, name)]
    for function in sorted(functions, key=lambda f: -f.lineno):  # from the end: places stay true
        begin, end = body(function, lines)
        indent = " " * function.body[0].col_offset
        lines[begin:end] = [f'{indent}raise NotImplementedError("{MESSAGE}")\n']
    return "".join(lines)


def find(source: str, name: str) -> list[Function]:
    """The function of this name, or all methods of the class of this name."""
    parts = name.split(".")
    nodes: list[ast.stmt] = ast.parse(source).body
    for part in parts:
        found = [n for n in nodes if isinstance(n, Function | ast.ClassDef) and n.name == part]
        if not found:
            raise KeyError(f"no {name} in this source")
        nodes = found[0].body if isinstance(found[0], ast.ClassDef) else found
    return [node for node in nodes if isinstance(node, Function)]


def body(function: Function, lines: list[str]) -> tuple[int, int]:
    """The lines [begin:end] of a function's body, behind its docstring."""
    first, end = function.body[0], function.end_lineno
    assert end is not None
    if ast.get_docstring(function, clean=False) is not None:
        assert first.end_lineno is not None
        return first.end_lineno, end
    begin = first.lineno - 1
    while lines[begin - 1].lstrip().startswith("#"):  # a comment before the first statement
        begin -= 1
    return begin, end
