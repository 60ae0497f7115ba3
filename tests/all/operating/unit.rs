//! A unit file of systemd, as far as a service needs it.

use std::fs;
use std::path::Path;

/// The assignments of a unit and of the files beside it, in the order in which systemd reads them.
pub struct Unit(Vec<(String, String)>);

impl Unit {
    /// Reads `NAME.service` and `NAME.service.d/*.conf`.
    pub fn read(folder: &Path, name: &str) -> Unit {
        let path = folder.join(format!("{name}.service"));
        let text = fs::read_to_string(&path);
        let mut text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let more = fs::read_dir(folder.join(format!("{name}.service.d"))).into_iter().flatten();
        let mut more: Vec<_> = more.map(|entry| entry.unwrap().path()).collect();
        more.retain(|path| path.extension().is_some_and(|end| end == "conf"));
        more.sort();
        for path in more {
            text += "\n";
            text += &fs::read_to_string(path).unwrap();
        }
        let joined = text.replace("\\\n", " ");
        let lines = joined.lines().filter(|line| !line.starts_with(['#', ';', '[']));
        let pairs = lines.filter_map(|line| line.split_once('='));
        Unit(pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect())
    }

    /// Returns the value of a key; the last one, if there are several.
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut values = self.0.iter().rev().filter(|(name, _)| name == key);
        values.next().map(|(_, value)| &**value)
    }

    /// Returns the value of a key that the unit must have.
    pub fn value(&self, key: &str) -> &str {
        self.get(key).unwrap_or_else(|| panic!("the unit has no {key}="))
    }

    /// Returns the words of a command line. The units here quote nothing.
    pub fn words(&self, key: &str) -> Vec<&str> {
        let value = self.value(key);
        assert!(!value.contains(['"', '\'']), "{key}={value}");
        value.split_whitespace().collect()
    }

    /// Returns the variables of `Environment=`.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        let values = self.0.iter().filter(|(key, _)| key == "Environment");
        values.map(|(_, value)| value.split_once('=').unwrap())
    }
}
