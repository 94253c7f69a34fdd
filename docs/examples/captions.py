"""The models and the manager of a worker process: `asyncinfer work captions:manager`."""

from asyncinfer import JobManager, current_job, model


@model(time_limit=60)
def caption(image: bytes, *, lang: str = "en") -> str:
    current_job().progress(0.5, "looking at it")
    return f"{len(image)} bytes, described in {lang}"


manager = JobManager("sqlite:///jobs.db", models=[caption], concurrency={"thread": 2})
