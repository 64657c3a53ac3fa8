"""What a fresh clone relies on: one list of packages, no addresses, one version, a cache that stays out of git."""

from __future__ import annotations

import ast
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pathspec import GitIgnoreSpec

import faqlab
from faqlab.settings import PROJECT_ROOT

PYPROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
IGNORED = GitIgnoreSpec.from_lines((PROJECT_ROOT / ".gitignore").read_text(encoding="utf-8").splitlines())
ADDRESS = re.compile(
    r"--(extra-|default-)?index(-url)?\b|--find-links|--trusted-host|(PIP|UV)_\w*(INDEX|LINKS)|registry\s*=|"
    r'"resolved":\s*"https?:|@ (https?|git\+|file):'
)


def direct() -> list[Requirement]:
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]["dev"]  # not of `base`, which few need: versions and weights are exact
    return [Requirement(line) for line in [*project["dependencies"], *extras]]


def pins() -> dict[str, set[str]]:
    """Return the pinned versions of each package (several where they differ by Python version)."""
    versions: dict[str, set[str]] = {}
    text = (PROJECT_ROOT / "requirements.txt").read_text(encoding="utf-8")
    for line in text.replace("\\\n", "").splitlines():
        line, *hashes = line.split(" --hash=")
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest.strip()) for digest in hashes), line
        requirement = Requirement(line.rstrip())
        assert requirement.url is None, line
        (specifier,) = requirement.specifier
        assert specifier.operator == "==" and "*" not in specifier.version, line
        versions.setdefault(canonicalize_name(requirement.name), set()).add(specifier.version)
    return versions


def tracked() -> Iterator[Path]:
    """Yield what git would track: all that is not ignored, nor git's own."""
    for folder, folders, files in os.walk(PROJECT_ROOT):
        here = Path(folder).relative_to(PROJECT_ROOT)
        folders[:] = [name for name in folders if name != ".git" and not IGNORED.match_file(f"{here / name}/")]
        yield from (here / name for name in files if name != ".git" and not IGNORED.match_file(str(here / name)))


def imported(path: Path) -> set[str]:
    """Return the packages that a Python file imports, neither its own nor Python's."""
    names = set()
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    own = {"faqlab", "benchmarks", "training", *(file.stem for file in PROJECT_ROOT.glob("tests/**/*.py"))}
    return {name.split(".")[0] for name in names} - own - sys.stdlib_module_names


def text_of(path: Path) -> str:
    try:
        return (PROJECT_ROOT / path).read_text(encoding="utf-8")
    except (UnicodeDecodeError, FileNotFoundError):  # a picture; a link to nowhere; gone since
        return ""


@pytest.mark.parametrize("requirement", direct(), ids=lambda requirement: requirement.name)
def test_each_direct_dependency_is_pinned_within_its_range(requirement: Requirement) -> None:
    assert requirement.url is None
    versions = pins().get(canonicalize_name(requirement.name))
    assert versions, "not pinned: make requirements"
    assert all(requirement.specifier.contains(version) for version in versions)


def test_what_is_imported_is_a_direct_dependency() -> None:
    """Of a namespace that several packages share (`livekit`, `google`), one is enough."""
    packages = packages_distributions()
    declared = {canonicalize_name(requirement.name) for requirement in direct()}
    undeclared = {
        f"{path}: {name}"
        for path in tracked()
        if path.suffix == ".py" and path.parts[0] in {"faqlab", "benchmarks", "training", "tests", "notebooks"}
        for name in imported(path)
        if not declared & set(map(canonicalize_name, packages.get(name, [])))
    }
    assert undeclared == set()


def test_conda_installs_the_same_python_packages_from_the_same_pins() -> None:
    environment = yaml.safe_load((PROJECT_ROOT / "environment.yml").read_text(encoding="utf-8"))
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-r requirements.txt"]
    conda = {re.split(r"[\s<>=]", entry)[0] for entry in environment["dependencies"] if isinstance(entry, str)}
    assert conda == {"python", "make", "pip"}  # Node and Go are among the pinned packages
    assert environment["channels"] == ["conda-forge"]
    (python,) = [entry for entry in environment["dependencies"] if str(entry).startswith("python")]
    assert Requirement(f"python{PYPROJECT['project']['requires-python']}").specifier.contains(
        python.split("=")[-1] + ".0"
    )


def test_ci_uses_actions_at_one_commit_each() -> None:
    text = "".join(text_of(path) for path in tracked() if path.parts[:2] == (".github", "workflows"))
    used = re.findall(r"uses: *(.*)", text)
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line)] == []


def test_no_tracked_file_names_an_index_or_a_direct_address_of_a_package() -> None:
    found = [
        f"{path}: {match.group()}"
        for path in tracked()
        if path.suffix in {".txt", ".toml", ".yml", ".yaml", ".json", ".cfg", ".ini", ".npmrc", ".lock"}
        or path.name in {"Makefile", "run", ".npmrc", ".env.example"}
        for match in [ADDRESS.search(text_of(path))]
        if match
    ]
    assert found == []


def test_no_tracked_file_names_the_index_that_this_machine_is_set_to() -> None:
    hosts = {
        urlsplit(address).hostname
        for name, value in os.environ.items()
        if re.search(r"INDEX|LINKS|GOPROXY|REGISTRY", name, re.IGNORECASE)
        for address in re.findall(r"https?://[^\s,|]+", value)
    } - {None, "localhost", "127.0.0.1", "pypi.org", "proxy.golang.org", "registry.npmjs.org"}
    assert [(path, host) for path in tracked() for host in hosts if host and host in text_of(path)] == []


def test_no_tracked_file_names_a_place_on_the_machine_where_it_was_made() -> None:
    """As a notebook's output can, by the warning of a library."""
    places = re.compile(r"(?<![\w.~])/(home|root|Users|work|tmp)/\w|/" + "site-packages/")
    assert [f"{path}: {found.group()}" for path in tracked() if (found := places.search(text_of(path)))] == []


def test_the_version_is_in_one_place() -> None:
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    assert "version" not in PYPROJECT["project"]
    assert PYPROJECT["tool"]["hatch"]["version"]["path"] == "faqlab/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", faqlab.__version__)
    stated = re.compile(rf"""version["']?\s*[:=]\s*["']{re.escape(faqlab.__version__)}["']""", re.IGNORECASE)
    files = [path for path in tracked() if path.suffix in {".py", ".toml", ".yml", ".json", ".ts", ".tsx"}]
    assert [str(path) for path in files if path.name != "package-lock.json" and stated.search(text_of(path))] == []


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("embeddings_cache/README.md", False),
        ("embeddings_cache/ecommerce-0123456789/faiss_index.bin", True),
        ("embeddings_cache/serving-all-minilm-l6-v2/model.onnx", True),
        ("embeddings_cache/.ecommerce-0123456789.lock", True),
        (".env", True),
        (".env.example", False),
        (".venv/bin/python", True),
        ("data/retrieval.json", False),
        ("requirements.txt", False),
        ("faqlab/web/node_modules/react/index.js", True),
        ("faqlab/web/dist/index.html", True),
        ("faqlab/web/package-lock.json", False),
    ],
)
def test_git_ignores_what_the_program_writes_and_nothing_else(path: str, ignored: bool) -> None:
    assert IGNORED.match_file(path) is ignored


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "data/README.md"])
def test_what_a_page_links_to_or_shows_is_in_the_repository(page: str) -> None:
    text = text_of(Path(page))
    links = re.findall(r"\]\(([^)\s]+)", text) + re.findall(r"""(?:src|href)=["']([^"']+)""", text)
    relative = [link for link in links if not re.match(r"https?:|mailto:|#", link)]
    files = {os.path.normpath(Path(page).parent / link.split("#")[0]) for link in relative}
    kept = set(map(str, tracked()))
    assert {file for file in files if file not in kept and not (PROJECT_ROOT / file).is_dir()} == set()


def test_no_page_holds_a_place_that_was_to_be_filled() -> None:
    assert [str(path) for path in tracked() if path.suffix == ".md" and "@@" in text_of(path)] == []


def test_a_fresh_clone_has_the_cache_folder_with_a_readme_that_says_what_will_be_in_it() -> None:
    text = (PROJECT_ROOT / "embeddings_cache" / "README.md").read_text(encoding="utf-8")
    assert "faiss_index.bin" in text
    assert "manifest.json" in text
