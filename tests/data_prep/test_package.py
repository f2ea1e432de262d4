import ast
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest


def modules_of(repository, package):
    """The names of all modules of a package, sub-packages included, with their files."""
    files = {file.relative_to(repository): file for file in (repository / package).rglob("*.py")}
    return {
        ".".join(path.with_suffix("").parts).removesuffix(".__init__"): file for path, file in sorted(files.items())
    }


def test_imports_neither_torch_nor_fairseq_nor_the_plugin(repository):
    program = """
import importlib, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "fairseq", "triton", "museformer_plugin", "evaluation"):
            raise AssertionError(name)
sys.meta_path.insert(0, Refuse())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""
    names = list(modules_of(repository, "data_prep"))
    assert {"data_prep.midi_to_tokens", "data_prep.tokens.vocabulary", "data_prep.six_track.roles"} <= set(names)
    subprocess.run([sys.executable, "-c", program, *names], cwd=repository, check=True)


@pytest.mark.parametrize("package", ["data_prep", "evaluation", "examples"])
def test_no_circle_of_imports(repository, package):
    modules = modules_of(repository, package)
    graph = {}
    for name, file in modules.items():
        inside = name if file.name == "__init__.py" else name.rpartition(".")[0]
        named = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                parents = inside.split(".")[: len(inside.split(".")) + 1 - node.level] if node.level else []
                base = ".".join([*parents, *filter(None, [node.module])])
                named |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        graph[name] = named & set(modules) - {name}
    assert any(graph.values())
    list(TopologicalSorter(graph).static_order())  # raises CycleError, naming the circle
