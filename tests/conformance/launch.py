"""Starts our host with the command line of the sample servers in ref/ (see ref/_common.py).

    launch.py SAMPLE --bind tcp:HOST:PORT|udp:..|unix:PATH|unixgram:PATH --mode sync|threading|forking|fibers|fibers-in-workers [--threads-as MODE] [options of ref/_common.py]

The process becomes the host; a child turns its `listening KIND://ADDRESS` into `READY KIND ADDRESS`.
The host is WASM_SOCKETSERVER, or target/suite/wasm-socketserver; the samples are target/guests/rust.
"""
import argparse
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TARGET = os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")
DATAGRAMS = ("dupper", "dlen", "dwho", "decho", "dlife")

ap = argparse.ArgumentParser()
ap.add_argument("sample")
ap.add_argument("--bind")
ap.add_argument("--mode", default="sync")
ap.add_argument("--threads-as", default="threading")    # the mode that serves in place of threads
ap.add_argument("--backlog", default="5")       # CPython's up to 3.14
ap.add_argument("--reuse-addr", action="store_true")
ap.add_argument("--max-packet")
ap.add_argument("--poll", default="0.5")
ap.add_argument("--timeout")
ap.add_argument("--max-children")
ap.add_argument("--daemon-threads", action="store_true")
ap.add_argument("--no-block-on-close", action="store_true")
ap.add_argument("--deny-client")
o = ap.parse_args()
if o.mode == "threading":
    o.mode = o.threads_as

host = os.environ.get("WASM_SOCKETSERVER") or os.path.join(TARGET, "release", "wasm-socketserver")
bind = o.bind or ("udp:127.0.0.1:0" if o.sample in DATAGRAMS else "tcp:127.0.0.1:0")
kind, _, address = bind.partition(":")
# The reference of this sample prints its data, and our handler logs it.
oneshot = o.sample == "oneshot"
concurrency = ["--concurrency", o.mode.removesuffix("-in-workers")]
if o.mode.endswith("-in-workers"):
    concurrency += ["--workers", "2"]
command = [
    host, "serve", os.path.join(TARGET, "guests", "rust", o.sample + ".wasm"),
    "--bind", f"{kind}://{address}", *concurrency,
    "--log-level", "info" if oneshot else "warning",
    "--request-queue-size", o.backlog, "--poll-interval", o.poll,
    "--allow-reuse-address", str(o.reuse_addr).lower(),
    "--daemon-threads", str(o.daemon_threads).lower(),
    "--block-on-close", str(not o.no_block_on_close).lower(),
]
for option, value in (("--max-packet-size", o.max_packet), ("--timeout", o.timeout),
                      ("--max-children", o.max_children), ("--deny", o.deny_client)):
    if value is not None:
        command += [option, value]
if oneshot:
    command.append("--once")

reader, writer = os.pipe()
if os.fork() == 0:
    os.close(writer)
    with os.fdopen(reader) as lines:
        for line in lines:
            if line.startswith("listening "):
                kind, _, address = line.removeprefix("listening ").partition("://")
                line = f"READY {kind} {address}"
            print(line, end="", flush=True)
    os._exit(0)
os.close(reader)
os.dup2(writer, sys.stdout.fileno())
if oneshot:
    os.dup2(writer, sys.stderr.fileno())
os.close(writer)
os.execv(command[0], command)
