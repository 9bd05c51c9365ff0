use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use chancery::kit::db::embedded::{Embedded, Settings};
use nix::unistd::User;

use crate::helper::Helper;
use crate::support::{Home, is_root, nobody, stop, unprivileged};

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// What `psql` says when `user` connects as `role`.
fn psql(socket: &Path, user: Option<&User>, role: &str) -> Result<String, String> {
    let mut command = Command::new("psql");
    command.args(["-w", "-At", "-U", role, "-d", "chancery", "-c", "select 'let in'", "-h"]).arg(socket);
    command.current_dir("/").env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[tokio::test]
async fn only_the_server_s_own_user_is_let_in() {
    if !is_root("only_the_server_s_own_user_is_let_in") {
        return;
    }
    let home = Home::new("peer");
    let embedded = home.start().await;
    let socket = embedded.connect_options().get_socket().unwrap().clone();
    assert_eq!(psql(&socket, None, "chancery"), Ok("let in".to_owned()));
    // Not as another role.
    let refusal = psql(&socket, None, "postgres").unwrap_err();
    assert!(refusal.contains("Peer authentication failed"), "{refusal}");
    // Nobody else reaches the socket; and where the directory is opened by mistake, peer still refuses.
    let refusal = psql(&socket, Some(&nobody()), "chancery").unwrap_err();
    assert!(refusal.contains("Permission denied"), "{refusal}");
    set_mode(&socket, 0o755);
    set_mode(socket.join(".s.PGSQL.5432"), 0o777);
    for user in [nobody(), unprivileged()] {
        for role in ["chancery", "postgres", &user.name] {
            let refusal = psql(&socket, Some(&user), role).unwrap_err();
            assert!(refusal.contains("Peer authentication failed"), "{} as {role}: {refusal}", user.name);
        }
    }
    set_mode(&socket, 0o700);
    stop(embedded).await;
}

#[tokio::test]
async fn a_directory_in_use_is_refused_with_the_holder() {
    let home = Home::new("inuse");
    let embedded = home.start().await;
    let message = home.try_start().await.unwrap_err().to_string();
    assert!(
        message.contains(&format!("in use by another Chancery (process {})", std::process::id())),
        "{message}"
    );
    assert!(message.contains(&home.data().display().to_string()), "{message}");
    stop(embedded).await;
    stop(home.start().await).await;
}

#[tokio::test]
async fn an_unreachable_directory_names_the_parent() {
    if !is_root("an_unreachable_directory_names_the_parent") {
        return;
    }
    let home = Home::with_data("parent", "closed/below/data");
    let closed = home.path.join("closed");
    std::fs::create_dir_all(closed.join("below")).unwrap();
    set_mode(&closed, 0o700);
    let stops = format!("{} stops it", closed.display());
    // As root it is Postgres that is kept out.
    let message = home.try_start().await.unwrap_err().to_string();
    assert!(message.contains(&stops) && message.contains("--data-dir"), "{message}");
    assert!(message.contains(&format!("cannot be used by {}", unprivileged().name)), "{message}");
    // As a normal user it is the server itself.
    let message = Helper::spawn(&home, Some(&nobody())).answer("refused");
    assert!(message.contains(&stops) && message.contains("cannot be used by nobody"), "{message}");
    // And a parent that can be entered but not written.
    let home = Home::with_data("readonly", "readable/data");
    std::fs::create_dir(home.path.join("readable")).unwrap();
    let message = Helper::spawn(&home, Some(&nobody())).answer("refused");
    assert!(message.contains(&format!("{} stops it", home.path.join("readable").display())), "{message}");
}

#[tokio::test]
async fn a_parent_that_is_a_file_is_named() {
    let home = Home::with_data("file", "file/data");
    std::fs::write(home.path.join("file"), "").unwrap();
    let message = home.try_start().await.unwrap_err().to_string();
    assert!(message.contains(&format!("{} stops it", home.path.join("file").display())), "{message}");
}

#[tokio::test]
async fn a_directory_that_others_control_is_refused() {
    let home = Home::new("unsafe");
    std::fs::create_dir(home.data()).unwrap();
    std::fs::write(home.data().join("theirs"), "").unwrap();
    set_mode(home.data(), 0o1777);
    let message = home.try_start().await.unwrap_err().to_string();
    assert!(message.contains("others may write in it (mode 1777)"), "{message}");
    assert_eq!(std::fs::metadata(home.data()).unwrap().permissions().mode() & 0o7777, 0o1777);
    if !is_root("the second half of a_directory_that_others_control_is_refused") {
        return;
    }
    set_mode(home.data(), 0o700);
    chown(home.data(), Some(nobody().uid.as_raw()), None).unwrap();
    let message = home.try_start().await.unwrap_err().to_string();
    assert!(message.contains(&format!("it belongs to user id {}", nobody().uid)), "{message}");
}

#[tokio::test]
async fn no_programs_is_one_message_with_the_ways_out() {
    let home = Home::new("none");
    let settings = Settings { data_dir: home.data().to_path_buf(), bin_dir: Some(home.path.clone()) };
    let message = Embedded::start(settings).await.unwrap_err().to_string();
    for part in [
        &format!("looked in: {}", home.path.display()),
        "DATABASE_URL=",
        "apt-get install -y postgresql",
        "brew install postgresql@15",
        "make run",
        "CHANCERY_DATABASE_POSTGRES_BIN_DIR=",
    ] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
}

#[tokio::test]
async fn a_cluster_of_another_version_is_refused() {
    let home = Home::new("version");
    stop(home.start().await).await;
    let major = std::fs::read_to_string(home.cluster().join("PG_VERSION")).unwrap();
    std::fs::write(home.cluster().join("PG_VERSION"), "9\n").unwrap();
    let message = home.try_start().await.unwrap_err().to_string();
    assert!(message.contains("was made by PostgreSQL 9,"), "{message}");
    assert!(message.contains(&format!("of version {} (", major.trim())), "{message}");
    // What is no cluster at all is left alone.
    std::fs::remove_file(home.cluster().join("PG_VERSION")).unwrap();
    let message = home.try_start().await.unwrap_err().to_string();
    assert!(message.contains("holds no PostgreSQL cluster (PG_VERSION: "), "{message}");
    assert!(home.cluster().join("base").exists());
}
