"""Builds wheel and sdist into out/dist and tries them as a user would, from outside of the tree.

Run by `make release-check`, in an environment that has `build`. Ends with an error where the sdist
builds another wheel than the tree does, where the wheel holds anything but the library, or where an
environment with nothing but the wheel and its `cpu` extra cannot train and decompose.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
DIST = ROOT / "out" / "dist"
# All that a wheel may hold beside the package.
METADATA = ("METADATA", "WHEEL", "RECORD", "top_level.txt", "LICENSE")


def main():
    """Builds, compares, installs and tries; prints what was done."""
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        wheel, sdist = build(place)
        check_contents(wheel)
        check_same(wheel, of_sdist(sdist, place))
        try_installed(wheel, place)
    print(f"ready to be published: {wheel.name} and {sdist.name} in {DIST}")


def build(place):
    """Returns the wheel and the sdist of a copy of what git tracks, both built from the tree."""
    tree = place / "tree"
    tracked = _run("git", "ls-files", "-z", cwd=ROOT, capture_output=True).stdout
    # A copy, since setuptools leaves files in a tree and takes up those of earlier builds.
    for name in filter(None, tracked.split("\0")):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tree / name)
    _build("--sdist", "--wheel", "--outdir", DIST, tree)
    return _only(DIST, "*.whl"), _only(DIST, "*.tar.gz")


def of_sdist(sdist, place):
    """Returns the wheel that an sdist builds."""
    with tarfile.open(sdist) as archive:
        archive.extractall(place / "sdist", filter="data")
    source = _only(place / "sdist", "*")
    _build("--wheel", "--outdir", place / "again", source)
    return _only(place / "again", "*.whl")


def check_contents(wheel):
    """Raises a SystemExit unless a wheel holds all modules of `keras_taylor` and nothing else."""
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("keras_taylor/**/*.py")}
    others = {name for name in names - modules if not name.endswith(METADATA)}
    if others or modules - names:
        sys.exit(f"{wheel.name} lacks {sorted(modules - names)} and also holds {sorted(others)}")
    print(f"{wheel.name}: {len(modules)} modules of keras_taylor and nothing else")


def check_same(one, other):
    """Raises a SystemExit unless two wheels have the same name and hold the same bytes."""
    held, again = _contents(one), _contents(other)
    different = sorted(n for n in {*held, *again} if held.get(n) != again.get(n))
    if one.name != other.name or different:
        sys.exit(f"the sdist builds {other.name}, which differs from {one.name}: {different}")
    print("the sdist builds the same wheel")


def _contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def try_installed(wheel, place):
    """Installs a wheel with its `cpu` extra into an empty environment, and uses it there."""
    environment, elsewhere = place / "environment", place / "elsewhere"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    _run(python, "-m", "pip", "install", "--quiet", f"{wheel}[cpu]")
    elsewhere.mkdir()
    shutil.copy(ROOT / ".ci" / "installed.py", elsewhere)
    # -I: neither the working directory nor PYTHONPATH lends a module.
    # Nor does TensorFlow warn of what it will not optimise.
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    _run(python, "-I", elsewhere / "installed.py", cwd=elsewhere, env=quiet)


def _build(*arguments):
    # What it copies where fills pages; errors go to the other stream.
    _run(sys.executable, "-m", "build", *arguments, stdout=subprocess.DEVNULL)


def _only(directory, pattern):
    (found,) = directory.glob(pattern)
    return found


def _run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, text=True, **options)


if __name__ == "__main__":
    main()
