//! TypeScript: the types of the SDK, and what becomes of types in a build.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use socketserver_tests::build;
use socketserver_tests::process::Server;

use super::{Place, fail, succeed};
use crate::client::ask;

/// The compiler that checks types, which no build needs.
const COMPILER: &str = "typescript@5.9.3";

/// Returns the compiler, which is installed beside the tools of `cargo guests`.
fn tsc() -> PathBuf {
    let folder = build::guest_folder().join("tsc");
    let program = folder.join("node_modules/.bin/tsc");
    if !program.exists() {
        fs::create_dir_all(&folder).unwrap();
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&folder).arg(COMPILER);
        succeed(npm);
    }
    program
}

/// Returns what the compiler prints about a project: the mistakes in its types.
fn mistakes(place: &Place, project: &str) -> String {
    let output = Command::new(tsc()).arg("-p").arg(place.path(project)).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_types_of_the_sdk_are_those_of_the_samples_and_of_new_projects() {
    let place = Place::new();
    succeed(place.command(&["new", "typescript", "connections"]));
    succeed(place.command(&["new", "typescript", "datagrams", "--datagram"]));
    for sample in ["upper", "echo", "dupper"] {
        let source = build::root().join(format!("guests/{sample}/{sample}.ts"));
        let text = fs::read_to_string(source).unwrap();
        place.write(&format!("connections/{sample}.ts"), &text);
    }
    let all = "import { AF_INET, SocketError, SOCK_STREAM } from 'socketserver';
import { DatagramRequestHandler, StreamRequestHandler } from 'socketserver';
import { Buffer, createServer } from 'socketserver/net.js';
import { createConnection, select, Socket } from 'socketserver/network.js';
import { File, sendfile } from 'socketserver/sendfile.js';
import { cipher } from 'socketserver/tls.js';

export class Lines extends StreamRequestHandler {
  override wbufsize = -1;
  override handle(): void {
    for (const line of this.rfile) this.wfile.write(line);
  }
}

export class Answer extends DatagramRequestHandler {
  override handle(): void {
    this.wfile.write(this.rfile.read());
  }
}

export const served = createServer({ allowHalfOpen: true }, (socket) => {
  socket.setTimeout(1000, () => socket.destroy());
  socket.on('data', (data) => socket.write(Buffer.concat([data])));
  socket.on('error', (error) => console.error(error.code));
  socket.on('end', () => socket.end(`${socket.remoteAddress} ${socket.bytesRead + 1}`));
});

export function use(): number {
  const listener: Socket = Socket.open(AF_INET, SOCK_STREAM);
  listener.bind({ host: '127.0.0.1', port: 0 });
  const { readers } = select([listener], [], [], 1.5);
  readers.map((one) => one.accept()[0].close());
  const socket = createConnection('localhost', 80, 5);
  const bytes: Uint8Array = socket.getsockopt(1, 2, 4);
  try {
    return sendfile(socket, File.open('/srv/x'), 0, null) + (cipher(socket)?.[2] ?? bytes.length);
  } catch (error) {
    console.error(error instanceof SocketError && error.code);
    return socket.getsockopt(1, 2);
  }
}
";
    place.write("connections/all.ts", all);
    for project in ["connections", "datagrams"] {
        assert_eq!(mistakes(&place, project), "", "{project}");
    }
    for (line, expected) in [
        ("document.title", "'document'"),
        ("setTimeout(() => {}, 1)", "'setTimeout'"),
        ("use() + new Socket(1).recv('x')", "'string'"),
        ("new Socket(1).sendal('x')", "'sendal'"),
        ("new Socket(1).sendto('x')", "Expected 2-3 arguments"),
        ("served.emit('x').length", "'length'"),
        ("createServer((socket) => socket.sendall('x'))", "'sendall'"),
        ("enum Color { Red }", "erasableSyntaxOnly"),
    ] {
        place.write("connections/all.ts", &format!("{all}{line};\n"));
        let mistakes = mistakes(&place, "connections");
        let start = format!("all.ts({},", all.lines().count() + 1);
        assert!(mistakes.contains(&start) && mistakes.contains(expected), "{line}: {mistakes}");
    }
}

/// Whatever a declaration names is there.
#[test]
fn the_modules_export_what_is_declared() {
    for (module, least) in
        [("socketserver", 40), ("network", 8), ("net", 2), ("sendfile", 2), ("tls", 5)]
    {
        let read = |end: &str| {
            let path = format!("guest-sdk/javascript/{module}.{end}");
            fs::read_to_string(build::root().join(path)).unwrap()
        };
        let (types, code) = (read("d.ts"), read("js"));
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let mut declared = 0;
        for line in types.lines() {
            let names = ["export const ", "export class ", "export function "];
            let Some(name) = names.iter().find_map(|begin| line.strip_prefix(begin)) else {
                continue;
            };
            let name = name.split(|c| !is_word(c)).next().unwrap();
            let mut exports = code.lines().filter(|line| line.starts_with("export "));
            let is_exported = exports.any(|line| line.split(|c| !is_word(c)).any(|it| it == name));
            assert!(is_exported, "{module}: {name}");
            declared += 1;
        }
        assert!(declared >= least, "{module}: {declared}");
    }
}

#[test]
fn an_error_has_the_line_and_the_column_of_the_source() {
    let place = Place::new();
    let handler = "import { BaseRequestHandler, streamRequest as serve } from 'socketserver';
import { type Answer, answer } from './answer.mts';

interface Facts<T extends object> {
  value: T;
  why?: string;
}

class Handler extends BaseRequestHandler {
  handle(): void {
    const facts: Facts<Answer> = { value: answer() }; const none = facts.why as unknown as Answer;
    this.request.sendall((<T,>(one: T): T => one)(facts.value.text)); throw new Error(none.text);
  }
}

export const streamRequest = serve(Handler);
";
    place.write("project/handler.ts", handler);
    place.write(
        "project/answer.mts",
        "export interface Answer { text: string }\nexport const answer = (): Answer => ({ text: 'typed' });\n",
    );
    let mut serve = place.command(&["serve", "project", "--bind", "tcp://127.0.0.1:0"]);
    let mut server = Server::start(&mut serve, 1).unwrap();
    assert_eq!(ask(&server, b""), b"typed");
    let line = server.wait_for_log("handler.ts:").unwrap();
    assert!(line.contains("handler.ts:12"), "{line}");
}

#[test]
fn syntax_that_types_cannot_be_taken_from_is_an_error_with_its_place() {
    let place = Place::new();
    place.write("bad.ts", "export const streamRequest = {};\n\n  enum Color { Red }\n");
    let error = fail(place.command(&["build", "bad.ts"]), 1);
    assert!(error.contains("bad.ts:3:3: TypeScript enum is not supported"), "{error}");
    place.write("worse.ts", "export const streamRequest: = {};\n");
    let error = fail(place.command(&["build", "worse.ts"]), 1);
    assert!(error.contains("worse.ts:1:"), "{error}");
}
