//! `--socket-owner`, `--socket-mode`, `--user`: numbers do not change, and none is the number
//! that means "unchanged" to the kernel.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socketserver_fuzz::check_message;

#[path = "../../../host/cli/src/values/owner.rs"]
mod owner;

fuzz_target!(|text: &str| {
    match owner::owner(text) {
        Ok(parsed) => {
            assert!(parsed.user.is_some() || parsed.group.is_some());
            let number = |id: Option<u32>| {
                assert_ne!(id, Some(u32::MAX), "{text}");
                id.map(|id| id.to_string()).unwrap_or_default()
            };
            let (user, group) = (number(parsed.user), number(parsed.group));
            assert_eq!(owner::owner(&format!("{user}:{group}")), Ok(parsed));
        }
        Err(error) => check_message(error),
    }
    match owner::identity(text) {
        Ok(parsed) => {
            assert!(parsed.user != 0 && ![parsed.user, parsed.group].contains(&u32::MAX));
            let (user, group) = (parsed.user, parsed.group);
            assert_eq!(owner::identity(&format!("{user}:{group}")), Ok(parsed));
        }
        Err(error) => check_message(error),
    }
    match owner::mode(text) {
        Ok(mode) => {
            assert!(mode <= 0o777, "{text}: {mode:o}");
            assert_eq!(owner::mode(&format!("{mode:o}")), Ok(mode));
        }
        Err(error) => check_message(error),
    }
});
