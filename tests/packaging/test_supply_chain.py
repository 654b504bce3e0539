"""Locks name a hash for every file and no index; the bill of materials is valid and has the runtime alone; audits."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements"
TOOLS = Path(os.environ.get("LSTM_DEPLOY_SUPPLY", ROOT / ".supply-venv")) / "bin" / "python"
VALIDATE = """
import sys
from pathlib import Path
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(Path(sys.argv[1]).read_text(encoding="utf-8"))
sys.exit(str(wrong) if wrong else 0)
"""
BILL = ROOT / "dist" / "sbom.cdx.json"
LOCKED = r"([a-z0-9._-]+)==(\S+)(?: ; [^\\]*)?"


def _locked(name):
    """Package -> versions; every one of them with hashes."""
    text = (REQUIREMENTS / name).read_text(encoding="utf-8").replace("\\\n", "")
    found = {}
    for line in text.splitlines():
        if line and not line.lstrip().startswith("#"):
            match = re.match(LOCKED + r"(?P<hashes>(?: +--hash=sha256:[0-9a-f]{64})+)$", re.sub(" +", " ", line))
            assert match, line
            found.setdefault(match[1], set()).add(match[2])
    return found


def _wanted(*extras):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize(
    ("name", "extras"),
    [
        ("dev.txt", ("cpu", "export", "test")),
        ("engines.txt", ("cpu", "export", "test", "conformance", "data", "ray", "serve")),
    ],
)
def test_a_lock_holds_what_is_asked_for_with_hashes_and_names_no_index(name, extras):
    locked = _locked(name)
    for wanted in _wanted(*extras):
        if wanted.name != "torch":  # of which the index decides the build
            assert wanted.name in locked, f"requirements/{name} lacks {wanted}; run `make lock`"
            assert all(map(wanted.specifier.contains, locked[wanted.name])), f"{wanted}: run `make lock`"
    assert "torch" not in locked
    assert not [package for package in locked if package.startswith("nvidia")]
    assert "://" not in (REQUIREMENTS / name).read_text(encoding="utf-8")


def test_both_locks_agree():
    dev, engines = _locked("dev.txt"), _locked("engines.txt")
    assert {name: engines[name] for name in dev} == dev


def test_the_release_of_torch_is_the_makefiles():
    wanted = re.search(r"^TORCH \?= (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert wanted in (REQUIREMENTS / "dev.in").read_text(encoding="utf-8").splitlines()
    described = tomllib.loads((REQUIREMENTS / "uv.toml").read_text(encoding="utf-8"))["dependency-metadata"]
    assert [f"{each['name']}=={each['version']}" for each in described] == [wanted]


@pytest.fixture
def bill():
    """What `make sbom` wrote."""
    if not TOOLS.exists() or not BILL.is_file():
        pytest.skip("there is no dist/sbom.cdx.json: `make sbom` writes it")
    return json.loads(BILL.read_bytes())


def test_the_bill_of_materials_names_the_runtime_alone_in_the_locked_versions(bill):
    versions = {component["name"]: component["version"] for component in bill["components"]}
    assert {"numpy", "onnxruntime", "click", "tqdm"} <= versions.keys()
    assert not versions.keys() & {"torch", "onnx", "safetensors", "matplotlib", "pyarrow", "pytest"}
    root = bill["metadata"]["component"]
    (asked,) = (each["dependsOn"] for each in bill["dependencies"] if each["ref"] == root["bom-ref"])
    assert {each.partition("==")[0] for each in asked} == {"numpy", "onnxruntime", "click", "tqdm"}
    locked = _locked("dev.txt")
    assert {name for name, version in versions.items() if version not in locked[name]} == set()


def test_the_bill_of_materials_follows_its_schema(bill, tmp_path):
    assert _errors(BILL) == ""
    bill["components"][0]["type"] = "no such type"
    spoilt = tmp_path / "spoilt.json"
    spoilt.write_text(json.dumps(bill), encoding="utf-8")
    assert "no such type" in _errors(spoilt)


def test_the_bill_of_materials_is_the_same_whenever_it_is_written(bill, tmp_path):
    if not (ROOT / ".sbom-venv").is_dir():
        pytest.skip("what it was made of is not there: `make sbom` makes it")
    command = [TOOLS.with_name("cyclonedx-py"), "environment", "--output-reproducible", "--mc-type", "library"]
    again = ["--pyproject", ROOT / "pyproject.toml", "--output-file", tmp_path / "again.json", ROOT / ".sbom-venv"]
    subprocess.run([*command, *again], check=True, capture_output=True, cwd=tmp_path)
    assert (tmp_path / "again.json").read_bytes() == BILL.read_bytes()


def _errors(path):
    return subprocess.run([TOOLS, "-c", VALIDATE, path], capture_output=True, text=True, check=False).stderr


@pytest.fixture
def audit(monkeypatch):
    spec = importlib.util.spec_from_file_location("audit", REQUIREMENTS / "audit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(answers, *arguments):
        def ask(service, path):
            return answers(service, path.read_text(encoding="utf-8").split())

        monkeypatch.setattr(module, "ask", ask)
        monkeypatch.setattr(sys, "argv", ["audit.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            module.main()
        return ended.value.code

    return run


@pytest.fixture
def pinned(tmp_path):
    path = tmp_path / "pinned.txt"
    path.write_text("fine==1.0\n")
    return path


def _service(vulnerable, unknown=()):
    def answer(service, lines):
        found = []
        for name, version in (line.split("==") for line in lines):
            if name in unknown:
                found.append({"name": name, "skip_reason": "not found"})
            else:
                found.append({"name": name, "version": version, "vulns": [{"id": "CVE-1"}] * (name in vulnerable)})
        return found

    return answer


def test_an_audit_of_a_service_that_knows_of_nothing_is_no_audit(audit, pinned, capsys):
    assert audit(_service(vulnerable=()), pinned) == 2
    assert audit(lambda service, lines: "no route to host", pinned) == 2
    said = capsys.readouterr().out
    assert said.count("nothing was audited: no service answers") == 2 and "no route to host" in said


def test_an_audit_asks_the_service_that_answers(audit, pinned, capsys):
    def answer(service, lines):
        return _service({"jinja2"})(service, lines) if service == "osv" else "refused"

    assert audit(answer, pinned, "--also", "torch==2.13.0") == 0
    assert capsys.readouterr().out == "osv: 2 packages asked for, 0 with known vulnerabilities or unknown to it\n"


@pytest.mark.parametrize("answers", [_service({"jinja2", "fine"}), _service({"jinja2"}, unknown={"fine"})])
def test_what_is_vulnerable_or_unknown_fails_an_audit(audit, pinned, capsys, answers):
    assert audit(answers, pinned) == 1
    assert capsys.readouterr().out.startswith("fine ")
