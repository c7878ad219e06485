"""The pages for a new user: every command and snippet in them runs, and prints what they show."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from quorate.cli import main

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"[+-]?\d[\d,]*\.?\d*")


def blocks(page: str, kind: str) -> list[str]:
    """The blocks of one kind, '' for plain ones, of a page below docs/."""
    text = (ROOT / "docs" / page).read_text()
    return [body for of, body in re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S)
            if of == kind]  # fmt: skip


def commands(page: str) -> list[str]:
    return [line for block in blocks(page, "sh") for line in block.strip().splitlines()]


def call(line: str) -> int:
    """Run one command as the shell would, globs and all."""
    words = []
    for word in shlex.split(line):
        found = sorted(map(str, Path().glob(word))) if "*" in word else []
        words += found or [word]
    assert words[0] == "quorate", line
    return main(words[1:])


def same(shown: str, said: str) -> bool:
    """Whether the lines that are shown were said, in their order; figures about so."""
    lines = iter(said.splitlines())
    return all(any(_like(line, one) for one in lines) for line in shown.splitlines())


def _like(shown: str, said: str) -> bool:
    if NUMBER.sub("#", shown).split() != NUMBER.sub("#", said).split():
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(said), strict=True)
    return all(_figure(a) == pytest.approx(_figure(b), rel=0.02, abs=0.012) for a, b in pairs)


def _figure(text: str) -> float:
    return float(text.replace(",", ""))


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """What of the repository the pages use."""
    parts = tmp_path / "docs/examples/parts"
    parts.mkdir(parents=True)
    for name in ("images", "models", "spec.yaml"):
        (parts / name).symlink_to(ROOT / "docs/examples/parts" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_quickstart_goes_from_pictures_to_a_comparison(checkout, capsys, monkeypatch):
    page = "guides/quickstart.md"
    *prepare, cd = blocks(page, "sh")[0].strip().splitlines()
    assert cd == "cd street"
    subprocess.run("\n".join(prepare), shell=True, check=True)
    monkeypatch.chdir(checkout / "street")
    spec, *lines = blocks(page, "yaml")
    refused, checked, compared = blocks(page, "")
    check, run, compare = commands(page)[len(prepare) + 1 :]

    Path("spec.yaml").write_text(spec)
    assert call(check) == 2
    assert same(refused, capsys.readouterr().err)
    for number, line in enumerate(lines):
        detector = line.split(",")[0]  # "  - {name: frcnn"
        spec = re.sub(rf"^{re.escape(detector)},.*\n", lambda _, new=line: new, spec, flags=re.M)
        assert line in spec
        Path("spec.yaml").write_text(spec)
        assert call(check) == 0
        said = capsys.readouterr()
        if number == 0:
            assert same(checked, said.out + said.err)
    assert "note" not in said.err
    assert call(run) == 0
    text = (ROOT / "docs" / page).read_text()
    for written in re.findall(r"^\| `(out/[^`]+)`", text, re.M):
        assert Path(written).exists(), written
    capsys.readouterr()
    assert call(compare) == 0
    assert same(compared, capsys.readouterr().out)
    labels = Path("out/cvat/labels.json").read_text()
    assert '"review"' in labels


def test_what_follows_make_demo(checkout, capsys):
    shutil.copytree("docs/examples/parts/models", "models")
    assert main(["demo"]) == 0
    table = "\n".join(
        line[4:] for line in (ROOT / "README.md").read_text().splitlines()
        if line.startswith(("    parts: ", "    yolo", "    detr", "    frcnn", "    ensemble"))
    )  # fmt: skip
    assert len(table.splitlines()) == 5
    assert same(table, capsys.readouterr().out)

    names: dict = {}
    for page in ("reference/python.md", "concepts/evaluation.md", "concepts/review.md"):
        for code in blocks(page, "python"):
            exec(code, names)
        said = capsys.readouterr().out
        for shown in blocks(page, ""):
            assert same(shown, said), shown
    assert Path("out/python/report.html").exists()

    (guide,) = [
        line.strip() for line in (ROOT / "docs/guides/fuse-files.md").read_text().splitlines()
        if line.startswith("    quorate fuse")
    ]  # fmt: skip
    assert call(guide) == 0
    assert "yolo" in capsys.readouterr().out

    calibrate, tune = commands("guides/tune.md")
    calibrated, _ = blocks("guides/tune.md", "")
    assert call(calibrate) == 0
    said = capsys.readouterr()
    assert same(calibrated, said.out + said.err)
    assert call(f"{tune} --settings 40") == 0
    (code,) = blocks("guides/tune.md", "python")
    exec(code.replace("settings=200", "settings=40"), {})
    assert Path("out/tuned/report.html").exists()


def test_what_the_page_on_votes_fuses():
    names: dict = {}
    for code in blocks("concepts/how-votes-are-counted.md", "python"):
        exec(code, names)
    assert names["fused"].votes.tolist() == [2]


def test_every_name_of_quorate_is_on_the_page_on_python():
    import quorate

    text = (ROOT / "docs/reference/python.md").read_text()
    assert {name for name in quorate.__all__ if name not in text} == set()


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda p: p.name)
def test_every_page_is_listed(page):
    index = (ROOT / "docs/README.md").read_text()
    name = page.relative_to(ROOT / "docs").as_posix()
    assert name in ("README.md", "examples/parts/README.md") or f"({name})" in index


PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    heads = re.findall(r"^#+ (.+)$", text, re.M)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)|`", r"\1", head).strip().lower() for head in heads]
    return {re.sub(r"[^\w\- ]", "", head).replace(" ", "-") for head in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target
