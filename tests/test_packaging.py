"""What is installed: all packages, nothing else, and no more loaded than is needed."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HEAVY = {
    "torch",
    "transformers",
    "stable_baselines3",
    "sb3_contrib",
    "datasets",
    "pandas",
    "matplotlib",
    "scipy",
    "sklearn",
}


def modules():
    """Paths of all Python files below ``rlprompt``, the linked folders included."""
    found = []
    for folder, _, names in os.walk(ROOT / "rlprompt", followlinks=True):
        here = Path(folder).relative_to(ROOT)
        found += [here / name for name in names if name.endswith(".py")]
    return sorted(found)


def test_listed_packages_are_the_folders_with_python_files():
    folders = {".".join(path.parent.parts) for path in modules()}
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(folders)
    assert len(set(listed)) == len(listed)
    for name in folders:
        assert (ROOT / Path(*name.split(".")) / "__init__.py").is_file()


def test_links_and_mapping_name_the_same_folders():
    mapping = PROJECT["tool"]["setuptools"]["package-dir"]
    links = {
        f"rlprompt.{path.name}": str(path.readlink())
        for path in (ROOT / "rlprompt").iterdir()
        if path.is_symlink()
    }
    assert links == {name: f"../{folder}" for name, folder in mapping.items()}


@pytest.mark.parametrize(
    "name",
    [
        "rlprompt",
        "rlprompt.envs",
        "rlprompt.testing",
        "rlprompt.tasks.registry",
        "rlprompt.agents.protocol",
        "rlprompt.agents.sb3.ppo",
        "rlprompt.run.config",
        "rlprompt.run.optimize",
        "rlprompt.cli",
    ],
)
def test_importing_loads_nothing_heavy(name):
    code = f"import sys, {name}; print(*sorted({HEAVY!r} & {{*sys.modules}}))"
    assert run(code, ROOT, PYTHONPATH=os.pathsep.join([str(ROOT), *sys.path])).strip() == ""


def test_every_public_name_can_be_had():
    code = "import rlprompt\nfor name in rlprompt.__all__: getattr(rlprompt, name)"
    run(code, ROOT, PYTHONPATH=os.pathsep.join([str(ROOT), *sys.path]))


def test_a_name_that_does_not_exist_is_an_attribute_error():
    import rlprompt

    with pytest.raises(AttributeError, match="module 'rlprompt' has no attribute 'optimise'"):
        _ = rlprompt.optimise


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the tree, so that no build folder is left in it."""
    pytest.importorskip("build")
    try:
        if int(version("setuptools").split(".")[0]) < 77:
            pytest.skip("the build needs setuptools 77 or later")
    except PackageNotFoundError:
        pytest.skip("the build needs setuptools")
    source, out = tmp_path_factory.mktemp("source") / "tree", tmp_path_factory.mktemp("wheel")
    source.mkdir()
    for name in ("rlprompt", "envs", "agents"):
        shutil.copytree(
            ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "LICENSE", PROJECT["project"]["readme"]):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source / name)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = out.glob("*.whl")
    return path


def test_the_wheel_holds_every_module_and_no_top_level_envs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    code = {name for name in names if name.endswith(".py")}
    assert code == {path.as_posix() for path in modules()}
    assert "rlprompt/py.typed" in names
    templates = {path.relative_to(ROOT) for path in (ROOT / "rlprompt/html/templates").iterdir()}
    assert templates
    assert {path.as_posix() for path in templates} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"rlprompt"}


def test_the_wheel_works_from_anywhere(wheel, tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        "import gymnasium, rlprompt.envs, rlprompt.agents.sb3.ppo\n"
        "env = gymnasium.make('rlprompt/Planted-v0', length=2)\n"
        "env.reset(seed=0); env.step(0)\n"
        "print(rlprompt.__file__, rlprompt.envs.__file__, rlprompt.agents.__file__, sep='\\n')"
    )
    # The checkout must not be what is imported; an editable install of it would come later.
    for place in run(code, elsewhere, PYTHONPATH=str(site)).split():
        assert Path(place).is_relative_to(site)


def test_the_wheel_has_the_command_and_the_version(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [points] = [n for n in archive.namelist() if n.endswith("entry_points.txt")]
        assert "rlprompt = rlprompt.cli:main" in archive.read(points).decode()
    import rlprompt

    assert wheel.name.split("-")[1] == rlprompt.__version__


def run(code, folder, **environment):
    """Runs Python code in a process of its own; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
