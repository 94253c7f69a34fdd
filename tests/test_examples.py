"""Every example of the documentation runs, and prints what its page shows."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent
EXAMPLES = HOUSE / "docs" / "examples"
SECONDS = 60.0
"""An example that takes longer hangs."""

# Run as a program in one go; the others have a test of their own below, embed_torch in test_torch_example.py.
ALONE = {"by_name", "restart", "embed_torch"}
PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("*.txt") if path.stem not in ALONE)
SUITES = sorted(path.name for path in EXAMPLES.glob("test_*.py"))
IMPORTED = {"captions", "fresh_threads", "local_server", "long_models"}
PYTEST_SETTINGS = "[pytest]\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"

# Programs of other tongues, each called by one of Python that serves `http_app` to it.
SERVED = """
import os, subprocess, sys
from http_app import app
from local_server import serving

with serving(app) as server:
    environment = {**os.environ, "SERVICE": f"{server}/inference", "TOKEN": "token-of-ann"}
    sys.exit(subprocess.run(sys.argv[1:], env=environment).returncode)
"""
FOLLOW = """
import { submit, follow } from "./browser.mjs";

const { SERVICE, TOKEN } = process.env;
const job = await submit(SERVICE, TOKEN, "story-1", { model: "tell", input: { story: "once upon a time" } });
const again = await submit(SERVICE, TOKEN, "story-1", { model: "tell", input: { story: "once upon a time" } });
const words = [];
const ended = await follow(SERVICE, TOKEN, job.id, (name, data) => name === "output" && words.push(data.value));
console.log(job.id === again.id, words.join(" "), ended.status);
"""
NGINX = "daemon off; pid {0}/pid; events {{}} http {{ access_log off; {1} include {0}/nginx.conf; }}"
NGINX_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")

README_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
README_CURL = re.compile(r"^curl .*$", re.MULTILINE)
README_URL = "http://127.0.0.1:8000"
JOB_ID = re.compile(r"job_[0-9A-HJKMNP-TV-Z]{26}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the examples, and nothing else of this repository."""
    return Path(shutil.copytree(EXAMPLES, tmp_path / "examples"))


def test_every_example_is_run_by_a_test() -> None:
    run_here = {*PROGRAMS, *ALONE, *IMPORTED, *(Path(name).stem for name in SUITES)}

    assert {path.stem for path in EXAMPLES.glob("*.py")} == run_here


def test_every_example_is_shown_in_a_page() -> None:
    pages = "".join(page.read_text() for page in (HOUSE / "docs").rglob("*.md"))

    assert [path.name for path in EXAMPLES.glob("*.*") if f'--8<-- "{path.name}' not in pages] == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_prints_what_its_page_shows(name: str, folder: Path) -> None:
    done = python(f"{name}.py", folder=folder)

    assert done.returncode == 0, done.stderr
    assert shown(done.stdout) == (EXAMPLES / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", SUITES)
def test_an_example_of_a_test_file_passes(name: str, folder: Path) -> None:
    (folder / "pytest.ini").write_text(PYTEST_SETTINGS)
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", name, folder=folder)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_killed_run_is_continued_by_the_next(folder: Path) -> None:
    killed = python("restart.py", folder=folder)
    continued = python("restart.py", folder=folder)

    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "new\n")
    assert continued.returncode == 0, continued.stderr
    assert continued.stdout == (EXAMPLES / "restart.txt").read_text()


@pytest.fixture
def worker(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `asyncinfer work captions:manager`, and yield once it has published its model."""
    log = folder / "work.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "asyncinfer.cli", "work", "captions:manager"]
        process = subprocess.Popen(command, cwd=folder, env=clean_environment(), stderr=output)
    try:
        deadline = time.monotonic() + SECONDS
        # A poll: another process's log file tells nobody that it grew.
        while "runs caption" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_second_process_runs_what_the_first_submits(folder: Path, worker: "subprocess.Popen[bytes]") -> None:
    submitted = python("by_name.py", folder=folder)
    listed = python("-m", "asyncinfer.cli", "jobs", "list", "--store", "sqlite:///jobs.db", folder=folder)
    looked = python("-m", "asyncinfer.cli", "top", "--once", "--store", "sqlite:///jobs.db", folder=folder)
    worker.send_signal(signal.SIGTERM)

    assert worker.wait(SECONDS) == 0
    assert submitted.returncode == 0, submitted.stderr
    assert submitted.stdout == (EXAMPLES / "by_name.txt").read_text()
    assert JOB_ID.search(listed.stdout), listed.stderr
    assert "thread 2" in looked.stdout, looked.stderr


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_shell_example_gets_its_result(folder: Path) -> None:
    done = python("-c", SERVED, "sh", "-eu", "lost_network.sh", folder=folder)

    assert done.returncode == 0, done.stderr
    assert done.stdout == '"9 bytes, described in fr"'


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_browser_example_submits_once_and_follows(folder: Path) -> None:
    done = python("-c", SERVED, "node", "--input-type=module", "--eval", FOLLOW, folder=folder)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "true once upon a time succeeded\n"


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
def test_nginx_takes_the_example_of_its_settings(folder: Path) -> None:
    paths = " ".join(f"{name}_temp_path {folder}/{name};" for name in NGINX_PATHS)
    (folder / "main.conf").write_text(NGINX.format(folder, paths))
    done = subprocess.run(
        ["nginx", "-t", "-e", "stderr", "-c", folder / "main.conf"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_the_first_program_of_the_readme_runs(tmp_path: Path) -> None:
    first = README_BLOCK.findall((HOUSE / "README.md").read_text())[0]
    (tmp_path / "readme.py").write_text(first)
    done = python("readme.py", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n3 bytes, described in fr\n")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_service_of_the_readme_answers_its_curl_lines(folder: Path) -> None:
    readme = (HOUSE / "README.md").read_text()
    (service,) = [block for block in README_BLOCK.findall(readme) if "create_app" in block]
    (folder / "http_app.py").write_text(service)
    lines = [line.replace(README_URL, "${SERVICE%/inference}") for line in README_CURL.findall(readme)]
    (folder / "lines.sh").write_text("\n".join(re.sub(r"'(\$[^' ]*)'", r'"\1"', line) for line in lines))
    done = python("-c", SERVED, "sh", "-eu", "lines.sh", folder=folder)

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith('"9 bytes, described in en"')


def python(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would tell an example where its store is."""
    return {name: value for name, value in os.environ.items() if name != "ASYNCINFER_STORE"}


def shown(output: str) -> str:
    """Return the output as a page can show it: ids are random."""
    return JOB_ID.sub("job_…", output)
