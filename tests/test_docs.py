"""Every command in README.md and docs/ parses, and every link resolves."""

import functools
import pathlib
import re
import subprocess
import sys

import pytest

from shelfdet.data import formats

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md"] + sorted((ROOT / "docs").glob("*.md"))
PAGES += [ROOT / "workspace" / "training_demo" / "training" / "RUNS.md"]
PAGES += sorted((ROOT / "workspace" / "training_demo").glob("*/README.md"))

# README.md is an overview that is read in full: details belong in docs/.
README_LINES = 170
README_BYTES = 11 * 1024


def name(page):
    return page.relative_to(ROOT).as_posix()


def code_of(page):
    """The fenced blocks and the inline code of a Markdown page, a line each, without comments."""
    text = page.read_text(encoding="utf-8")
    fence = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
    blocks = "\n".join(fence.findall(text)).replace("\\\n", " ")
    indented = "\n".join(re.findall(r"^    (\S.*)$", text, re.MULTILINE)).replace("\\\n", " ")
    inline = [re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", fence.sub("", text))]
    lines = blocks.splitlines() + indented.splitlines() + inline
    return [re.sub(r"(^|\s)#.*", "", line).strip() for line in lines]


def commands(page, first):
    """The commands of a page that begin with ``first``, a regular expression; split at && and ;."""
    parts = [part.strip() for line in code_of(page) for part in re.split(r"&&|;|\|", line)]
    return sorted({part for part in parts if re.match(first, part)})


MAKE_COMMANDS = [
    (name(page), command) for page in PAGES for command in commands(page, r"make [a-z]")
]
SCRIPT_COMMANDS = [
    (name(page), command)
    for page in PAGES
    for command in commands(page, r"(\S+ )*?\S*(scripts|workspace)/\S+\.py")
]


@functools.lru_cache(maxsize=None)
def help_of(script):
    """The --help text of a script."""
    done = subprocess.run(
        [sys.executable, str(ROOT / script), "--help"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


# One word for one thing, in documentation, messages and comments: pattern -> what to write.
WORDS = {
    r"EXIF flags?\b": "EXIF orientation",
    r"\bturn(s|ed)? (the |all )?images\b|\bturned (image|by)\b": "rotate",
    r"\bdrawn (shel|train boxes|products)": "synthetic",
    r"that ships?\b|\bshipped (detector|graph|config|figures)": "included",
}


@pytest.mark.parametrize("pattern", WORDS)
def test_one_word_for_one_thing(pattern):
    command = ["git", "grep", "-n", "-I", "-i", "-E", pattern, "--", ".", ":!tests/test_docs.py"]
    done = subprocess.run(command, cwd=str(ROOT), stdout=subprocess.PIPE, text=True)
    if done.returncode > 1:
        pytest.skip("no git repository: which files are tracked is unknown")
    assert not done.stdout, f"write {WORDS[pattern]}"


@functools.lru_cache(maxsize=None)
def uses():
    """What make itself refuses other variables by: "TARGET:" and "TARGET:VARIABLE"."""
    command = ["awk", "-f", "scripts/variables.awk", "Makefile"]
    return set(subprocess.check_output(command, cwd=str(ROOT), text=True).split())


@pytest.mark.parametrize("page, command", MAKE_COMMANDS)
def test_make_commands_name_targets_and_variables_that_these_use(page, command):
    words = command.split()[1:]
    targets = [word for word in words if re.match(r"[a-z-]+$", word)]
    for target in targets:
        assert f"{target}:" in uses(), target
    for word in words:
        variable, equals, _ = word.partition("=")
        if equals:
            assert any(f"{target}:{variable}" in uses() for target in targets), word


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_variables_are_given_to_targets_that_use_them(page):
    """Sentences such as "give `EXIF=apply` to `make data` and `make eval`"."""
    text = re.sub(r"\s+", " ", page.read_text(encoding="utf-8"))
    given = r"`([A-Z_]+)=[^`]*`(?: or `[^`]*`)? to ((?:`make [a-z-]+`(?:, | and )?)+)"
    for variable, targets in re.findall(given, text):
        for target in re.findall(r"make ([a-z-]+)", targets):
            assert f"{target}:{variable}" in uses()


@pytest.mark.parametrize("page, target", [("data", "data"), ("deployment", "predict")])
def test_tables_of_options_name_variables_of_the_target(page, target):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| option \|.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    variables = {
        variable
        for row in table.splitlines()
        for variable in re.findall(r"`([A-Z_]+)=", row.split("|")[1])
    }
    assert len(variables) > 5
    assert {f"{target}:{variable}" for variable in variables} <= uses()


@pytest.mark.parametrize("page, command", SCRIPT_COMMANDS)
def test_script_commands_use_options_that_the_script_has(page, command):
    script = re.search(r"\S*?((scripts|workspace)/\S+\.py)", command).group(1)
    assert (ROOT / script).is_file(), script
    for option in re.findall(r"(?<!\S)(--[a-z][a-z-]*)", command.split(script, 1)[1]):
        assert re.search(rf"{option}\b", help_of(script)), option


def test_every_format_of_annotations_is_in_the_table():
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^\| [^|]+ \| `(\w+)` \|", text, re.MULTILINE))
    assert described == set(formats.ANNOTATION_FORMATS)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_resolve(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}
            assert anchor in slugs, target


def test_every_page_of_docs_is_linked_from_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{page.name})" in text, page.name


def test_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= README_LINES
    assert len(text.encode("utf-8")) <= README_BYTES


def test_there_are_commands():
    assert len(MAKE_COMMANDS) > 30
    assert len(SCRIPT_COMMANDS) > 5
