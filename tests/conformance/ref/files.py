"""files: reads and writes its connection as files. The code is that of the handler
in Python, `tests/guests/files.py`.
"""
import importlib.util
import pathlib

from _common import serve

path = pathlib.Path(__file__).resolve().parents[2] / "guests" / "files.py"
spec = importlib.util.spec_from_file_location("files_of_the_guest", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

if __name__ == "__main__":
    serve(module.Files)
