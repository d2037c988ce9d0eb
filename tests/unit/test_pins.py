"""pyproject.toml (ranges), constraints.txt (every version) and environment.yml (for conda) say the same."""

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]


def pins(lines):
    """{canonical name: version} of the lines that pin."""
    return {
        canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines) if version
    }


CONSTRAINTS = pins(line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#"))
PIP = next(entry["pip"] for entry in ENVIRONMENT if isinstance(entry, dict))
EXTRAS = PROJECT["optional-dependencies"]
# `make bench` alone installs these: neither the environment nor the tests have them.
BENCH = {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, EXTRAS["bench"])}
DIRECT = {
    canonicalize_name(requirement.name): requirement
    for group in [PROJECT["dependencies"], *(group for name, group in EXTRAS.items() if name != "bench")]
    for requirement in map(Requirement, group)
    if requirement.name != PROJECT["name"]
}


def test_every_direct_dependency_is_pinned_within_its_range():
    for name, requirement in (DIRECT | BENCH).items():
        assert name in CONSTRAINTS
        assert requirement.specifier.contains(CONSTRAINTS[name]), (name, CONSTRAINTS[name])
        bounds = {specifier.operator for specifier in requirement.specifier}
        assert bounds == {">=", "<"}, f"{requirement}: give a lower and an upper bound"


def test_environment_has_exactly_the_direct_dependencies_with_the_same_pins():
    assert pins(PIP) == {name: CONSTRAINTS[name] for name in DIRECT}
    assert "-c constraints.txt" in PIP and "-e ." in PIP


def test_environment_has_a_python_that_the_project_accepts():
    python = next(entry for entry in ENVIRONMENT if isinstance(entry, str) and entry.startswith("python="))
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python="))


def test_every_dependency_has_its_reason():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    for name in DIRECT | BENCH:
        line = next(line for line in lines if line.strip().startswith((f'"{name}>', f'"{name}=')))
        assert "# " in line, f"say in pyproject.toml what {name} is for"


def closure(requirements):
    """Name of every distribution that `requirements` bring in here, directly or not."""
    found, left = set(), [(r.name, extra) for r in requirements for extra in ("", *r.extras)]
    while left:
        name, extra = left.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        for needed in map(Requirement, metadata.requires(name) or []):
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                left += [(needed.name, part) for part in ("", *needed.extras)]
    return {canonicalize_name(name) for name, _ in found}


def test_constraints_hold_the_whole_closure_and_what_is_installed():
    try:
        needed = closure(DIRECT.values())
    except metadata.PackageNotFoundError as error:
        pytest.fail(f"{error} is not installed: run `make venv`")
    # Build variants of PyTorch (+cpu, +cu128) bring packages of their own, pinned by PyTorch itself.
    needed = {name for name in needed if not name.startswith(("nvidia-", "cuda-", "triton"))}
    assert needed <= set(CONSTRAINTS), needed - set(CONSTRAINTS)
    installed = {name: metadata.version(name).partition("+")[0] for name in needed}
    assert installed == {name: CONSTRAINTS[name] for name in needed}
