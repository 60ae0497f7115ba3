//! `docs/src/serving/operating.md`: each file of the page is written, and each command is run, in
//! the order of the page.
//!
//! | on the page | here |
//! |---|---|
//! | `/usr/local`, `/etc`, `/srv`, `/run`, `/var` | folders of a temporary root |
//! | ports | free ports |
//! | `cargo install` | copies the binary that is tested, which Cargo has built |
//! | `cargo guests` | the handler was built before the tests |
//! | `useradd` | the user must be the one of the unit; as root, `nobody` stands for it |
//! | `systemctl` | what systemd does with the very unit, as far as `service.rs` has it |
//! | `chown` | the user must be that of `useradd`; as root, `nobody` stands for it |
//! | `journalctl` | what the service has written |
//! | `ssh -L` | the port must be that of the monitor, whose page is read |
//! | `install`, `curl`, `grep`, `python3`, `openssl`, `echo`, `wasm-socketserver` | run as they stand, by bash |
//!
//! A command that is not in this table fails the test, and so does a block of another kind.

mod machine;
mod page;
mod service;
mod unit;

use std::fs;

use socketserver_tests::build::root;

use machine::Machine;
use page::{Block, blocks};

#[test]
fn each_command_and_file_of_the_page_for_operators_works() {
    if !crate::jail::is_available() {
        return;
    }
    let page = fs::read_to_string(root().join("docs/src/serving/operating.md")).unwrap();
    let mut machine = Machine::new();
    let (mut commands, mut files) = (0, 0);
    for block in blocks(&page) {
        match block {
            Block::Commands(lines) => {
                for line in lines {
                    machine.run(&line);
                    commands += 1;
                }
            }
            Block::Asked { command, answer } => {
                machine.expect(&command, &answer);
                commands += 1;
            }
            Block::File { path, content } => {
                machine.write(&path, &content);
                files += 1;
            }
        }
    }
    assert!(commands > 20 && files > 1, "{commands} commands and {files} files");
    machine.has_seen_all();
}
