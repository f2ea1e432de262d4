import os
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    # the kernels' interpreter, which is chosen when Triton is imported, by whichever test
    os.environ["TRITON_INTERPRET"] = "1"

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def golden() -> Path:
    """Fixtures that are part of the repository: what the original system makes of generated songs."""
    return REPOSITORY / "tests" / "golden"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Songs of others and fixtures made from them, which are never committed; tests are skipped without."""
    folder = Path(os.environ.get("MUSEFORMER_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "golden" / "reference").is_dir():
        pytest.skip(f"no reference material at {folder}; set MUSEFORMER_SHARED to where it lies")
    return folder
