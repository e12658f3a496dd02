//! Where an agent keeps its data; a console on the same machine looks there for its token.

use std::ffi::OsString;
use std::path::PathBuf;

/// The data folder unless told otherwise: `$XDG_DATA_HOME/pilothouse`, else `$HOME/.local/share/pilothouse`,
/// else (a service without a home) `/var/lib/pilothouse`. `env` looks up an environment variable.
pub fn data_dir(env: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let folder = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let parent = folder("XDG_DATA_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/share")));
    parent.map_or_else(|| PathBuf::from("/var/lib/pilothouse"), |parent| parent.join("pilothouse"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(set: &[(&str, &str)]) -> PathBuf {
        data_dir(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)))
    }

    #[test]
    fn the_most_particular_variable_wins() {
        let both = [("XDG_DATA_HOME", "/data"), ("HOME", "/home/op")];
        assert_eq!(dir(&both), PathBuf::from("/data/pilothouse"));
        assert_eq!(dir(&both[1..]), PathBuf::from("/home/op/.local/share/pilothouse"));
        assert_eq!(dir(&[]), PathBuf::from("/var/lib/pilothouse"));
        assert_eq!(dir(&[("XDG_DATA_HOME", "relative"), ("HOME", "")]), PathBuf::from("/var/lib/pilothouse"));
    }
}
