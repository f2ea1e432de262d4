"""The pages: their links lead somewhere, and docs/options.md names every option and architecture."""

import re
from dataclasses import fields

import pytest
from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_DATACLASS_REGISTRY

import museformer_plugin  # noqa: F401  (registers the models)
from museformer_plugin.muon import MuonConfig
from museformer_plugin.task import MuseformerTaskConfig

PACKAGE = "museformer_plugin."
OURS = [config for config in MODEL_DATACLASS_REGISTRY.values() if config.__module__.startswith(PACKAGE)]


@pytest.fixture(scope="module")
def pages(repository):
    """The text of every page of the repository, by its path in it; what users leave there is not one."""
    found = (path.relative_to(repository) for path in repository.rglob("*.md"))
    folders = {"", "benchmarks", "docs", "examples", "pretrained", "tests"}
    return {path: (repository / path).read_text() for path in found if (*path.parent.parts, "")[0] in folders}


def headings_of(text):
    """What links name them by: "Several GPUs, several machines" is several-gpus-several-machines."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), flags=re.M)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_links_lead_somewhere(repository, pages):
    count = 0
    for page, text in pages.items():
        for target, heading in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", text):
            linked = (repository / page.parent / target).resolve() if target else repository / page
            assert linked.exists(), f"{page}: {target}"
            if heading:
                assert heading in headings_of(linked.read_text()), f"{page}: {target}#{heading}"
            count += 1
    assert count > 20


def test_no_page_has_a_gap(pages):
    for page, text in pages.items():
        assert not re.findall(r"@[A-Z]+@", text), page


def test_the_readme_has_the_test_command(pages):
    readme = next(text for page, text in pages.items() if str(page) == "README.md")
    assert re.search(r"^```\n(?:[^`]*\n)?\./test\.sh\b", readme, flags=re.M)


@pytest.mark.parametrize("config", [MuseformerTaskConfig, MuonConfig, *OURS], ids=lambda config: config.__name__)
def test_every_option_is_described(repository, config):
    text = (repository / "docs" / "options.md").read_text()
    names = [field.name for field in fields(config) if not field.name.startswith("_")]
    assert len(names) > 3
    missing = [name for name in names if f"`--{name.replace('_', '-')}`" not in text]
    assert missing == (["data"] if config is MuseformerTaskConfig else [])  # which is no option but the first argument


def test_every_architecture_is_named(repository):
    text = (repository / "docs" / "options.md").read_text()
    names = [name for name, model in ARCH_MODEL_REGISTRY.items() if model.__module__.startswith(PACKAGE)]
    assert "museformer_tiny" in names
    assert [name for name in names if f"`{name}`" not in text] == []
