//! Text that a guest wrote, made safe to print.

pub(crate) use socketserver::printable;
