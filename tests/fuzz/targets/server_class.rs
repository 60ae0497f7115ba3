//! `--server`: a name belongs to one class, and each class accepts only its own endpoints.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socketserver::ServerClass;
use socketserver_fuzz::check_message;

fuzz_target!(|text: &str| {
    match text.parse::<ServerClass>() {
        Ok(class) => {
            assert_eq!(class.name(), text);
            for endpoint in ["tcp://:0", "udp://[::]:0", "unix://a", "unixgram://@a"] {
                let scheme = endpoint.split(':').next();
                let fits = endpoint.parse().map(|endpoint| class.check(&endpoint));
                let fits = fits.expect("these are endpoints");
                assert_eq!(fits.is_ok(), scheme == Some(class.scheme()));
                fits.unwrap_or_else(check_message);
            }
        }
        Err(error) => check_message(error),
    }
});
