# What the embedding example and its benchmark use of a package that has no types.
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

class SentenceTransformer:
    def encode(
        self, sentences: Sequence[str], *, batch_size: int = 32, show_progress_bar: bool = False
    ) -> NDArray[np.float32]: ...

def load_model(device: str) -> SentenceTransformer: ...
