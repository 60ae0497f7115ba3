//! Sends the line of a datagram back in upper case.
const std = @import("std");

pub fn main(init: std.process.Init) !void {
    var in: [4096]u8 = undefined;
    var out: [4096]u8 = undefined;
    var stdin = std.Io.File.stdin().readerStreaming(init.io, &in);
    var stdout = std.Io.File.stdout().writerStreaming(init.io, &out);
    const line = try stdin.interface.takeDelimiter('\n') orelse return;
    for (line) |byte| try stdout.interface.writeByte(std.ascii.toUpper(byte));
    try stdout.interface.flush();
}
