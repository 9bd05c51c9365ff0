use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::cluster;
use super::error::StartError;

/// Where the server programs may lie, in the order of preference.
#[derive(Debug)]
pub(super) struct Places {
    /// What stands in front of `/usr/lib/postgresql`, `/opt/homebrew` and `/usr/local`; `/` outside of tests.
    pub(super) root: PathBuf,
    /// The directories of `PATH`.
    pub(super) path: Vec<PathBuf>,
}

/// A directory that holds `postgres` and `initdb`.
#[derive(Clone, Debug, PartialEq)]
struct Programs {
    directory: PathBuf,
    major: u32,
}

/// The directory of the server programs that fit the cluster, if there is a cluster yet.
///
/// A configured directory is taken at its word: falling back to other programs would hide the mistake in it.
pub(super) async fn find(
    configured: Option<&Path>,
    cluster: &Path,
    cluster_major: Option<u32>,
) -> Result<PathBuf, StartError> {
    let path =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let places = Places { root: PathBuf::from("/"), path };
    places.choose(configured, cluster, cluster_major).await
}

impl Places {
    async fn choose(
        &self,
        configured: Option<&Path>,
        cluster: &Path,
        cluster_major: Option<u32>,
    ) -> Result<PathBuf, StartError> {
        let candidates = configured.map_or_else(|| self.candidates(), |only| vec![only.to_path_buf()]);
        let mut found = Vec::new();
        for directory in candidates.into_iter().filter(|directory| holds_programs(directory)) {
            if let Some(major) = cluster::major_of_programs(&directory).await {
                found.push(Programs { directory, major });
            }
        }
        let fitting = found.iter().find(|programs| cluster_major.is_none_or(|major| programs.major == major));
        match (fitting, cluster_major) {
            (Some(programs), _) => Ok(programs.directory.clone()),
            (None, Some(wanted)) if !found.is_empty() => Err(StartError::OtherVersion {
                cluster: cluster.to_path_buf(),
                wanted,
                found: describe_found(&found),
            }),
            _ => Err(StartError::NoPrograms { looked_in: self.describe(configured) }),
        }
    }

    fn candidates(&self) -> Vec<PathBuf> {
        let mut all = Vec::new();
        all.extend(newest_first(&self.root.join("usr/lib/postgresql"), ""));
        all.extend(newest_first(&self.root.join("opt/homebrew/opt"), "postgresql@"));
        all.extend(newest_first(&self.root.join("usr/local/opt"), "postgresql@"));
        all.push(self.root.join("opt/homebrew/bin"));
        all.extend(self.path.iter().cloned());
        all
    }

    fn describe(&self, configured: Option<&Path>) -> String {
        if let Some(only) = configured {
            return format!("{} (CHANCERY_DATABASE_POSTGRES_BIN_DIR)", only.display());
        }
        let root = self.root.display();
        format!(
            "CHANCERY_DATABASE_POSTGRES_BIN_DIR (not set), {root}usr/lib/postgresql/*/bin, \
             {root}opt/homebrew/opt/postgresql@*/bin, {root}usr/local/opt/postgresql@*/bin, \
             {root}opt/homebrew/bin, PATH"
        )
    }
}

fn describe_found(found: &[Programs]) -> String {
    found
        .iter()
        .map(|programs| format!("{} ({})", programs.major, programs.directory.display()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The `bin` directories below `parent/<prefix><number>`, by number and not by letter: 16 is newer than 9.
fn newest_first(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let mut numbered: Vec<(Vec<u32>, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let numbers =
                name.strip_prefix(prefix)?.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
            Some((numbers, entry.path().join("bin")))
        })
        .collect();
    numbered.sort();
    numbered.into_iter().rev().map(|(_, bin)| bin).collect()
}

fn holds_programs(directory: &Path) -> bool {
    ["postgres", "initdb"].iter().all(|name| {
        std::fs::metadata(directory.join(name))
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory tree of this test's own, removed when it ends.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("chancery-discover-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&root).unwrap();
            Self(root)
        }

        fn programs(&self, directory: &str, version: &str) -> PathBuf {
            let bin = self.0.join(directory);
            std::fs::create_dir_all(&bin).unwrap();
            for name in ["postgres", "initdb"] {
                let script = format!("#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n");
                // Written by another process: a file that any thread holds open for writing cannot be executed.
                let status = std::process::Command::new("sh")
                    .args(["-c", "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", &script])
                    .arg(bin.join(name))
                    .status()
                    .unwrap();
                assert!(status.success());
            }
            bin
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn candidates_are_ordered_by_number_and_place() {
        let tree = Tree::new("order");
        let nine = tree.programs("usr/lib/postgresql/9.6/bin", "9.6.1");
        let sixteen = tree.programs("usr/lib/postgresql/16/bin", "16.1");
        let brew = tree.programs("opt/homebrew/opt/postgresql@17/bin", "17.0");
        let path = tree.programs("elsewhere", "18.0");
        let places = Places { root: tree.0.clone(), path: vec![path.clone()] };
        let found: Vec<_> =
            places.candidates().into_iter().filter(|directory| holds_programs(directory)).collect();
        assert_eq!(found, [sixteen, nine, brew, path]);
    }

    #[test]
    fn no_programs_names_the_three_ways_out() {
        let places = Places { root: PathBuf::from("/"), path: Vec::new() };
        let message = StartError::NoPrograms { looked_in: places.describe(None) }.to_string();
        assert_eq!(
            message,
            "No database configured, and no PostgreSQL server programs found\n  \
             looked in: CHANCERY_DATABASE_POSTGRES_BIN_DIR (not set), /usr/lib/postgresql/*/bin, \
             /opt/homebrew/opt/postgresql@*/bin, /usr/local/opt/postgresql@*/bin, /opt/homebrew/bin, PATH\n\
             Either   set DATABASE_URL=postgres://user:password@host/database\n\
             or       install PostgreSQL: apt-get install -y postgresql, or brew install postgresql@15 \
             (make run does it); a private server is then run for you\n\
             or       name the directory that holds postgres and initdb: \
             CHANCERY_DATABASE_POSTGRES_BIN_DIR=/path/to/bin"
        );
    }

    #[tokio::test]
    async fn programs_of_the_cluster_s_version_win_over_newer_ones() {
        let tree = Tree::new("matching");
        let old = tree.programs("usr/lib/postgresql/14/bin", "14.9");
        let new = tree.programs("usr/lib/postgresql/16/bin", "16.1");
        let places = Places { root: tree.0.clone(), path: Vec::new() };
        let cluster = Path::new("/data/postgres");
        assert_eq!(places.choose(None, cluster, None).await.unwrap(), new);
        assert_eq!(places.choose(None, cluster, Some(14)).await.unwrap(), old);
        let message = places.choose(None, cluster, Some(15)).await.unwrap_err().to_string();
        assert!(
            message.contains("made by PostgreSQL 15, but the programs found are of version 16 ("),
            "{message}"
        );
    }

    #[tokio::test]
    async fn a_configured_directory_is_taken_at_its_word() {
        let tree = Tree::new("configured");
        let bin = tree.programs("bin", "15.18 (Debian 15.18-0+deb12u1)");
        let cluster = Path::new("/data/postgres");
        assert_eq!(find(Some(&bin), cluster, Some(15)).await.unwrap(), bin);
        let other = find(Some(&bin), cluster, Some(14)).await.unwrap_err().to_string();
        assert!(other.contains("made by PostgreSQL 14"), "{other}");
        assert!(other.contains(&format!("15 ({})", bin.display())), "{other}");
        let empty = find(Some(&tree.0), cluster, None).await.unwrap_err().to_string();
        assert!(empty.contains(&format!("looked in: {}", tree.0.display())), "{empty}");
    }
}
