"""What MkDocs calls while it builds the site: the pages that are made rather than written.

README, its kin and the examples' README are pages as they stand. The pages in `pages/` and the
examples are run, each in a process of its own, and get their output and their pictures. Each public
name has a page (names.py). What was built may fetch nothing from elsewhere: that is looked at last.
"""

import re
from html.parser import HTMLParser
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

HERE = Path(__file__).parent
TOP = HERE.parent

import names  # noqa: E402
from cells import show  # noqa: E402
from make import make_all  # noqa: E402

TEXTS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "examples/README.md")
EXAMPLES = re.findall(r"^## \d+\. `(\w+)\.py`", (TOP / TEXTS[-1]).read_text("utf-8"), re.M)
WRITTEN = sorted((HERE / "pages").glob("*.md"))
OTHERS = ["Tensor", "op", "blocked", "scope", "no_grad", "source_lines"]
CALCULUS = ["grad", "value_and_grad", "vjp", "jvp", "jacobian", "hessian", "check"]
QUESTIONS = ["graph", "steps", "paths", "path_classes", "flow", "profile", "compare", "what_if",
             "History"]  # fmt: skip
# The order in which to read the engine, as README has it.
READING = ["operation", "value", "ops/elementwise", "backward", "tensor", "calculus",
           "insight/graphs", "insight/flows"]  # fmt: skip
PROGRAMS = ["replay", "ReplayWarning", "program", "from_torch", "training", "testing"]


def on_config(config):
    """The order of the pages."""
    groups = {
        "Tensors and ops": OTHERS, "Calculus": CALCULUS, "Questions": QUESTIONS,
        "Programs": PROGRAMS, **names.functions(),
    }  # fmt: skip
    listed = [name for group in groups.values() for name in group]
    if sorted(listed) != sorted({*names.calls(), *names.sections()}):
        raise PluginError("the groups of public names in docs/hooks.py and names.py miss some")
    config.nav = [
        {"Home": "README.md"},
        {"Five minutes": "five-minutes.md"},
        {"Examples": ["examples/README.md", *({f"{x}.py": f"examples/{x}.md"} for x in EXAMPLES)]},
        {"The analyses": "analyses.md"},
        {"How it works": ["how-it-works.md", *({f"{x}.py": source_uri(x)} for x in READING)]},
        {"For teachers": "teachers.md"},
        {"Reference": [
            {"Public names": "names/index.md"},
            *({group: [{name: f"names/{name}.md"} for name in group_names]}
              for group, group_names in groups.items()),
        ]},
        {"Project": [{"How to contribute": "CONTRIBUTING.md"}, {"What changed": "CHANGELOG.md"}]},
    ]  # fmt: skip
    config.extra["groups"] = groups
    return config


def on_files(files, config):
    """Add every page that is made, and the pictures."""

    def add(uri: str, content) -> None:
        if uri in files.src_uris:
            files.remove(files.src_uris[uri])
        files.append(File.generated(config, uri, content=content))

    for uri in TEXTS:
        add(uri, with_pictures(TOP / uri))
    for picture in sorted((TOP / "examples" / "gallery").iterdir()):
        add(f"examples/gallery/{picture.name}", picture.read_bytes())
    for name in ("CITATION.cff", "LICENSE"):
        add(name, (TOP / name).read_bytes())
    add("names/index.md", index_of(config.extra["groups"]))
    for file in READING:
        add(source_uri(file), source_page(file))
    names.check_examples()

    work = [(f"examples/{name}.md", "example", TOP / f"examples/{name}.py") for name in EXAMPLES]
    work += [(page.name, "page", page) for page in WRITTEN]
    work += [("names.md", "names", None), ("calls.txt", "functions", None)]
    try:
        for uri, page, pictures in make_all(work):
            add(uri, page)
            for name, data in pictures.items():
                add(str(Path(uri).parent / name), data)
    except RuntimeError as error:
        raise PluginError(str(error)) from error
    return files


def with_pictures(path: Path) -> str:
    """A text of the repository as a page, its pictures as wide as they are; the course with a link
    from each chapter to the page of its script."""
    text = re.sub(
        r"!\[([^]]*)\]\(([^)]+)\)",
        lambda found: show(found[2], (path.parent / found[2]).read_bytes(), found[1]).strip(),
        path.read_text(encoding="utf-8"),
    )
    if path == TOP / "README.md":  # wide pictures, and no other page in its tab
        text = f"---\nhide: [navigation]\n---\n{text}"
    script = r"\1\n\n[The script, with what it prints and draws](\2.md)"
    return re.sub(r"(?m)^(## \d+\. `(\w+)\.py`: .*)$", script, text)


def source_uri(file: str) -> str:
    """The address of the page of a source file."""
    return f"source/{file.rpartition('/')[2]}.md"


def source_page(file: str) -> str:
    """A source file of the package as a page."""
    code = (TOP / "tinygrad_lite" / f"{file}.py").read_text(encoding="utf-8").rstrip()
    return f'# tinygrad_lite/{file}.py\n\n```{{ .python linenums="1" }}\n{code}\n```\n'


def index_of(groups: dict[str, list[str]]) -> str:
    """The page that lists all public names."""
    text = (
        "# Public names\n\nEach has a page with an example that was run when this site was built. "
        "In the examples of functions arrays are printed with four digits.\n"
    )
    for group, group_names in groups.items():
        links = " · ".join(f"[`{name}`]({name}.md)" for name in group_names)
        text += f"\n## {group}\n\n{links}\n"
    return text


class Fetched(HTMLParser):
    """What a browser would fetch by itself from elsewhere, on one page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        """Note what is fetched for this tag; a link that is only followed is none of it."""
        for key, value in attrs:
            fetches = key in ("src", "srcset", "data", "poster") or (
                key == "href" and tag == "link"
            )
            if fetches and re.match(r"(https?:)?//", value or ""):
                self.found.append(f"<{tag} {key}={value}>")


def on_post_build(config) -> None:
    """Fail if a page would fetch something from elsewhere."""
    site = Path(config.site_dir)
    for page in site.rglob("*.html"):
        parser = Fetched()
        parser.feed(page.read_text(encoding="utf-8"))
        if parser.found:
            raise PluginError(f"{page.relative_to(site)} fetches {parser.found[0]} from elsewhere")
    for sheet in site.rglob("*.css"):
        if found := re.search(
            r"(@import|url\()\s*[\"']?(https?:)?//[^)\"']*", sheet.read_text("utf-8")
        ):
            raise PluginError(f"{sheet.relative_to(site)} fetches {found[0]} from elsewhere")
