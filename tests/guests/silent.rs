//! Overrides no method, so that it neither reads nor writes.
use socketserver_guest::{BaseRequestHandler, export};

#[derive(Default)]
struct Silent;

impl BaseRequestHandler for Silent {}

export!(Silent);
