//! One private Postgres for the whole test binary, and in it one database per test, cloned from a migrated template.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use chancery::kit::db::embedded::{Embedded, Settings};
use chancery::kit::db::migrate;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

struct Cluster {
    postgres: Embedded,
    /// Ends the cluster when this process ends, however it ends: its standard input then closes.
    _janitor: Child,
}

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Options for a new database with every migration applied.
pub async fn database() -> PgConnectOptions {
    let cluster = tokio::task::spawn_blocking(|| CLUSTER.get_or_init(start)).await.unwrap();
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::SeqCst));
    let mut connection = PgConnection::connect_with(&cluster.postgres.options_for("postgres")).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("create database {name} template migrated")))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    cluster.postgres.options_for(&name)
}

/// On a thread with a runtime of its own: the cluster must outlive the runtime of the test that came first.
fn start() -> Cluster {
    let thread = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let data_dir = PathBuf::from(format!("/tmp/chancery-test-{}", std::process::id()));
            let postgres =
                Embedded::start(Settings { data_dir: data_dir.clone(), bin_dir: None }).await.unwrap();
            let janitor = janitor(postgres.pid(), &data_dir);
            make_template(&postgres).await;
            Cluster { postgres, _janitor: janitor }
        })
    });
    thread.join().unwrap()
}

async fn make_template(postgres: &Embedded) {
    let mut connection = PgConnection::connect_with(&postgres.options_for("postgres")).await.unwrap();
    sqlx::query("create database migrated").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    migrate(&postgres.options_for("migrated")).await.unwrap();
}

/// Waits for the end of this process, then stops Postgres and removes its directory.
fn janitor(pid: i32, data_dir: &std::path::Path) -> Child {
    let script = r#"cat >/dev/null; kill -INT "$1"; n=0
        while kill -0 "$1" 2>/dev/null && [ $n -lt 200 ]; do sleep 0.05; n=$((n+1)); done; rm -rf "$2""#;
    let mut child = Command::new("sh")
        .args(["-c", script, "janitor", &pid.to_string()])
        .arg(data_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().flush().unwrap();
    child
}
