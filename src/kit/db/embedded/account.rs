use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Uid, User, geteuid};
use tokio::process::Command;

use super::error::StartError;

/// A user of the operating system.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: Uid,
    pub(super) gid: Gid,
}

/// The user of this process: the only one that Postgres lets in.
pub(super) fn own() -> Result<Account, StartError> {
    let uid = geteuid();
    match User::from_uid(uid) {
        Ok(Some(user)) => Ok(Account { name: user.name, uid, gid: user.gid }),
        _ => Err(StartError::NamelessUser { uid: uid.as_raw() }),
    }
}

/// The user that Postgres runs as: our own, or an unprivileged one when we are root.
pub(super) fn for_postgres(own: &Account, cluster: &Path) -> Result<Account, StartError> {
    if !own.uid.is_root() {
        return Ok(own.clone());
    }
    // A cluster keeps its owner: a user `postgres` that appears after the first start must not lock us out.
    if let Ok(metadata) = std::fs::symlink_metadata(cluster)
        && metadata.uid() != 0
    {
        let uid = Uid::from_raw(metadata.uid());
        let name = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        return Ok(Account { name, uid, gid: Gid::from_raw(metadata.gid()) });
    }
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| User::from_name(name).ok().flatten())
        .map(|user| Account { name: user.name, uid: user.uid, gid: user.gid })
        .ok_or(StartError::NoUnprivilegedUser)
}

impl Account {
    /// Whether this is somebody else than the user of this process.
    pub(super) fn is_other(&self) -> bool {
        self.uid != geteuid()
    }

    /// A command that runs as this user, with nothing of our environment but the search path.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LANG", "C").env("TZ", "UTC").current_dir("/");
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        // A Ctrl-C at the terminal is for the server, which then stops Postgres in its own time.
        command.process_group(0);
        if self.is_other() {
            // The standard library also drops the supplementary groups when root changes the user.
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
        command
    }
}
