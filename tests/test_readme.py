"""The README's commands and code give what it shows."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which the demonstration ran, and what it printed."""
    folder = tmp_path_factory.mktemp("readme")
    command = [sys.executable, "-m", "consentgate", "demo"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return folder, done.stdout


def blocks(language: str) -> list[str]:
    """The README's fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_demo_prints_what_the_readme_shows(demo: tuple[Path, str]) -> None:
    assert blocks("text") == [demo[1].rstrip("\n") + "\n"]


def test_demo_covers_the_reasons_and_the_rules(demo: tuple[Path, str]) -> None:
    """A reason that came later may be left out; those of the first release are all there."""
    import consentgate as cg

    rules = cg.Policy.load(demo[0] / "demo-output" / "policy.toml").rule_names
    codes = [reason.code for reason in cg.Reason]
    shown = {code for code in (*codes, *rules) if re.search(rf"\b[1-9][\d,]*\s+{code} ", demo[1])}
    assert shown >= {*codes[:13], *rules}


def test_demo_refuses_to_overwrite(demo: tuple[Path, str]) -> None:
    command = [sys.executable, "-m", "consentgate", "demo"]
    again = subprocess.run(command, cwd=demo[0], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "[output]" in again.stderr


def test_command_that_the_demo_suggests_gives_the_same_rows(demo: tuple[Path, str]) -> None:
    import pyarrow.parquet as pq

    folder, printed = demo
    suggested = printed[printed.index("  consentgate filter") :].replace("\\\n", " ").split()
    command = [sys.executable, "-m", "consentgate", *suggested[1:]]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    for name in ("admitted.parquet", "excluded.parquet"):
        assert pq.read_table(folder / "judged" / name).equals(
            pq.read_table(folder / "demo-output" / name), check_metadata=True
        )


def test_python_in_the_readme_runs(
    demo: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(demo[0])
    names: dict[str, object] = {}
    for code in blocks("python"):
        exec(compile(code, "README.md", "exec"), names)
    assert "record 998" in capsys.readouterr().out


def test_commands_in_the_readme_run(demo: tuple[Path, str]) -> None:
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    script = "\n".join(re.findall(r"^    ((?:consentgate|  ).*)$", prose, flags=re.MULTILINE))
    assert script.count("consentgate ") == 4
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=demo[0],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "and the gate admits every row again" in done.stdout
    assert re.search(r"private_channel +86,398", done.stdout)


@pytest.fixture(scope="module")
def few_messages(
    demo: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, int]:
    """A folder with a twentieth of the demonstration's messages, and how many are admitted."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("few")
    shutil.copytree(demo[0] / "demo-output", folder / "demo-output")
    path = folder / "demo-output" / "messages.parquet"
    messages = pq.read_table(path)
    few = messages.take([*range(0, messages.num_rows, 20)])
    pq.write_table(few, path)
    admitted = pq.read_table(folder / "demo-output" / "admitted.parquet", columns=["message_id"])
    return folder, pc.sum(pc.is_in(few["message_id"], admitted["message_id"])).as_py()


SCRIPTS = [path for path in sorted((ROOT / "examples").glob("*.py")) if path.name != "chitchat.py"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_example_runs(path: Path, few_messages: tuple[Path, int]) -> None:
    folder, num_admitted = few_messages
    assert num_admitted > 100
    done = subprocess.run(
        [sys.executable, path], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    uses_demo = "from chitchat import" in path.read_text(encoding="utf-8")
    admitted = f"{num_admitted} messages" if uses_demo else "['hello, everyone']"
    assert f"train on {admitted}" in done.stdout
