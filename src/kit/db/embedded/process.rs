use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Whether a process of this number exists, be it only a zombie.
pub(super) fn exists(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// Whether `pid` is a live postmaster of `cluster`: neither a zombie nor a stranger that was given a stale number.
///
/// It goes by the command line, because the working directory of another user's process can be hidden from
/// root inside a container. A zombie has no command line, and Postgres rewrites it in every process but the postmaster.
pub(super) fn is_postmaster(pid: i32, cluster: &Path) -> bool {
    command_line(pid).is_some_and(|arguments| names_cluster(&arguments, cluster))
}

/// Sends a signal; a process that is gone already is not an error worth telling.
pub(super) fn signal(pid: i32, signal: Signal) {
    if let Err(error) = kill(Pid::from_raw(pid), signal) {
        tracing::debug!(pid, %signal, %error, "signal not delivered");
    }
}

fn names_cluster(arguments: &[Vec<u8>], cluster: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let program =
        arguments.first().map_or(&[][..], |first| first.rsplit(|byte| *byte == b'/').next().unwrap_or(first));
    program == b"postgres"
        && arguments.windows(2).any(|pair| pair[0] == b"-D" && pair[1] == cluster.as_os_str().as_bytes())
}

#[cfg(target_os = "linux")]
fn command_line(pid: i32) -> Option<Vec<Vec<u8>>> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect())
}

/// Without /proc, `ps` tells; it joins the arguments by spaces, so a path with a space is never recognised.
#[cfg(not(target_os = "linux"))]
fn command_line(pid: i32) -> Option<Vec<Vec<u8>>> {
    let arguments = ["-ww", "-o", "command=", "-p", &pid.to_string()];
    let output = std::process::Command::new("ps").args(arguments).output().ok()?;
    Some(output.stdout.trim_ascii_end().split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &[&str]) -> Vec<Vec<u8>> {
        line.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn only_a_postmaster_of_this_directory_counts() {
        let cluster = Path::new("/data/postgres");
        assert!(names_cluster(
            &arguments(&["/usr/lib/bin/postgres", "-D", "/data/postgres", "-p", "1"]),
            cluster
        ));
        assert!(!names_cluster(&arguments(&["/usr/lib/bin/postgres", "-D", "/other/postgres"]), cluster));
        assert!(!names_cluster(&arguments(&["postgres: checkpointer "]), cluster));
        assert!(!names_cluster(&arguments(&["tail", "-D", "/data/postgres"]), cluster));
        assert!(!names_cluster(&arguments(&[""]), cluster));
    }

    #[test]
    fn this_process_exists_and_is_no_postmaster() {
        let own = nix::unistd::getpid().as_raw();
        assert!(exists(own));
        assert!(!is_postmaster(own, Path::new("/data/postgres")));
    }
}
