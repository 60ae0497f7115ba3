//! Overrides nothing: reads nothing, writes nothing.
use socketserver_guest::{BaseRequestHandler, export};

#[derive(Default)]
struct Silent;

impl BaseRequestHandler for Silent {}

export!(Silent);
