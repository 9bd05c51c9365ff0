use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::account::Account;
use super::error::{StartError, file_error};

/// Makes the data directory or takes over an existing one, and gives back its one true path.
pub(super) fn prepare(wanted: &Path, own: &Account) -> Result<PathBuf, StartError> {
    let absolute = std::path::absolute(wanted).map_err(file_error("resolve", wanted))?;
    let closed = |problem: io::Error| unreachable(&absolute, nearest_visible(&absolute), &own.name, &problem);
    DirBuilder::new().recursive(true).create(&absolute).map_err(closed)?;
    let directory = absolute.canonicalize().map_err(closed)?;
    let metadata = std::fs::metadata(&directory).map_err(closed)?;
    let refuse = |problem: String| {
        Err(StartError::Unsafe { directory: directory.clone(), user: own.name.clone(), problem })
    };
    if metadata.uid() != own.uid.as_raw() {
        return refuse(format!("it belongs to user id {}", metadata.uid()));
    }
    // Only an empty directory gets our mode: to close one that others use, /tmp say, would break the machine.
    let is_empty = std::fs::read_dir(&directory).map_err(closed)?.next().is_none();
    if is_empty {
        let mode = if own.uid.is_root() { 0o711 } else { 0o700 };
        std::fs::set_permissions(&directory, Permissions::from_mode(mode)).map_err(closed)?;
    } else if metadata.mode() & 0o022 != 0 {
        return refuse(format!("others may write in it (mode {:o})", metadata.mode() & 0o7777));
    }
    Ok(directory)
}

/// Checks that `user` may pass through every directory down to `directory`.
///
/// Postgres and initdb would say "Permission denied" about a path that root sees perfectly well.
pub(super) fn check_reachable(directory: &Path, user: &Account) -> Result<(), StartError> {
    if !user.is_other() {
        return Ok(());
    }
    let mut parents: Vec<&Path> = directory.ancestors().collect();
    parents.reverse();
    for parent in parents {
        let metadata = std::fs::metadata(parent).map_err(file_error("look at", parent))?;
        let needed = if metadata.uid() == user.uid.as_raw() {
            0o100
        } else if metadata.gid() == user.gid.as_raw() {
            0o010
        } else {
            0o001
        };
        if metadata.mode() & needed == 0 {
            let problem = io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("its mode {:o} does not let this user through", metadata.mode() & 0o7777),
            );
            return Err(unreachable(directory, parent, &user.name, &problem));
        }
    }
    Ok(())
}

/// Takes the data directory's lock, which lasts as long as the file is open.
pub(super) async fn lock(directory: &Path, own: &Account) -> Result<File, StartError> {
    let path = directory.join("chancery.lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|problem| unreachable(directory, directory, &own.name, &problem))?;
    // A process that is just being started holds a copy of every open file until it executes its program.
    for _ in 0..20 {
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(file_error("write", &path))?;
                file.write_all(format!("{}\n", std::process::id()).as_bytes())
                    .map_err(file_error("write", &path))?;
                return Ok(file);
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(25)).await,
            Err(TryLockError::Error(source)) => return Err(file_error("lock", &path)(source)),
        }
    }
    let mut holder = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut holder)).map_err(file_error("read", &path))?;
    Err(StartError::InUse { directory: directory.to_path_buf(), holder: holder.trim().to_owned() })
}

fn unreachable(directory: &Path, parent: &Path, user: &str, problem: &io::Error) -> StartError {
    StartError::Unreachable {
        directory: directory.to_path_buf(),
        parent: parent.to_path_buf(),
        user: user.to_owned(),
        problem: problem.to_string(),
    }
}

/// The deepest part of the path that can be seen: whatever stops us stops us there.
fn nearest_visible(path: &Path) -> &Path {
    path.ancestors().find(|ancestor| std::fs::metadata(ancestor).is_ok()).unwrap_or(path)
}

/// Makes one directory that only its owner may enter, and gives it to `owner`.
pub(super) fn make_private(path: &Path, owner: &Account) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    give(path, owner)
}

/// Changes the owner, if that is somebody else than us; never follows a link.
pub(super) fn give(path: &Path, owner: &Account) -> io::Result<()> {
    if owner.is_other() {
        std::os::unix::fs::lchown(path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?;
    }
    Ok(())
}
