//! New certificates of handlers.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustls::pki_types::CertificateDer;
use serde_json::json;
use socketserver_tests::process::{TIMEOUT, wait_until};

use super::{addresses, answers, configuration, order, pid, status, table, up};
use crate::configuration::Folder;
use crate::tls::{Certificates, secure};

/// Asks for one letter, and returns the certificate of the server too.
fn ask(address: SocketAddr, certificates: &Certificates) -> (String, CertificateDer<'static>) {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut client = secure(stream, "localhost", certificates.client_config(None));
    client.write_all(b"x").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    (answer, client.conn.peer_certificates().unwrap()[0].clone().into_owned())
}

/// Makes another certificate for the same name, and puts its files in the place of the old ones.
fn renew(certificates: &Certificates) {
    certificates.issue("new", "DNS:localhost");
    for end in ["key", "pem"] {
        let [new, old] = ["new", "server"].map(|name| certificates.path(&format!("{name}.{end}")));
        fs::rename(new, old).unwrap();
    }
}

fn serve(folder: &Folder, certificates: &Certificates, mode: &str) -> SocketAddr {
    let [address, _] = addresses();
    folder.write("h.wat", answers('a'));
    let [certificate, key] = ["server.pem", "server.key"].map(|name| certificates.file(name));
    let tls = format!("tls-cert = \"{certificate}\"\ntls-key = \"{key}\"\n{mode}");
    folder.write("c.toml", configuration(&[table("h", "h.wat", address, &tls)]));
    address
}

#[test]
fn a_reload_takes_new_certificates_although_the_configuration_is_the_same() {
    for mode in ["", "concurrency = \"forking\"", "workers = 2"] {
        let (folder, certificates) = (Folder::new(), Certificates::new());
        let address = serve(&folder, &certificates, mode);
        let mut server = up(&folder, 1);
        server.wait_for_log("all 1 handlers serve").unwrap();
        let (answer, first) = ask(address, &certificates);
        assert_eq!(answer, "a", "{mode}");
        renew(&certificates);
        assert!(order(&folder, &["reload"]).status.success(), "{mode}");
        wait_until("the new certificate is there", || ask(address, &certificates).1 != first);
        let serving = pid(&folder, "h");
        fs::write(certificates.path("server.key"), "none").unwrap();
        let output = order(&folder, &["reload"]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{mode}: {errors}");
        assert_eq!(pid(&folder, "h"), serving, "{mode}");
        assert_eq!(ask(address, &certificates).0, "a", "{mode}");
        assert!(server.stop().unwrap().success(), "{mode}");
    }
}

#[test]
fn new_files_are_seen_without_a_reload() {
    let (folder, certificates) = (Folder::new(), Certificates::new());
    let address = serve(&folder, &certificates, "");
    let mut server = up(&folder, 1);
    server.wait_for_log("all 1 handlers serve").unwrap();
    let (_, first) = ask(address, &certificates);
    renew(&certificates);
    server.wait_for_log("the handler `h` is replaced: its files for TLS have changed").unwrap();
    wait_until("the new certificate is there", || ask(address, &certificates).1 != first);
    assert!(server.stop().unwrap().success());
}

/// The sockets stay open: no client is refused.
#[test]
fn a_reload_can_give_an_address_tls_and_take_it_away() {
    let (folder, certificates) = (Folder::new(), Certificates::new());
    let addresses = addresses();
    folder.write("h.wat", answers('a'));
    let configure = |schemes: [&str; 2]| {
        let [certificate, key] = ["server.pem", "server.key"].map(|name| certificates.file(name));
        let bind = [0, 1].map(|at| format!("\"{}://{}\"", schemes[at], addresses[at])).join(", ");
        let table = format!(
            "[handler.h]\nsource = \"h.wat\"\nbind = [{bind}]\n\
             tls-cert = \"{certificate}\"\ntls-key = \"{key}\"\n"
        );
        folder.write("c.toml", configuration(&[table]));
    };
    let plain = |address: SocketAddr| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.write_all(b"x").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).is_ok_and(|_| answer == b"a")
    };
    let with_tls = |address: SocketAddr| {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut client = secure(stream, "localhost", certificates.client_config(None));
        crate::tls::ask(&mut client, b"x").is_ok_and(|answer| answer == b"a")
    };
    configure(["tls", "tcp"]);
    let mut server = up(&folder, 2);
    server.wait_for_log("all 1 handlers serve").unwrap();
    assert!(with_tls(addresses[0]) && plain(addresses[1]));
    let shown = || status(&folder)["handlers"][0]["addresses"].clone();
    assert_eq!(
        shown(),
        json!([format!("tls://{}", addresses[0]), format!("tcp://{}", addresses[1])])
    );
    configure(["tcp", "tls"]);
    let output = order(&folder, &["reload"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    wait_until("the first address has none", || plain(addresses[0]));
    wait_until("the other one has TLS", || with_tls(addresses[1]));
    assert_eq!(
        shown(),
        json!([format!("tcp://{}", addresses[0]), format!("tls://{}", addresses[1])])
    );
    // New certificates for both kinds of addresses.
    renew(&certificates);
    assert!(order(&folder, &["reload"]).status.success());
    assert!(plain(addresses[0]) && with_tls(addresses[1]));
    // Where no address says so, all have TLS.
    configure(["tcp", "tcp"]);
    assert!(order(&folder, &["reload"]).status.success());
    wait_until("both have TLS", || with_tls(addresses[0]) && with_tls(addresses[1]));
    assert_eq!(shown(), json!(addresses.map(|address| format!("tls://{address}"))));
    assert!(server.stop().unwrap().success());
}

/// Each has a port of its own, which a reload keeps.
#[test]
fn two_free_ports_differ_in_tls() {
    let (folder, certificates) = (Folder::new(), Certificates::new());
    let [certificate, key] = ["server.pem", "server.key"].map(|name| certificates.file(name));
    let table = format!(
        "[handler.h]\nsource = \"h.wat\"\nbind = [\"tcp://127.0.0.1:0\", \"tls://127.0.0.1:0\"]\n\
         tls-cert = \"{certificate}\"\ntls-key = \"{key}\"\n"
    );
    folder.write("c.toml", configuration(&[table]));
    folder.write("h.wat", answers('a'));
    let mut server = up(&folder, 2);
    server.wait_for_log("all 1 handlers serve").unwrap();
    let [open, secured] = server.addresses() else { panic!("{:?}", server.addresses()) };
    let (open, secured) = (*open, *secured);
    assert_eq!(super::ask(open).unwrap(), "a");
    assert_eq!(ask(secured, &certificates).0, "a");
    folder.write("h.wat", answers('b'));
    assert!(order(&folder, &["reload"]).status.success());
    wait_until("the new code serves", || ask(secured, &certificates).0 == "b");
    assert_eq!(super::ask(open).unwrap(), "b");
    let shown = status(&folder)["handlers"][0]["addresses"].clone();
    assert_eq!(shown, json!([format!("tcp://{open}"), format!("tls://{secured}")]));
    assert!(server.stop().unwrap().success());
}

/// `check` finds wrong files as well.
#[test]
fn check_tries_the_certificates() {
    let (folder, certificates) = (Folder::new(), Certificates::new());
    serve(&folder, &certificates, "");
    let check = || crate::fixture::host().arg("check").arg(folder.path("c.toml")).output().unwrap();
    assert!(check().status.success());
    fs::write(certificates.path("server.key"), "none").unwrap();
    let output = check();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(!output.status.success() && said.contains("server.key"), "{said}");
}
