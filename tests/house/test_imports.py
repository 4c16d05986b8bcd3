"""Imports only go down (levels of the design), optional libraries stay in their room, nothing dangerous is called."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "groundup"

LEVELS = {
    "core": 0,
    "tokenization": 1,
    "models": 1,
    "chat": 2,
    "adapters": 2,
    "data": 3,
    "checkpoints": 3,
    "training": 4,
    "generation": 4,
    "evaluation": 5,
    "inspect": 5,
    "pretraining": 6,
    "finetuning": 6,
    "export": 6,
    "serving": 6,
    "retrieval": 6,
    "tour": 7,  # no room but a module: the quickstart, which joins two rooms that do not know each other
    "cli": 8,
}

OPTIONAL = {  # library -> the rooms that may import it, and only inside a function
    "transformers": {"export"},
    "bitsandbytes": {"models"},
    "pyarrow": {"data", "tokenization"},
    "huggingface_hub": {"checkpoints", "data"},
    "rensa": {"data"},
    "tiktoken": {"tokenization"},
    **{library: {"data"} for library in ("chardet", "datatrove", "docx", "fsspec", "loguru", "pypdf", "trafilatura")},
    "gigabpe": {"tokenization"},
    "gigatoken": {"tokenization"},
    "sentencepiece": {"tokenization"},
    "matplotlib": {"inspect"},
    "tensorboardX": {"core"},
    "ftfy": {"data"},
    "phonenumbers": {"data"},
    "py3langid": {"data"},
    "sklearn": {"evaluation"},
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """(full module name, whether it is imported at module level) of every import statement in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside_functions = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in inside_functions) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the full name"
            if node.module == "groundup":
                found += [(f"groundup.{alias.name}", id(node) not in inside_functions) for alias in node.names]
            else:
                found.append((node.module or "", id(node) not in inside_functions))
    return found


def test_every_room_has_a_level():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms <= set(LEVELS)
    assert {"core", "tokenization", "models", "data", "training", "generation", "cli"} <= rooms


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_go_down(path: Path):
    room = room_of(path)
    if not room:
        return  # the package's own front door offers names from every room
    for module, _ in imports_of(path):
        if not module.startswith("groundup."):
            continue
        other = module.split(".")[1]
        assert other == room or LEVELS[other] < LEVELS[room], f"{room} may not import {module}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_optional_libraries_are_imported_late_and_in_one_room(path: Path):
    for module, at_module_level in imports_of(path):
        library = module.split(".")[0]
        if library in OPTIONAL:
            assert room_of(path) in OPTIONAL[library], f"{library} is imported outside {OPTIONAL[library]}"
            assert not at_module_level, f"{library} must be imported inside the function that needs it"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_dangerous_and_no_print_outside_the_command_line(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not {"pickle", "marshal", "shelve", "dill", "cloudpickle"} & set(names), "no pickle, ever"
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in {"eval", "exec", "torch.load", "torch.save", "os.system"}, f"line {node.lineno}: {name}"
            assert name != "print" or room_of(path) == "cli", f"line {node.lineno}: print outside cli"


def test_the_front_door_is_light():
    """`import groundup` and the command line's help must not pay for torch."""
    code = (
        "import sys, groundup\n"
        "from groundup.cli import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "print(sorted({'torch', 'matplotlib', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "quickstart" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_module_imports_alone():
    """Each module can be imported first: there are no cycles that only work in one order."""
    names = [
        ".".join(("groundup", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for path in modules()
        if path.name != "__main__.py"
    ]
    code = (
        "import sys, importlib, torch\n"
        "for name in sys.argv[1:]:\n"
        "    for loaded in [m for m in sys.modules if m.split('.')[0] == 'groundup']: del sys.modules[loaded]\n"
        "    importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_module_says_what_it_is_for():
    for path in modules():
        if path.read_text(encoding="utf-8").strip():
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} has no docstring"
