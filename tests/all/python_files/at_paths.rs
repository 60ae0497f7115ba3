//! Servers at Unix sockets: the same file under CPython and here, in folders of their own.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::PoisonError;

use socketserver_tests::process::{Server, TIMEOUT};

use super::{BUILDING, file};
use crate::fixture::host;

/// Asks the servers in a folder once each, and returns their answers.
fn answers(folder: &Path) -> [String; 2] {
    let mut stream = UnixStream::connect(folder.join("stream.sock")).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(b"one\ntwo").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    // A client needs a name, or it gets no answer.
    let name = tempfile::tempdir_in("/tmp").unwrap();
    let client = UnixDatagram::bind(name.path().join("client")).unwrap();
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    client.send_to(b"a datagram", folder.join("datagram.sock")).unwrap();
    let mut data = [0; 1000];
    let length = client.recv(&mut data).unwrap();
    let datagram = String::from_utf8(data[..length].to_vec()).unwrap();
    [answer, datagram.replace(name.path().to_str().unwrap(), "DIR")]
}

fn modes(folder: &Path) -> [u32; 2] {
    ["stream.sock", "datagram.sock"]
        .map(|name| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777)
}

#[test]
fn servers_at_paths_run_unchanged() {
    let [there, here] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (there, here) = (there.path(), here.path());
    let program = file("at_paths.py");
    let mut cpython = Command::new("python3");
    cpython.arg(file("launch.py")).arg(&program).current_dir(there);
    let _cpython = Server::start_logging_to(Stdio::null(), &mut cpython, 2).unwrap();
    let [stream, datagram] = answers(there);
    let permissions = modes(there);
    assert_eq!(
        [&*stream, &*datagram],
        [
            "ONE\nTWO('', 'stream.sock', 'ThreadingUnixStreamServer')",
            "b'a datagram'('DIR/client', 'datagram.sock', 'ThreadingUnixDatagramServer')",
        ]
    );

    let building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let output = host().arg("build").arg(&program).current_dir(here).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    drop(building);
    // The second run finds the files that the first one left.
    for options in [&[][..], &["--concurrency", "forking"]] {
        let mut run = host();
        run.arg("run").arg(&program).args(options).current_dir(here);
        let mut server = Server::start(&mut run, 2).unwrap();
        // In the order in which the program begins to serve them.
        assert_eq!(server.endpoints(), ["unixgram://datagram.sock", "unix://stream.sock"]);
        for _ in 0..2 {
            assert_eq!(answers(here), [&*stream, &*datagram], "{options:?}");
        }
        assert_eq!(modes(here), permissions);
        assert!(server.stop().unwrap().success());
        assert!(here.join("stream.sock").exists());
    }
    // The component says where it serves, too, and `--bind` has the last word.
    let mut run = host();
    run.args(["run", "at_paths.wasm", "--bind", "unix://other.sock", "--socket-mode", "600"]);
    let server = Server::start(run.current_dir(here), 1).unwrap();
    assert_eq!(server.endpoints(), ["unix://other.sock"]);
    let mode = fs::metadata(here.join("other.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
