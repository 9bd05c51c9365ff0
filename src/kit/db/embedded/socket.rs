use std::collections::hash_map::DefaultHasher;
use std::fs::symlink_metadata;
use std::hash::{Hash, Hasher};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::account::Account;
use super::directory;
use super::error::StartError;

/// The number in the socket's name; nothing listens on it over the network.
pub(super) const PORT: u16 = 5432;

/// The longest path of a Unix socket, without the closing zero byte.
pub(super) const LIMIT: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// How to connect to `database` through the socket in `directory`.
pub(super) fn options(directory: &Path, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(directory)
        .port(PORT)
        .username(super::cluster::ROLE)
        .database(database)
        .ssl_mode(PgSslMode::Disable)
}

/// Chooses the directory of the socket and makes it: beside the data, or a short one when that path is too long.
pub(super) fn choose(data_directory: &Path, owner: &Account) -> Result<PathBuf, StartError> {
    let mut hasher = DefaultHasher::new();
    data_directory.hash(&mut hasher);
    let short = format!("chancery-{:016x}", hasher.finish());
    let candidates =
        [data_directory.join("run"), Path::new("/run").join(&short), Path::new("/tmp").join(&short)];
    first_usable(&candidates, owner)
}

/// Makes `directory`, or checks that the one that is there is ours and closed to others.
///
/// Anyone can make a directory in /tmp before us; a socket in it could be replaced by theirs.
pub(super) fn claim(directory: &Path, owner: &Account) -> Result<(), String> {
    match directory::make_private(directory, owner) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.to_string()),
    }
    let metadata = symlink_metadata(directory).map_err(|error| error.to_string())?;
    if !metadata.is_dir() {
        return Err("exists and is not a directory".to_owned());
    }
    if metadata.uid() != owner.uid.as_raw() && metadata.uid() != geteuid().as_raw() {
        return Err(format!("exists and belongs to user id {}", metadata.uid()));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(format!("exists and is open to others (mode {:o})", metadata.mode() & 0o7777));
    }
    // A kill between making it and giving it away leaves it with us.
    directory::give(directory, owner).map_err(|error| error.to_string())
}

/// The lock file that Postgres keeps beside its socket.
pub(super) fn lock_file(directory: &Path) -> PathBuf {
    directory.join(format!(".s.PGSQL.{PORT}.lock"))
}

fn first_usable(candidates: &[PathBuf], owner: &Account) -> Result<PathBuf, StartError> {
    let mut tried = Vec::new();
    for candidate in candidates {
        let length = candidate.join(format!(".s.PGSQL.{PORT}")).as_os_str().as_bytes().len();
        let outcome = if length > LIMIT {
            Err(format!("{length} bytes with the socket"))
        } else {
            claim(candidate, owner)
        };
        match outcome {
            Ok(()) => return Ok(candidate.clone()),
            Err(problem) => tried.push(format!("{} ({problem})", candidate.display())),
        }
    }
    Err(StartError::NoSocketDirectory { limit: LIMIT, tried: tried.join(", ") })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::kit::db::embedded::account;

    /// A directory of this test's own, removed when it ends.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = PathBuf::from(format!("/tmp/chancery-socket-{name}-{}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_message_names_every_directory_when_nothing_fits() {
        let scratch = Scratch::new("nothing");
        let own = account::own().unwrap();
        let long = scratch.0.join("x".repeat(100));
        let open = scratch.0.join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
        let message = first_usable(&[long.clone(), open.clone()], &own).unwrap_err().to_string();
        assert!(message.contains("at most 107 bytes") || message.contains("at most 103 bytes"), "{message}");
        assert!(message.contains(&format!("{} (", long.display())), "{message}");
        assert!(message.contains(&format!("{} (exists and is open to others (mode 777))", open.display())));
        assert!(message.contains("--data-dir"), "{message}");
    }

    #[test]
    fn the_first_directory_that_fits_is_made() {
        let scratch = Scratch::new("fits");
        let own = account::own().unwrap();
        let fits = scratch.0.join("run");
        let candidates = [scratch.0.join("x".repeat(100)), fits.clone()];
        assert_eq!(first_usable(&candidates, &own).unwrap(), fits);
        assert_eq!(symlink_metadata(&fits).unwrap().mode() & 0o777, 0o700);
        // Again: it is there now, and ours.
        assert_eq!(first_usable(&candidates, &own).unwrap(), fits);
    }

    #[test]
    fn a_directory_made_by_somebody_else_is_refused() {
        let scratch = Scratch::new("hostile");
        let own = account::own().unwrap();
        let link = scratch.0.join("link");
        std::os::unix::fs::symlink("/tmp", &link).unwrap();
        assert_eq!(claim(&link, &own).unwrap_err(), "exists and is not a directory");
        if !own.uid.is_root() {
            // Past the capture of the test harness, which would keep it silent.
            let notice = b"SKIPPED: only root can make a directory for somebody else\n";
            std::io::Write::write_all(&mut std::io::stderr(), notice).unwrap();
            return;
        }
        let hostile = scratch.0.join("hostile");
        std::fs::create_dir(&hostile).unwrap();
        std::os::unix::fs::chown(&hostile, Some(12345), Some(12345)).unwrap();
        std::fs::set_permissions(&hostile, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(claim(&hostile, &own).unwrap_err(), "exists and belongs to user id 12345");
    }
}
