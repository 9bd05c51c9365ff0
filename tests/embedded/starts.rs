use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use nix::unistd::geteuid;
use sqlx::{Connection, PgConnection};

use crate::helper::Helper;
use crate::support::{
    Home, connect, exists, is_root, nobody, rows, runs, stop, unprivileged, until, write_row,
};

fn mode(path: impl AsRef<std::path::Path>) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

#[tokio::test]
async fn rows_survive_a_stop_and_a_later_start() {
    let home = Home::new("later");
    let embedded = home.start().await;
    write_row(&embedded).await;
    // An open transaction does not hold up the stop.
    let mut open = connect(&embedded).await;
    sqlx::query("begin").execute(&mut open).await.unwrap();
    sqlx::query("insert into kept values ('lost')").execute(&mut open).await.unwrap();
    stop(embedded).await;
    let embedded = home.start().await;
    assert_eq!(rows(&embedded).await, 1);
    let mut other = PgConnection::connect_with(&embedded.options_for("template1")).await.unwrap();
    other.ping().await.unwrap();
    stop(embedded).await;
}

#[tokio::test]
async fn the_cluster_is_durable_private_and_off_the_network() {
    let home = Home::new("settings");
    let embedded = home.start().await;
    let mut connection = connect(&embedded).await;
    for (name, wanted) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", ""),
        ("unix_socket_permissions", "0700"),
        ("server_encoding", "UTF8"),
        ("timezone", "UTC"),
        ("max_connections", "100"),
    ] {
        let setting: String = sqlx::query_scalar("select current_setting($1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(setting, wanted, "{name}");
    }
    let (role, database): (String, String) =
        sqlx::query_as("select current_user::text, current_database()::text")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!((role.as_str(), database.as_str()), ("chancery", "chancery"));
    let methods: Vec<String> = sqlx::query_scalar("select auth_method from pg_hba_file_rules")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(methods, ["peer"]);
    assert_eq!(mode(home.data()), if geteuid().is_root() { 0o711 } else { 0o700 });
    for private in ["postgres", "run"] {
        assert_eq!(mode(home.data().join(private)), 0o700, "{private}");
    }
    assert_eq!(mode(home.data().join("postgres.log")), 0o600);
    stop(embedded).await;
}

#[tokio::test]
async fn root_runs_postgres_as_an_unprivileged_user() {
    if !is_root("root_runs_postgres_as_an_unprivileged_user") {
        return;
    }
    let home = Home::new("asroot");
    let embedded = home.start().await;
    let owner = std::fs::metadata(format!("/proc/{}", embedded.pid())).unwrap().uid();
    assert_eq!(owner, unprivileged().uid.as_raw());
    assert_eq!(std::fs::metadata(home.cluster()).unwrap().uid(), owner);
    assert_eq!(std::fs::metadata(home.data()).unwrap().uid(), 0);
    stop(embedded).await;
}

#[tokio::test]
async fn a_cluster_keeps_the_user_that_owns_it() {
    if !is_root("a_cluster_keeps_the_user_that_owns_it") {
        return;
    }
    let home = Home::new("keeps");
    stop(home.start().await).await;
    let owner = format!("{}:{}", nobody().uid, nobody().gid);
    for part in [home.cluster(), home.data().join("run")] {
        assert!(
            std::process::Command::new("chown").args(["-R", &owner]).arg(part).status().unwrap().success()
        );
    }
    let embedded = home.start().await;
    let user = std::fs::metadata(format!("/proc/{}", embedded.pid())).unwrap().uid();
    assert_eq!(user, nobody().uid.as_raw());
    stop(embedded).await;
}

#[tokio::test]
async fn a_normal_user_runs_postgres_as_itself() {
    if !is_root("a_normal_user_runs_postgres_as_itself") {
        return;
    }
    let home = Home::new("normal");
    let user = nobody();
    chown(&home.path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    for expected in ["1", "2"] {
        let mut helper = Helper::spawn(&home, Some(&user));
        assert_eq!(helper.answer("rows"), expected);
        let pid: i32 = helper.answer("ready").parse().unwrap();
        assert_eq!(std::fs::metadata(format!("/proc/{pid}")).unwrap().uid(), user.uid.as_raw());
        assert_eq!(mode(home.data()), 0o700);
        // Not even root gets in: the map holds one name.
        let output = std::process::Command::new("psql")
            .args(["-w", "-U", "chancery", "-d", "chancery", "-c", "select 1", "-h"])
            .arg(home.data().join("run"))
            .output()
            .unwrap();
        let refusal = String::from_utf8_lossy(&output.stderr);
        assert!(refusal.contains("Peer authentication failed"), "{refusal}");
        helper.finish();
        assert!(!runs(pid));
    }
}

#[tokio::test]
async fn a_long_path_gets_its_socket_elsewhere() {
    let home = Home::with_data("long", &"x".repeat(100));
    let embedded = home.start().await;
    let socket = embedded.connect_options().get_socket().unwrap().clone();
    assert!(!socket.starts_with(home.data()), "{}", socket.display());
    assert_eq!(mode(&socket), 0o700);
    write_row(&embedded).await;
    stop(embedded).await;
    let embedded = home.start().await;
    assert_eq!(embedded.connect_options().get_socket(), Some(&socket));
    assert_eq!(rows(&embedded).await, 1);
    stop(embedded).await;
    std::fs::remove_dir_all(socket).unwrap();
}

#[tokio::test]
async fn the_directory_is_known_by_its_true_path() {
    let home = Home::with_data("link", "link");
    std::fs::create_dir(home.path.join("true, \"odd\" path")).unwrap();
    symlink(home.path.join("true, \"odd\" path"), home.data()).unwrap();
    let embedded = home.start().await;
    assert_eq!(embedded.directory(), home.path.join("true, \"odd\" path"));
    assert!(exists(embedded.pid()));
    stop(embedded).await;
}

#[tokio::test]
async fn an_initdb_that_was_interrupted_is_done_again() {
    let home = Home::new("initdb");
    // One that was killed at some point of its work, and one that left a half-made directory long ago.
    let mut helper = Helper::spawn(&home, None);
    let unfinished = home.data().join("postgres.new.1");
    until("initdb has begun", async || unfinished.join("PG_VERSION").exists() || home.cluster().exists())
        .await;
    helper.kill();
    let old = home.data().join("postgres.new.7");
    std::fs::create_dir(&old).unwrap();
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(old.join("PG_VERSION"), "15\n").unwrap();
    assert!(!home.cluster().exists(), "the kill came too late to test anything");
    let embedded = home.start().await;
    write_row(&embedded).await;
    assert_eq!(rows(&embedded).await, 1);
    assert!(!old.exists());
    stop(embedded).await;
}
