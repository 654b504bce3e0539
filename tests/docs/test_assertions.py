"""No test that cannot fail: each checks something, and what it checks cannot be nothing."""

import ast
from functools import partial
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MODULES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(TESTS.rglob("*.py"))}
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
# Ways to check beside assert, each of them an error where what is said does not hold. An Injection of tests/faults is
# one where a fault was not survived, and where none was injected.
CHECKS = {"raises", "warns", "fail", "check_returncode", "check_call", "check_output", "Injection"}


def functions(module):
    return {node.name: node for node in ast.walk(module) if isinstance(node, FUNCTION)}


def in_reach(path):
    """The functions that a test module can call by name: its own, and those that it imports from other test modules."""
    found = functions(MODULES[path])
    names = {other.stem: other for other in MODULES}
    for node in ast.walk(MODULES[path]):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[-1] in names:
            theirs = functions(MODULES[names[node.module.split(".")[-1]]])
            found |= {a.asname or a.name: theirs[a.name] for a in node.names if a.name in theirs}
        elif isinstance(node, ast.ImportFrom | ast.Import):
            for alias in node.names:
                if alias.name in names:  # a helper module as a whole: its functions are attributes
                    found |= {
                        f"{alias.asname or alias.name}.{k}": v for k, v in functions(MODULES[names[alias.name]]).items()
                    }
    return found


def always(iterable, reach, local):
    """Whether a loop over it is sure to run: it is written out, made of what is, or drawn up by the tests themselves.

    What the code under test gives, a folder or a file holds, may be nothing.
    """
    again = partial(always, reach=reach, local=local)
    if isinstance(iterable, ast.Tuple | ast.List | ast.Set):
        return bool(iterable.elts)
    if isinstance(iterable, ast.Dict):
        return bool(iterable.keys)
    if isinstance(iterable, ast.ListComp | ast.GeneratorExp | ast.DictComp):
        return all(again(generator.iter) and not generator.ifs for generator in iterable.generators)
    if isinstance(iterable, ast.Name):  # tables of cases have names in capitals
        return iterable.id.isupper() or (iterable.id in local and again(local[iterable.id]))
    if isinstance(iterable, ast.BinOp):
        return again(iterable.left) or again(iterable.right)
    return isinstance(iterable, ast.Call) and _is_drawn_up(iterable, reach, again)


def _is_drawn_up(call, reach, again):
    name = ast.unparse(call.func)
    if isinstance(call.func, ast.Attribute) and call.func.attr in ("items", "values", "keys", "split"):
        return again(call.func.value) or isinstance(call.func.value, ast.Constant)
    if name == "range":
        return all(not isinstance(argument, ast.Constant) or argument.value != 0 for argument in call.args[:2][-1:])
    if name == "zip":  # of which all are as long as one
        return any(map(again, call.args)) and "strict=True" in ast.unparse(call)
    if name in ("enumerate", "reversed", "sorted", "list", "product", "itertools.product", "map", "pool.map"):
        return all(map(again, call.args[1:] if name.endswith("map") else call.args))
    return name in reach


def is_check(node, reach, seen):
    if isinstance(node, ast.Assert):
        return True
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func)
    if name.split(".")[-1] in CHECKS or ".testing.assert_" in name or name.startswith("testing.assert_"):
        return True
    if any(k.arg == "check" and isinstance(k.value, ast.Constant) and k.value.value is True for k in node.keywords):
        return True
    called = reach.get(name)
    return called is not None and called not in seen and checks(called, reach, {*seen, called})


def checks(node, reach, seen=frozenset(), *, sure=False, local=None):
    """Whether a check stands anywhere below ``node``; if ``sure``, one that no empty loop skips."""
    if local is None:
        local = {ast.unparse(a.targets[0]): a.value for a in ast.walk(node) if isinstance(a, ast.Assign)}
    for child in ast.iter_child_nodes(node):
        if sure and isinstance(child, ast.While):
            continue
        if sure and isinstance(child, ast.For | ast.AsyncFor) and not always(child.iter, reach, local):
            if any(is_check(part, reach, seen) for part in ast.walk(child.iter)):
                return True
            continue
        if sure and isinstance(child, ast.Assert) and is_all_of_what_may_be_nothing(child.test, reach, local):
            continue
        if is_check(child, reach, seen) or checks(child, reach, seen, sure=sure, local=local):
            return True
    return False


def is_all_of_what_may_be_nothing(test, reach, local):
    return (
        isinstance(test, ast.Call)
        and ast.unparse(test.func) == "all"
        and isinstance(test.args[0], ast.GeneratorExp | ast.ListComp)
        and not all(always(generator.iter, reach, local) for generator in test.args[0].generators)
    )


def every_test():
    for path, module in MODULES.items():
        if path.name.startswith("test_"):
            reach = in_reach(path)
            for name, node in functions(module).items():
                if name.startswith("test_"):
                    yield f"{path.relative_to(TESTS).as_posix()}:{node.lineno} {name}", node, reach


def _decorators(node):
    return " ".join(f"@{ast.unparse(decorator)}" for decorator in node.decorator_list)


def nodes(kind):
    for path, module in MODULES.items():
        for node in ast.walk(module):
            if isinstance(node, kind):
                yield f"{path.relative_to(TESTS).as_posix()}:{node.lineno} {ast.unparse(node):.80}", node


def test_every_test_checks_something():
    found = list(every_test())
    assert len(found) > 500
    assert [place for place, node, reach in found if not checks(node, reach)] == []


def test_no_test_passes_because_a_loop_did_not_run():
    """A test of hypothesis has a hundred examples, not all of them empty."""
    once = [(place, node, reach) for place, node, reach in every_test() if "@given" not in _decorators(node)]
    assert len(once) > 500
    assert [place for place, node, reach in once if not checks(node, reach, sure=True)] == []


def test_no_test_is_content_with_any_exception():
    """`Exception` is raised by a misspelt name, too: without what its message says, a test of it cannot fail."""
    broad = [
        place
        for place, node in nodes(ast.Call)
        if ast.unparse(node.func) == "pytest.raises"
        and ast.unparse(node.args[0]) in ("Exception", "BaseException")
        and not any(keyword.arg == "match" for keyword in node.keywords)
    ]
    assert broad == []


def test_no_assertion_holds_whatever_happens():
    empty = (ast.Constant, ast.Tuple, ast.List, ast.JoinedStr, ast.Lambda, ast.GeneratorExp)
    constant = [
        place
        for place, node in nodes(ast.Assert)
        if isinstance(node.test, empty)
        or (isinstance(node.test, ast.Compare) and ast.dump(node.test.left) == ast.dump(node.test.comparators[0]))
    ]
    assert constant == []


def test_no_assertion_compares_an_answer_with_the_absence_of_one():
    """``assert x == f(x) or True`` and the like."""
    true = [place for place, node in nodes(ast.BoolOp) if any(ast.unparse(v) in ("True", "1") for v in node.values)]
    assert true == []


@pytest.mark.parametrize(
    ("body", "has", "is_sure"),
    [
        ("f(1)", False, False),
        ("assert f(1)", True, True),
        ("with pytest.raises(ValueError): f(1)", True, True),
        ("held(f(1))", True, True),
        ("with Injection('SIGKILL', 'run', 'all') as fault:\n for x in f(1): fault.count(x)", True, True),
        ("subprocess.run(['x'], check=True)", True, True),
        ("for x in f(1): assert x", True, False),
        ("for x in (1, 2): assert f(x)", True, True),
        ("for x in range(0): assert f(x)", True, False),
        ("for name, x in CASES.items(): assert f(x)", True, True),
        ("assert all(x for x in f(1))", True, False),
        ("while f(1): assert f(2)", True, False),
    ],
)
def test_the_rule_tells_them_apart(body, has, is_sure):
    reach = functions(ast.parse("def held(x): assert x"))
    test = ast.parse(body)
    assert checks(test, reach) == has
    assert checks(test, reach, sure=True) == is_sure
