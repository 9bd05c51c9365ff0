use std::io;
use std::path::PathBuf;

/// Why the private Postgres could not be started: what is wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No directory holds `postgres` and `initdb`.
    #[error(
        "No database configured, and no PostgreSQL server programs found\n  looked in: {looked_in}\n\
         Either   set DATABASE_URL=postgres://user:password@host/database\n\
         or       install PostgreSQL: apt-get install -y postgresql, or brew install postgresql@15 \
         (make run does it); a private server is then run for you\n\
         or       name the directory that holds postgres and initdb: \
         CHANCERY_DATABASE_POSTGRES_BIN_DIR=/path/to/bin"
    )]
    NoPrograms {
        /// Every place that was tried, for the reader of the message.
        looked_in: String,
    },
    /// The cluster was made by a major version that is not installed.
    #[error(
        "The data in {} was made by PostgreSQL {wanted}, but the programs found are of version {found}; \
         install PostgreSQL {wanted}, or name its directory through CHANCERY_DATABASE_POSTGRES_BIN_DIR, \
         or move the data over with pg_upgrade", .cluster.display()
    )]
    OtherVersion {
        /// The cluster's directory.
        cluster: PathBuf,
        /// The cluster's major version.
        wanted: u32,
        /// The major versions found, with their directories.
        found: String,
    },
    /// The cluster's directory holds something else.
    #[error(
        "{} exists but holds no PostgreSQL cluster ({problem}); move it away, or choose another data \
         directory with --data-dir", .directory.display()
    )]
    NotACluster {
        /// The directory that should be a cluster.
        directory: PathBuf,
        /// What was found instead.
        problem: String,
    },
    /// A parent directory keeps the server or its Postgres out.
    #[error(
        "The data directory {} cannot be used by {user}: {} stops it ({problem}); choose another \
         directory with --data-dir", .directory.display(), .parent.display()
    )]
    Unreachable {
        /// The data directory.
        directory: PathBuf,
        /// The directory that refuses.
        parent: PathBuf,
        /// The operating system's user that is kept out.
        user: String,
        /// How it refuses.
        problem: String,
    },
    /// The data directory belongs to, or can be changed by, someone else.
    #[error(
        "The data directory {} is not safe to use: {problem}; it must belong to {user} and be writable \
         by nobody else, so correct that or choose another directory with --data-dir", .directory.display()
    )]
    Unsafe {
        /// The data directory.
        directory: PathBuf,
        /// The user that this process runs as.
        user: String,
        /// What makes it unsafe.
        problem: String,
    },
    /// Another Chancery holds the data directory.
    #[error(
        "The data directory {} is in use by another Chancery (process {holder}); stop that one, or choose \
         another directory with --data-dir", .directory.display()
    )]
    InUse {
        /// The data directory.
        directory: PathBuf,
        /// The pid written in the lock file.
        holder: String,
    },
    /// No directory is both short and ours.
    #[error(
        "No directory for PostgreSQL's Unix socket (a path of at most {limit} bytes): {tried}; choose a \
         shorter data directory with --data-dir"
    )]
    NoSocketDirectory {
        /// The longest path that the operating system takes.
        limit: usize,
        /// Each directory tried, and why it will not do.
        tried: String,
    },
    /// Peer authentication needs a name for the user of this process.
    #[error(
        "This process runs as user id {uid}, which has no name in the user database; PostgreSQL's peer \
         authentication needs one, so run as a named user or set DATABASE_URL"
    )]
    NamelessUser {
        /// The user id.
        uid: u32,
    },
    /// Postgres refuses to run as root, and there is nobody else to run it as.
    #[error(
        "PostgreSQL does not run as root, and neither a user postgres nor a user nobody exists; create one \
         (useradd --system postgres), or set DATABASE_URL"
    )]
    NoUnprivilegedUser,
    /// A program could not be executed.
    #[error("Cannot run {} as {user}: {source}; check that this user may execute it", .program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The operating system's user it was to run as.
        user: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// `initdb` failed.
    #[error("PostgreSQL could not make its data directory in {}:\n{output}", .directory.display())]
    Initdb {
        /// Where the cluster was to be.
        directory: PathBuf,
        /// The last lines that it printed.
        output: String,
    },
    /// Postgres ended before it took a connection.
    #[error("PostgreSQL stopped while starting ({status}); the end of {}:\n{tail}", .log.display())]
    Died {
        /// How the process ended.
        status: String,
        /// The log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// Postgres runs, but took no connection in time.
    #[error(
        "PostgreSQL took no connection within {seconds} seconds ({problem}); it may still be recovering, so \
         start again later; the end of {}:\n{tail}", .log.display()
    )]
    NotReady {
        /// The bound.
        seconds: u64,
        /// The last refusal.
        problem: String,
        /// The log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// Postgres answers, but refuses this server or its database.
    #[error("The private PostgreSQL refuses this server: {0}; check who owns the data directory")]
    Refused(#[source] sqlx::Error),
    /// A file of the data directory could not be read or written.
    #[error("Cannot {action} {}: {source}", .path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
}

/// Names the file and the attempt in an I/O error, for `map_err`.
pub(super) fn file_error(
    action: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> StartError {
    let path = path.into();
    move |source| StartError::File { action, path, source }
}

/// The last `count` lines of `text`, indented for a message.
pub(super) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines.get(lines.len().saturating_sub(count)..).unwrap_or_default();
    if tail.is_empty() {
        return "  (nothing was written)".to_owned();
    }
    tail.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::last_lines;

    #[test]
    fn last_lines_keeps_the_end() {
        assert_eq!(last_lines("a\nb\n\nc\n", 2), "  b\n  c");
        assert_eq!(last_lines("", 20), "  (nothing was written)");
    }
}
