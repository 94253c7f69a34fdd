"""Run waiting jobs together: short texts with short ones, and each job answered by itself."""

import asyncio

from asyncinfer import Batch, JobFailed, JobManager, current_batch, model


class Embedder:
    def predict_batch(self, items: list[str]) -> list[int | Exception]:
        for job, item in zip(current_batch(), items, strict=True):
            job.progress(0.5, f"{len(item)} characters")  # each job shows its own
        print("together:", ", ".join(f"{item[:9]}…" if len(item) > 9 else item for item in items))
        return [ValueError("nothing to embed") if item == "?" else len(item) for item in items]


embed = model(
    Embedder,
    name="embed",
    batch=Batch(
        max_size=4,
        max_cost=2_000,  # of one call, in what `cost` counts
        cost=len,
        buckets=(100,),  # up to 100, and above: padded to the longest, they waste little
        max_wait=0.2,  # seconds; 0, the default, goes at once
    ),
)

TEXTS = ["a cat", "a dog", "?", "long " * 200, "a bird", "longer " * 100, "a fish"]


async def main() -> None:
    async with JobManager("sqlite:///jobs.db", models=[embed], concurrency={"thread": 1}) as manager:
        jobs = await manager.submit_many([embed.bind(text) for text in TEXTS])
        answers = await asyncio.gather(*jobs, return_exceptions=True)
    for text, answer in zip(TEXTS, answers, strict=True):
        print(f"{text[:9]!r}:", answer.error.message if isinstance(answer, JobFailed) else answer)


asyncio.run(main())
