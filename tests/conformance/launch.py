"""Our host behind the command line of the sample servers in ref/ (see ref/_common.py).

    launch.py SAMPLE --bind tcp:HOST:PORT|unix:PATH --mode sync|threading [options of ref/_common.py]

The process becomes the host; a child turns its `listening KIND://ADDRESS` into `READY KIND ADDRESS`.
The host is WASM_SOCKETSERVER, or target/release/wasm-socketserver; the samples are target/guests/rust.
"""
import argparse
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TARGET = os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")

ap = argparse.ArgumentParser()
ap.add_argument("sample")
ap.add_argument("--bind", default="tcp:127.0.0.1:0")
ap.add_argument("--mode", default="sync")
ap.add_argument("--backlog", default="5")       # CPython's up to 3.14
ap.add_argument("--reuse-addr", action="store_true")
ap.add_argument("--poll", default="0.5")
ap.add_argument("--daemon-threads", action="store_true")
ap.add_argument("--no-block-on-close", action="store_true")
o = ap.parse_args()

host = os.environ.get("WASM_SOCKETSERVER") or os.path.join(TARGET, "release", "wasm-socketserver")
kind, _, address = o.bind.partition(":")
command = [
    host, "serve", os.path.join(TARGET, "guests", "rust", o.sample + ".wasm"),
    "--bind", f"{kind}://{address}", "--concurrency", o.mode, "--log-level", "warning",
    "--request-queue-size", o.backlog, "--poll-interval", o.poll,
    "--allow-reuse-address", str(o.reuse_addr).lower(),
    "--daemon-threads", str(o.daemon_threads).lower(),
    "--block-on-close", str(not o.no_block_on_close).lower(),
]

reader, writer = os.pipe()
if os.fork() == 0:
    os.close(writer)
    with os.fdopen(reader) as lines:
        for line in lines:
            ready, _, address = line.partition("://")
            print(ready.replace("listening", "READY"), address, end="", flush=True)
    os._exit(0)
os.close(reader)
os.dup2(writer, sys.stdout.fileno())
os.close(writer)
os.execv(command[0], command)
