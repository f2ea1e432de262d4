import subprocess
import sys


def test_imports_neither_torch_nor_fairseq_nor_the_plugin(repository):
    program = """
import importlib, pkgutil, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "fairseq", "triton", "museformer_plugin"):
            raise AssertionError(name)
sys.meta_path.insert(0, Refuse())
import data_prep
for module in pkgutil.iter_modules(data_prep.__path__):
    importlib.import_module("data_prep." + module.name)
"""
    subprocess.run([sys.executable, "-c", program], cwd=repository, check=True)
