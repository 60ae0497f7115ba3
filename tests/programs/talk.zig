//! A program without an SDK: its standard input and output are the client. The first argument
//! says what it does.
const std = @import("std");

pub fn main(init: std.process.Init) !u8 {
    const arguments = try init.minimal.args.toSlice(init.arena.allocator());
    const mode = if (arguments.len > 1) arguments[1] else "cat";
    var input_buffer: [4096]u8 = undefined;
    var output_buffer: [4096]u8 = undefined;
    var stdin = std.Io.File.stdin().readerStreaming(init.io, &input_buffer);
    var stdout = std.Io.File.stdout().writerStreaming(init.io, &output_buffer);
    const status = try run(mode, arguments, init, &stdin.interface, &stdout.interface);
    try stdout.interface.flush();
    return status;
}

fn run(
    mode: []const u8,
    arguments: []const [:0]const u8,
    init: std.process.Init,
    input: *std.Io.Reader,
    output: *std.Io.Writer,
) !u8 {
    const is = struct {
        fn is(one: []const u8, other: []const u8) bool {
            return std.mem.eql(u8, one, other);
        }
    }.is;
    if (is(mode, "cat")) {
        _ = try input.streamRemaining(output);
    } else if (is(mode, "upper")) {
        const text = try input.allocRemaining(init.arena.allocator(), .unlimited);
        for (text) |byte| try output.writeByte(std.ascii.toUpper(byte));
    } else if (is(mode, "lines")) {
        var number: usize = 1;
        while (try input.takeDelimiter('\n')) |line| : (number += 1) {
            try output.print("{d}: {s}\n", .{ number, line });
            try output.flush();
        }
    } else if (is(mode, "env")) {
        var variables = init.environ_map.iterator();
        while (variables.next()) |variable| {
            try output.print("{s}={s}\n", .{ variable.key_ptr.*, variable.value_ptr.* });
        }
    } else if (is(mode, "args")) {
        for (arguments) |argument| try output.print("[{s}]", .{argument});
    } else if (is(mode, "exit")) {
        try output.writeAll("bye\n");
        return 7;
    } else if (is(mode, "stderr")) {
        try std.Io.File.stderr().writeStreamingAll(init.io, "to the log\n");
        try output.writeAll("to the client\n");
    } else {
        try output.writeAll("ignored\n");
    }
    return 0;
}
