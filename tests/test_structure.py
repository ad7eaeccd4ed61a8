"""The rules of the house (design section 2), enforced."""

from __future__ import annotations

import ast
import fnmatch
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import tasks
from tasks.releases.dictionary import render_dictionary
from tests.commands import options

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(
    path.relative_to(ROOT) for package in ("schemas", "tasks", "flows") for path in (ROOT / package).rglob("*.py")
)
LAYERS = {"schemas": {"schemas"}, "tasks": {"schemas", "tasks"}, "flows": {"schemas", "tasks", "flows"}}
TESTS = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))
PURE = [path for path in MODULES if path.parts[0] == "schemas" or path.stem in ("parse", "parsed", "locate")]
CLIENTS = {"requests", "httpx", "urllib", "http", "socket", "aiohttp", "fsspec", "s3fs", "boto3", "apprise"}
DOCUMENTS = ["README.md", "schemas/README.md", "deployments/README.md", "DECISIONS.md"]
REACH_OUT = {Path("tasks/upkeep/alerts.py")}  # so that somebody hears of a night that failed
DIALECTS = re.compile(r"""["'](?:duckdb|postgresql|postgres|sqlite|citus)["':/+]""")
KNOW_DIALECTS = {
    Path("schemas/settings.py"),  # the default
    Path("schemas/declare.py"),  # on which engine keys are cheap
    Path("tasks/releases/publish.py"),  # builds the DuckDB file that is published, whatever the engine of the warehouse
    Path("tasks/upkeep/migrations/env.py"),  # tells Alembic what DuckDB is like
    Path("tasks/upkeep/migrations/versions/v0004_country_truth.py"),  # on which engine keys are cheap
    Path("tasks/upkeep/migrations/versions/v0005_what_analysts_count.py"),  # likewise
}


def imported(path: Path) -> set[str]:
    """Dotted names of all that a file imports, wherever in it: modules, and names in modules."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports break in a flow"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imports(path: Path) -> set[str]:
    """Top-level names of all modules that a file imports."""
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_point_down(path):
    assert imports(path) & LAYERS.keys() <= LAYERS[path.parts[0]]


@pytest.mark.parametrize("path", TESTS, ids=str)
def test_what_tests_import_is_there(path):
    """Also what `make test` only collects, or never opens: benches, pages, Citus. No type checker reads tests."""
    for name in imported(path):
        if name.split(".")[0] in {"tests", *LAYERS}:
            owner, _, last = name.rpartition(".")
            package = ROOT / owner.replace(".", "/") / "__init__.py"
            is_module = any((ROOT / name.replace(".", "/")).with_suffix(end).exists() for end in (".py", ""))
            in_module = package.parent.with_suffix(".py").exists()
            in_package = package.exists() and re.search(rf"\b{last}\b", package.read_text())
            assert is_module or in_module or in_package, f"{path}: {name}"


def uses() -> dict[str, set[str]]:
    """Modules by dotted name, and those that each imports."""
    named = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES}
    return {
        name: {found if found in named else found.rpartition(".")[0] for found in imported(path)} & named.keys()
        for name, path in named.items()
    }


def test_no_modules_import_each_other():
    TopologicalSorter(uses()).prepare()  # its error names the modules of a circle


def test_no_packages_import_each_other():
    packages: dict[str, set[str]] = {}
    for name, used in uses().items():
        package = package_of(name)
        packages.setdefault(package, set()).update({package_of(one) for one in used} - {package})
    TopologicalSorter(packages).prepare()


def test_the_packages_of_tasks_stand_in_the_order_in_which_they_build_on_each_other():
    listed = re.findall(r"^    (\w+(?:, \w+)*)  +\S", tasks.__doc__ or "", re.MULTILINE)
    order = [f"tasks.{name}" for line in listed for name in line.split(", ")]
    of_tasks = {module: used for module, used in uses().items() if module.startswith("tasks.")}
    assert sorted(order) == sorted({package_of(module) for module in of_tasks})
    for module, used in of_tasks.items():
        for other in {package_of(one) for one in used if one.startswith("tasks.")}:
            assert order.index(other) <= order.index(package_of(module)), f"{module} imports {other}"


def package_of(module: str) -> str:
    """A folder below schemas, tasks or flows, or a module that stands in none: "tasks.loading", "tasks.night"."""
    return ".".join(module.split(".")[:2])


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_settings_touch_the_environment(path):
    if path != Path("schemas/settings.py"):
        assert not re.search(r"os\.environ|os\.getenv|getenv\(", (ROOT / path).read_text())


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_sources_reach_out(path):
    if path.parent != Path("tasks/sources") and path not in REACH_OUT:
        assert not imports(path) & CLIENTS


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_the_engines_know_a_dialect(path):
    if not path.is_relative_to("tasks/storage/engines") and path not in KNOW_DIALECTS:
        assert not DIALECTS.search((ROOT / path).read_text())
        assert "duckdb" not in imports(path)


@pytest.mark.parametrize("path", PURE, ids=str)
def test_pure_modules_import_no_prefect(path):
    assert "prefect" not in imports(path)


def test_modules_are_small():
    lines = {path: len((ROOT / path).read_text().splitlines()) for path in (*MODULES, *TESTS)}
    del lines[Path("schemas/tables.py")]  # a declaration, however long
    assert {path: count for path, count in lines.items() if count > 450} == {}


def test_what_several_tests_need_is_in_no_module_of_tests():
    """Imported from one, a fixture or a test would run under two names, and nobody would look for it there."""
    taken = {name for path in TESTS for name in imported(path)}
    assert [name for name in sorted(taken) if re.match(r"tests\..*\b(test_\w+|conftest)\b", name)] == []


def test_the_map_of_the_tests_names_what_there_is():
    text = (ROOT / "tests" / "README.md").read_text()
    modules = {path.stem for path in TESTS}
    named = set(re.findall(r"\btest_\w+\b\*?", text))
    assert {name for name in named if not fnmatch.filter(modules, name)} == set()
    helpers = {path.name.removesuffix(".py") for path in (ROOT / "tests").iterdir() if path.name[0] not in "._"}
    helpers -= {"conftest", "test_structure", "README.md", "unit", "integration", "faults", "ui", "bench"}
    table = "".join(re.findall(r"^\|(.*?)\|", text.partition("## Helpers")[2], re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", table)) | {"replay"} == helpers


def test_flows_do_not_shadow_packages():
    assert not {path.name for path in (ROOT / "flows").iterdir()} & {"tasks.py", "schemas.py"}


def test_great_expectations_and_prefect_are_not_imported_by_quick_commands():
    code = "import sys, flows.cli; print(sorted({'great_expectations', 'prefect'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_data_dictionary_is_fresh():
    assert (ROOT / "schemas" / "DICTIONARY.md").read_text() == render_dictionary(), "run `make dictionary`"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documented_commands_exist(document):
    text = (ROOT / document).read_text()
    known = options()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)`", text)) <= targets
    for found in re.findall(
        r"collab ((?:quarantine |ror |override |ask |export )?[a-z-]+)((?: [^\n`|]*)?)",
        "\n".join(re.findall(r"`[^`]*`|^    .*|^collab .*", text, re.MULTILINE)),
    ):
        name, rest = found
        assert name in known or name in ("quarantine", "ror", "override", "ask", "export"), f"{document}: collab {name}"
        assert set(re.findall(r"--[a-z-]+", rest)) <= known.get(name, set()) | {"--help"}, (
            f"{document}: collab {name}{rest}"
        )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_between_documents_lead_somewhere(document):
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" not in target:
            path, _, heading = target.partition("#")
            file = (ROOT / document).parent / path if path else ROOT / document
            assert file.exists(), f"{document}: {target}"
            assert not heading or heading in anchors(file.read_text()), f"{document}: {target}"


def anchors(text: str) -> set[str]:
    """Names of a document's headings, as links say them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_command_is_documented():
    text = "".join((ROOT / document).read_text() for document in ("README.md", "schemas/README.md"))
    assert [name for name in options() if f"collab {name}" not in text] == []


def test_no_lock_or_file_names_an_address_of_a_registry():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "--index" not in lock
    assert all("--hash" in block for block in re.split(r"\n(?=[a-z])", lock) if "==" in block)
