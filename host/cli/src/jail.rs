//! The jail of forked processes.

use anyhow::Result;
use socketserver::{Endpoint, SocketType};
use socketserver_jail::{Jail, Kind, Mode as Walls, Prepared, Serves};

use crate::args::JailMode;
use crate::mode::Mode;

/// What each forked process enters, if it should. Says which parts of it there
/// are.
///
/// Errors: it must have all of them, and this machine has not.
pub fn prepare(jail: JailMode, mode: Mode, endpoints: &[Endpoint]) -> Result<Option<Prepared>> {
    let walls = match jail {
        JailMode::Require => Walls::Require,
        JailMode::Try => Walls::Try,
        JailMode::Off => return Ok(None),
    };
    let serves = |socket_type| endpoints.iter().any(|end| end.socket_type() == socket_type);
    let serves = match (serves(SocketType::Stream), serves(SocketType::Dgram)) {
        (true, true) => Serves::Both,
        (false, true) => Serves::Datagrams,
        _ => Serves::Streams,
    };
    let kind = if mode == Mode::Forking { Kind::Request } else { Kind::Worker };
    let prepared = Jail { serves, ..Jail::new(walls) }.prepare(kind)?;
    tracing::info!("{}", Jail::probe());
    Ok(Some(prepared))
}
