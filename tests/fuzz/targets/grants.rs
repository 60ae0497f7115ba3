//! `--env` and `--dir`: the parsed value equals the text, and has no character that a variable
//! or a path cannot have.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socketserver_fuzz::check_message;
use socketserver_sandbox::Dir;

#[path = "../../../host/cli/src/values/dir.rs"]
mod dir;
#[path = "../../../host/cli/src/values/env.rs"]
mod env;

const LONGEST_VARIABLE: usize = 64 << 10;
const LONGEST_PATH: usize = 4096;

fuzz_target!(|text: &str| {
    match env::parse(text) {
        Ok((name, value)) => {
            assert!((1..=LONGEST_VARIABLE).contains(&name.len()) && !name.contains(['=', '\0']));
            assert!(value.len() <= LONGEST_VARIABLE && !value.contains('\0'));
            let given = text.contains('=');
            assert_eq!(text, if given { format!("{name}={value}") } else { name });
        }
        Err(error) => check_message(error),
    }
    match dir::parse(text) {
        Ok(Dir { host, guest, writable }) => {
            let host = host.to_str().expect("it was text");
            for path in [host, &guest] {
                assert!((1..=LONGEST_PATH).contains(&path.len()) && !path.contains('\0'));
            }
            let mode = if writable { "" } else { ":ro" };
            assert_eq!(text, format!("{host}::{guest}{mode}"));
        }
        Err(error) => check_message(error),
    }
});
