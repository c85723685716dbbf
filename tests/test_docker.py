"""The image is built from what is in git and from constraints.txt, and its page says what is true of it.

Nothing is built here: that takes a builder, a base image and minutes.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from autonas.parser import make_parser

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docker" / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def joined(text: str) -> list[str]:
    """Lines without comments, continued ones made one."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [" ".join(line.split()) for line in re.sub(r"\\\n", " ", lines).splitlines() if line.strip()]


FILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = [(name, rest) for name, _, rest in (line.partition(" ") for line in joined(FILE))]
COMMANDS = [line for block in FENCE.findall(PAGE) for line in joined(block)]


def arguments(instruction: str) -> list[str]:
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


def copied() -> list[str]:
    """What is copied from the checkout."""
    return [source for rest in arguments("COPY") if "--from" not in rest for source in rest.split()[:-1]]


def test_everything_that_is_copied_is_in_git_and_is_sent_to_the_builder() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert "*" in sent
    assert sorted(copied()) == sorted(line[1:] for line in sent if line.startswith("!"))
    for source in copied():
        assert source in tracked or any(path.startswith(f"{source}/") for path in tracked), source


def test_the_package_can_be_built_from_what_is_copied() -> None:
    # setup.cfg names these; pip needs them in the build stage.
    needed = {"setup.cfg", "pyproject.toml", "README.md", "LICENSE", "autonas", "search_spaces", "constraints.txt"}
    assert needed <= set(copied())


def test_whatever_pip_installs_is_constrained() -> None:
    installs = [rest for rest in arguments("RUN") if "pip install" in rest]
    assert len(installs) == 2
    assert all("-c constraints.txt" in rest for rest in installs)
    torch, package = installs
    assert torch.endswith(" torch")
    assert "--no-deps" in torch, "torch's index would give its dependencies too, and other versions"
    assert "TORCH_INDEX" not in package


def test_the_extras_that_are_installed_exist() -> None:
    (extras,) = re.findall(r"'\.\[(.*?)\]'", " ".join(arguments("RUN")))
    section = (ROOT / "setup.cfg").read_text(encoding="utf-8").partition("[options.extras_require]")[2]
    assert all(re.search(rf"^{extra} =", section, re.MULTILINE) for extra in extras.split(","))


def test_both_variants_are_known_and_nothing_else() -> None:
    (check,) = (rest for rest in arguments("RUN") if rest.startswith("case"))
    assert set(re.findall(r"(?:in|;;) (\w+|\*)\)", check)) == {"cpu", "cuda", "*"}
    assert set(re.findall(r"VARIANT=(\w+)", PAGE)) == {"cpu", "cuda"}


@pytest.mark.parametrize(
    ("variant", "index", "code", "says"),
    [
        ("cpu", "", 2, "needs TORCH_INDEX"),
        ("cpu", "somewhere", 0, ""),
        ("cuda", "", 0, ""),
        ("rocm", "", 2, "VARIANT is 'rocm'; choose cpu or cuda"),
    ],
)
def test_a_variant_that_cannot_be_is_refused_first(variant: str, index: str, code: int, says: str) -> None:
    (check,) = (rest for rest in arguments("RUN") if rest.startswith("case"))
    done = subprocess.run(["sh", "-c", check], env={"VARIANT": variant, "TORCH_INDEX": index}, capture_output=True, text=True)
    assert done.returncode == code
    assert says in done.stderr


def test_the_last_stage_has_no_root_a_compiler_and_one_entry() -> None:
    last = INSTRUCTIONS[max(i for i, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM") :]
    assert [rest for name, rest in last if name == "USER"] == ["10001"]
    assert "--uid 10001" in " ".join(rest for name, rest in last if name == "RUN")
    assert not any("pip" in rest for name, rest in last if name == "RUN")
    (packages,) = (rest for name, rest in last if name == "RUN" and "apt" in rest)
    assert "gcc" in packages  # or training would take the slow path, and Triton none
    assert dict(last)["ENTRYPOINT"] == '["autonas"]'
    assert dict(last)["VOLUME"] == dict(last)["WORKDIR"] == "/data"
    assert "AUTONAS_CACHE=/data/cache" in dict(last)["ENV"]


def test_the_default_base_is_a_python_that_autonas_supports() -> None:
    assert {rest.split(" AS ")[0] for rest in arguments("FROM")} == {"python:${PYTHON}-slim"}
    (version,) = (rest.partition("=")[2] for rest in arguments("ARG") if rest.startswith("PYTHON="))
    assert f"Python :: {version}" in (ROOT / "setup.cfg").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [c for c in COMMANDS if "--build-arg" in c], ids=lambda c: c[-12:])
def test_every_build_line_gives_arguments_that_the_dockerfile_takes(command: str) -> None:
    words = shlex.split(command)
    given = [words[i + 1].partition("=")[0] for i, word in enumerate(words) if word == "--build-arg"]
    assert set(given) <= {rest.partition("=")[0] for rest in arguments("ARG")}
    assert words[words.index("-f") + 1] == "docker/Dockerfile"
    assert words[-1] == "."


def asked_of_autonas(command: str) -> list[str] | None:
    """What a `docker run` or `docker exec` line asks of autonas; None of one that asks something else."""
    words = shlex.split(command)
    if words[:2] == ["docker", "exec"] and "autonas" in words:
        return words[words.index("autonas") + 1 :]
    image = next((i for i, word in enumerate(words) if fnmatch.fnmatch(word, "autonas:c*")), None)
    if words[:2] != ["docker", "run"] or image is None or "--entrypoint" in words:
        return None
    return words[image + 1 :]


@pytest.mark.parametrize("asked", [a for a in map(asked_of_autonas, COMMANDS) if a], ids=" ".join)
def test_every_autonas_command_of_the_page_is_one(asked: list[str]) -> None:
    assert make_parser().parse_args(asked).command == asked[0]


def test_every_node_of_the_cluster_has_the_token_the_folder_and_an_address() -> None:
    nodes = [command for command in COMMANDS if "--entrypoint ray" in command]
    assert len(nodes) == 2
    for node in nodes:
        assert all(part in node for part in ("--env-file ray.env", "-v autonas:/data", "--network autonas", " start "))
        assert node.endswith("--block"), "a container ends with its first process"
    (written,) = (command for command in COMMANDS if "> ray.env" in command)
    assert "RAY_AUTH_MODE=token" in written
    assert "umask 077" in written
    (search,) = (a for a in map(asked_of_autonas, COMMANDS) if a and "--ray-address" in a)
    address = search[search.index("--ray-address") + 1]
    assert f"--address {address}" in nodes[1]
    assert f"--name {address.split(':')[0]}" in nodes[0]
    assert f"--port {address.split(':')[1]}" in nodes[0]


def test_nothing_names_a_host_of_packages_or_images() -> None:
    assert "://" not in PAGE + FILE
