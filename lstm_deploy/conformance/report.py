"""The matrix of runtimes and cases as text for people, and as a table in Markdown."""

from .suite import CaseResult, Matrix, RuntimeResult


def describe(matrix: Matrix) -> str:
    """Several lines: what the file is, one line a runtime, and why what is not equal is not."""
    lines = [
        f"{matrix.model}: graph form {matrix.graph_form}, {matrix.precision}, "
        f"claims {', '.join(matrix.claims) or 'none'}",
        f"compared with {matrix.oracle}, tolerance {matrix.tolerance:g} + {matrix.tolerance:g} |score|: "
        "largest difference; where it is wrong, how many tags are equal",
        "",
    ]
    tried = [result for result in matrix.runtimes if not result.absent]
    rows = [["", *matrix.cases, "", ""]]
    rows.append(["tokens", *(f"{tokens:,}" for tokens in matrix.cases.values()), "", ""])
    rows += [[r.name, *(_cell(r.cases[name]) for name in matrix.cases), _standing(r), r.version] for r in tried]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    faults = [f"{r.name}, {name}: {c.status}: {c.reason}" for r in tried for name, c in _faults(r)]
    absent: dict[str, list[str]] = {}
    for r in matrix.runtimes:
        if r.absent:
            absent.setdefault(r.absent, []).append(r.name)
    untried = [f"not tried: {', '.join(names)}: {reason}" for reason, names in absent.items()]
    lines += ["", *faults, *untried] if faults or untried else []
    return "\n".join([*lines, "", _verdict(matrix, tried)])


def _standing(result: RuntimeResult) -> str:
    if result.claimed:
        return "claimed"
    return "right, though not claimed" if result.equal else "not claimed"


def _verdict(matrix: Matrix, tried: list[RuntimeResult]) -> str:
    claimed = [result for result in tried if result.claimed]
    right = sum(result.equal for result in claimed)
    others = sum(result.equal for result in tried if not result.claimed)
    return (
        f"{matrix.model}: right in {right} of the {len(claimed)} runtimes tried that it claims, in {others} of "
        f"{len(tried) - len(claimed)} others"
    )


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
