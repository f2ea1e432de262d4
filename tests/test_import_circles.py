"""No module imports, however far round, what imports it: not inside functions, and not for types alone."""

import ast
from pathlib import Path

import pytest

PACKAGES = ("museformer_plugin", "data_prep", "evaluation", "listening", "museformer", "benchmarks")


def modules_of(folder):
    """Dotted name -> file, of the packages in ``folder``."""
    files = [file for package in PACKAGES for file in sorted((folder / package).rglob("*.py"))]
    parts = {file: file.relative_to(folder).with_suffix("").parts for file in files}
    return {".".join(names[:-1] if names[-1] == "__init__" else names): file for file, names in parts.items()}


def resolved(module, file, level):
    """The package that ``level`` dots mean in ``module``."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for _ in range(level - 1):
        package = package.rpartition(".")[0]
    return package


def imports_of(module, file, modules):
    """The modules that ``module`` names in an import statement or, as a string, in ``import_module``."""
    named = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            named += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(filter(None, [resolved(module, file, node.level), base]))
            inside = [f"{base}.{alias.name}" for alias in node.names]
            named += [name if name in modules else base for name in inside]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "import_module":
            name = node.args[0].value if isinstance(node.args[0], ast.Constant) else ""
            dots = len(name) - len(name.lstrip("."))
            named.append(f"{resolved(module, file, dots)}.{name[dots:]}" if dots else name)
    return {name for name in named if name in modules and name != module}


def circle_in(graph):
    """Modules that import one another in a ring, or nothing."""
    done, path = set(), []

    def visit(module):
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return None
        path.append(module)
        for imported in sorted(graph[module]):
            found = visit(imported)
            if found:
                return found
        done.add(path.pop())
        return None

    return next(filter(None, map(visit, graph)), None)


def graph_of(folder):
    modules = modules_of(folder)
    return {module: imports_of(module, file, modules) for module, file in modules.items()}


def test_no_circle_of_imports(repository):
    graph = graph_of(repository)
    assert "museformer_plugin.fc_attention.cpu.operator" in graph["museformer_plugin.fc_attention.backends"]
    assert "museformer_plugin.fc_attention.triton.operator" in graph["museformer_plugin.fc_attention.backends"]
    assert circle_in(graph) is None


@pytest.mark.parametrize(
    "statement",
    ["from .a import x", "from . import a", "import data_prep.a", 'import_module(".a", __package__)'],
)
def test_circles_are_found(tmp_path, statement):
    (tmp_path / "data_prep").mkdir()
    (tmp_path / "data_prep" / "a.py").write_text("from .b import y")
    (tmp_path / "data_prep" / "b.py").write_text("import data_prep.c")
    (tmp_path / "data_prep" / "c.py").write_text(f"def later():\n    {statement}\n")
    assert circle_in(graph_of(tmp_path)) == ["data_prep.a", "data_prep.b", "data_prep.c", "data_prep.a"]
    (tmp_path / "data_prep" / "c.py").write_text("")
    assert circle_in(graph_of(tmp_path)) is None


def test_the_kinds_of_import(tmp_path):
    package = tmp_path / "museformer_plugin"
    (package / "inner").mkdir(parents=True)
    for name in ("__init__.py", "a.py", "inner/__init__.py", "inner/b.py"):
        Path(package / name).write_text("")
    (package / "inner" / "c.py").write_text("from .. import a\nfrom .b import z\nfrom ..inner import b\nimport os")
    assert graph_of(tmp_path)["museformer_plugin.inner.c"] == {"museformer_plugin.a", "museformer_plugin.inner.b"}
