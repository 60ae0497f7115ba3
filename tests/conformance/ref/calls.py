"""calls: makes the calls on its socket that the client asks for. The code is that of the handler
in Python, `tests/guests/calls.py`.
"""
import importlib.util
import pathlib

from _common import serve

path = pathlib.Path(__file__).resolve().parents[2] / "guests" / "calls.py"
spec = importlib.util.spec_from_file_location("calls_of_the_guest", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

if __name__ == "__main__":
    serve(module.Calls)
