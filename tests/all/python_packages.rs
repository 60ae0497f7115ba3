//! Packages in Python that tests use.

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use socketserver_tests::build::root;

/// One test installs at a time.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Installs packages, once, into a folder that has nothing else, and returns its path for
/// `PYTHONPATH`. `module` is one that is there then.
pub fn install(name: &str, module: &str, packages: &[&str]) -> String {
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = root().join("target/tests-cache").join(name);
    if !folder.join(module).exists() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
        let status = pip.arg(&folder).args(packages).status().unwrap();
        assert!(status.success());
    }
    folder.to_str().unwrap().to_owned()
}
