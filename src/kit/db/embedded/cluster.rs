use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::account::Account;
use super::directory;
use super::error::{StartError, file_error, last_lines};

/// The only role of the cluster, and the name of the server's database in it.
pub(super) const ROLE: &str = "chancery";

/// The name that a cluster in the making carries, followed by a number.
const UNFINISHED: &str = "postgres.new.";

/// How often a removal is tried, and how long between.
const REMOVALS: u32 = 50;
const BETWEEN_REMOVALS: Duration = Duration::from_millis(100);

/// A slow disk may take its time over the fsync of a new cluster, but not for ever.
const INITDB_PATIENCE: Duration = Duration::from_mins(5);

/// The major version that made the cluster, or nothing when there is no cluster yet.
pub(super) fn major_of(cluster: &Path) -> Result<Option<u32>, StartError> {
    let refuse = |problem: String| StartError::NotACluster { directory: cluster.to_path_buf(), problem };
    if let Err(error) = std::fs::symlink_metadata(cluster)
        && error.kind() == ErrorKind::NotFound
    {
        return Ok(None);
    }
    let version = std::fs::read_to_string(cluster.join("PG_VERSION"))
        .map_err(|error| refuse(format!("PG_VERSION: {error}")))?;
    parse_major(version.trim())
        .map(Some)
        .ok_or_else(|| refuse(format!("PG_VERSION says {:?}", version.trim())))
}

/// The major version of the programs in `directory`, or nothing when they cannot tell.
pub(super) async fn major_of_programs(directory: &Path) -> Option<u32> {
    let mut command = tokio::process::Command::new(directory.join("postgres"));
    command.arg("--version").env_clear().stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(10), command.output()).await.ok()?.ok()?;
    // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
    let text = String::from_utf8(output.stdout).ok()?;
    parse_major(text.split_whitespace().nth(2)?)
}

/// Makes the cluster under another name and renames it, so that a kill half-way leaves nothing that looks finished.
pub(super) async fn create(
    data_directory: &Path,
    cluster: &Path,
    programs: &Path,
    run_as: &Account,
) -> Result<(), StartError> {
    let unfinished = fresh_name(data_directory)?;
    directory::make_private(&unfinished, run_as).map_err(file_error("make", &unfinished))?;
    initialise(&unfinished, programs, run_as).await?;
    std::fs::rename(&unfinished, cluster).map_err(file_error("rename", &unfinished))?;
    std::fs::File::open(data_directory)
        .and_then(|directory| directory.sync_all())
        .map_err(file_error("sync", data_directory))
}

/// Removes what killed attempts left. The initdb of one may still be writing: it fails when its files go, so a removal
/// that it disturbs is tried again for a while.
pub(super) async fn remove_leftovers(data_directory: &Path) -> Result<(), StartError> {
    for (_, leftover) in leftovers(data_directory)? {
        let mut attempts = 0;
        while let Err(error) = std::fs::remove_dir_all(&leftover) {
            attempts += 1;
            if error.kind() == std::io::ErrorKind::NotFound {
                break;
            }
            if attempts == REMOVALS {
                tracing::warn!(path = %leftover.display(), %error, "cannot remove an unfinished cluster");
                break;
            }
            tokio::time::sleep(BETWEEN_REMOVALS).await;
        }
    }
    Ok(())
}

/// Writes who may connect: the user of this process, by the word of the kernel, and nobody else.
///
/// The files lie outside the cluster and belong to us, so that not even a misled Postgres can open itself to others,
/// or lead root through a link of its own making.
pub(super) fn write_access_files(data_directory: &Path, own: &Account) -> Result<(), StartError> {
    let user = own.name.replace('"', "\"\"");
    replace_file(&hba_file(data_directory), "local all all peer map=chancery\n")?;
    replace_file(&ident_file(data_directory), &format!("chancery \"{user}\" {ROLE}\n"))
}

/// The file that says how a connection is authenticated.
pub(super) fn hba_file(data_directory: &Path) -> PathBuf {
    data_directory.join("pg_hba.conf")
}

/// The file that says which system user is which role.
pub(super) fn ident_file(data_directory: &Path) -> PathBuf {
    data_directory.join("pg_ident.conf")
}

async fn initialise(unfinished: &Path, programs: &Path, run_as: &Account) -> Result<(), StartError> {
    let program = programs.join("initdb");
    let mut command = run_as.command(&program);
    command
        .args(["--auth=peer", "--data-checksums", "--no-instructions", "-E", "UTF8", "--locale=C"])
        .args(["--username", ROLE, "-D"])
        .arg(unfinished)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let failed = |output: &str| {
        // Nothing of use is in it, and the next attempt takes a fresh name.
        let _ = std::fs::remove_dir_all(unfinished);
        StartError::Initdb { directory: unfinished.to_path_buf(), output: last_lines(output, 20) }
    };
    match tokio::time::timeout(INITDB_PATIENCE, command.output()).await {
        Err(_) => Err(failed("initdb did not end in time")),
        Ok(Err(source)) => {
            let _ = std::fs::remove_dir_all(unfinished);
            Err(StartError::Spawn { program, user: run_as.name.clone(), source })
        }
        Ok(Ok(output)) if !output.status.success() => Err(failed(&String::from_utf8_lossy(&output.stderr))),
        Ok(Ok(_)) => Ok(()),
    }
}

/// A name for the new cluster that was never used.
///
/// The initdb of a killed attempt may still be writing, so its name is not reused before the cluster is complete.
fn fresh_name(data_directory: &Path) -> Result<PathBuf, StartError> {
    let highest = leftovers(data_directory)?.into_iter().map(|(number, _)| number).max().unwrap_or(0);
    Ok(data_directory.join(format!("{UNFINISHED}{}", highest.saturating_add(1))))
}

/// What earlier attempts left, with their numbers.
fn leftovers(data_directory: &Path) -> Result<Vec<(u32, PathBuf)>, StartError> {
    let entries = std::fs::read_dir(data_directory).map_err(file_error("list", data_directory))?;
    let numbered = |entry: std::fs::DirEntry| {
        let number = entry.file_name().to_str()?.strip_prefix(UNFINISHED)?.parse().ok()?;
        Some((number, entry.path()))
    };
    Ok(entries.flatten().filter_map(numbered).collect())
}

fn replace_file(path: &Path, content: &str) -> Result<(), StartError> {
    let fresh = path.with_extension("conf.new");
    std::fs::write(&fresh, content).map_err(file_error("write", &fresh))?;
    // Postgres reads it as another user, whatever our umask is.
    std::fs::set_permissions(&fresh, Permissions::from_mode(0o644)).map_err(file_error("open", &fresh))?;
    std::fs::rename(&fresh, path).map_err(file_error("replace", path))
}

/// "15.18" is 15; "9.6" is 9, which no supported version shares.
fn parse_major(version: &str) -> Option<u32> {
    let digits = version.split(|letter: char| !letter.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse_major;

    #[test]
    fn the_major_version_is_the_first_number() {
        assert_eq!(parse_major("15"), Some(15));
        assert_eq!(parse_major("15.18"), Some(15));
        assert_eq!(parse_major("17beta1"), Some(17));
        assert_eq!(parse_major("rubbish"), None);
    }
}
