//! A service as systemd runs it: the command, the variables, the folders, the user and the
//! reports that its unit names. The sandbox of systemd (`ProtectSystem=` and its like) is not here.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use socketserver_tests::process::{TIMEOUT, send_signal, wait_until};

use super::machine::Places;
use super::unit::Unit;
use crate::systemd::Manager;

/// The user that stands for that of the unit, and its group.
const NOBODY: u32 = 65534;

/// A service that runs. Dropping it kills its main process.
pub struct Service {
    unit: Unit,
    places: Places,
    child: Child,
    manager: Manager,
}

impl Service {
    /// Starts a service, and waits until it is ready.
    pub fn start(unit: Unit, places: Places) -> Service {
        let words: Vec<_> = unit.words("ExecStart").iter().map(|it| places.here(it)).collect();
        let mut command = if nix::unistd::geteuid().is_root() {
            assert_eq!(unit.value("NoNewPrivileges"), "yes");
            let mut command = Command::new("setpriv");
            command.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOBODY}"));
            command.args(["--clear-groups", "--no-new-privs", "--inh-caps=-all"]);
            command.args(["--bounding-set=-all", "--"]).args(&words);
            command
        } else {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            command
        };
        command.env_clear().current_dir("/").stdin(std::process::Stdio::null());
        command.envs(unit.environment().map(|(name, value)| (name, places.here(value))));
        for (key, parent) in [("RuntimeDirectory", "/run"), ("CacheDirectory", "/var/cache")] {
            let folder = places.here(&format!("{parent}/{}", unit.value(key)));
            fs::create_dir_all(&folder).unwrap();
            let mode = u32::from_str_radix(unit.value(&format!("{key}Mode")), 8).unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
            give_away(folder.as_ref());
        }
        let watchdog: u64 = unit.value("WatchdogSec").strip_suffix('s').unwrap().parse().unwrap();
        command.env("WATCHDOG_USEC", (watchdog * 1_000_000).to_string());
        assert!(["notify", "notify-reload"].contains(&unit.value("Type")));
        let manager = Manager::at_abstract_name();
        command.env("NOTIFY_SOCKET", &manager.address);
        let journal = File::options().create(true).append(true).open(places.journal()).unwrap();
        command.stdout(journal.try_clone().unwrap()).stderr(journal);
        let child = command.spawn().unwrap();
        let mut service = Service { unit, places, child, manager };
        service.wait_for("READY=1");
        service
    }

    /// Reloads the service, as its unit says.
    pub fn reload(&mut self) {
        if self.unit.value("Type") == "notify-reload" {
            send_signal(self.child.id(), "HUP").unwrap();
            let reloading = self.wait_for("RELOADING=1");
            assert!(reloading.contains("\nMONOTONIC_USEC="), "{reloading}");
            self.wait_for("READY=1");
            return;
        }
        let words: Vec<_> =
            self.unit.words("ExecReload").iter().map(|word| self.places.here(word)).collect();
        let output = Command::new(&words[0]).args(&words[1..]).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Stops the service, and waits until it has ended.
    pub fn stop(&mut self) {
        // With `mixed` the first signal is for the main process alone.
        assert_eq!(self.unit.value("KillMode"), "mixed");
        send_signal(self.child.id(), "TERM").unwrap();
        self.wait_for("STOPPING=1");
        let mut ended = None;
        wait_until("the service has ended", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        assert!(ended.as_ref().is_some_and(ExitStatus::success), "{ended:?}: {}", self.journal());
    }

    fn journal(&self) -> String {
        fs::read_to_string(self.places.journal()).unwrap()
    }

    /// Returns the next report that has this line.
    fn wait_for(&mut self, line: &str) -> String {
        let begun = std::time::Instant::now();
        loop {
            let report = self.manager.next_within_a_round();
            if let Some(report) = report.filter(|it| it.lines().any(|each| each == line)) {
                return report;
            }
            let ended = self.child.try_wait().unwrap();
            let goes_on = ended.is_none() && begun.elapsed() < TIMEOUT;
            assert!(goes_on, "no {line}, {ended:?}: {}", self.journal());
        }
    }
}

/// Has a file belong to the user of the service.
pub fn give_away(path: &Path) {
    if nix::unistd::geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
