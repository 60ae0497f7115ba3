//! Projects in Zig with a `build.zig`.

use socketserver_tests::process::Server;

use super::{Place, succeed};
use crate::client::ask;

/// A `build.zig` as `zig init` writes it, with its program and a module beside it.
const BUILD: &str = r#"const std = @import("std");

pub fn build(b: *std.Build) void {
    const exe = b.addExecutable(.{
        .name = "shout",
        .root_module = b.createModule(.{
            .root_source_file = b.path("src/program.zig"),
            .target = b.standardTargetOptions(.{}),
            .optimize = b.standardOptimizeOption(.{}),
        }),
    });
    exe.stack_size = 1 << 20;
    const options = b.addOptions();
    options.addOption([]const u8, "mark", "!");
    exe.root_module.addOptions("options", options);
    b.installArtifact(exe);
}
"#;

const PROGRAM: &str = r#"const std = @import("std");
const options = @import("options");

pub fn main(init: std.process.Init) !void {
    var out: [4096]u8 = undefined;
    var stdout = std.Io.File.stdout().writerStreaming(init.io, &out);
    try stdout.interface.writeAll("HELLO" ++ options.mark);
    try stdout.interface.flush();
}
"#;

#[test]
fn a_build_zig_says_what_is_built() {
    let place = Place::new();
    place.write("project/build.zig", BUILD);
    for answer in ["HELLO", "GOODBYE"] {
        place.write("project/src/program.zig", &PROGRAM.replace("HELLO", answer));
        // `Server::start` has a limit, and the compiler compiles the `build.zig` first.
        succeed(place.command(&["build", "project"]));
        let mut serve = place.command(&["serve", "project", "--bind", "tcp://127.0.0.1:0"]);
        let server = Server::start(&mut serve, 1).unwrap();
        assert_eq!(ask(&server, b""), format!("{answer}!").as_bytes());
    }
    assert!(!place.path("project/zig-out").exists());
    assert!(!place.path("project/.zig-cache").exists());
}
