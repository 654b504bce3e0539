"""The matrix of runtimes and cases as text for people, and as a table in Markdown."""

from .suite import CaseResult, Matrix, RuntimeResult


def describe(matrix: Matrix) -> str:
    """Several lines: what the file is, one line a runtime, and why what is not equal is not."""
    lines = [
        f"{matrix.model}: graph form {matrix.graph_form}, {matrix.precision}, "
        f"claims {', '.join(matrix.claims) or 'none'}",
        f"compared with {matrix.oracle}, tolerance {matrix.tolerance:g} + {matrix.tolerance:g} |score|: "
        "largest difference, tags equal",
        "",
    ]
    tried = [result for result in matrix.runtimes if not result.absent]
    rows = [["", *matrix.cases, "", ""]]
    rows.append(["tokens", *(f"{tokens:,}" for tokens in matrix.cases.values()), "", ""])
    rows += [
        [r.name, *(_cell(r.cases[name]) for name in matrix.cases), "claimed" if r.claimed else "not claimed", r.version]
        for r in tried
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    faults = [f"{r.name}, {name}: {c.status}: {c.reason}" for r in tried for name, c in _faults(r)]
    absent = [f"{r.name}: not tried: {r.absent}" for r in matrix.runtimes if r.absent]
    return "\n".join([*lines, *([""] if faults or absent else []), *faults, *absent])


def table(matrix: Matrix) -> str:
    """Runtimes x cases in Markdown; those that are not installed are left out."""
    head = ["runtime", "version", "claimed", *matrix.cases]
    rows = [
        [r.name, r.version, "yes" if r.claimed else "no", *(_cell(r.cases[name]) for name in matrix.cases)]
        for r in matrix.runtimes
        if not r.absent
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def _faults(result: RuntimeResult) -> list[tuple[str, CaseResult]]:
    """The cases that are wrong, and the first that was refused or crashed: the reason is the same in all of those."""
    found: dict[str, tuple[str, CaseResult]] = {}
    for name, case in result.cases.items():
        if case.status != "equal":
            found.setdefault(case.reason if case.status == "wrong" else case.status, (name, case))
    return list(found.values())


def _cell(case: CaseResult) -> str:
    if case.max_difference is None:
        return case.status
    if case.status == "equal":
        return f"{case.max_difference:.1e}"
    return f"{case.status} {case.max_difference:.1e}, {100 * (case.tags_equal or 0):.2f} %"
