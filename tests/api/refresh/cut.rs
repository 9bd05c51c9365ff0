//! The connection to the database is cut in the middle of a rotation: the record is written again, and the client holds one
//! working token in the end.

use crate::server::Server;
use crate::tools::credentials;

/// What the ledger writes for a rotation, in its order.
const TABLES: [&str; 4] = ["used_once", "credentials", "audit_events", "refresh_tokens"];

/// Lets the connection that writes into a table die, as often as said. The sequence does not go back with the transaction.
async fn cut(server: &Server, table: &str, deferred: bool, times: u32) {
    let kind = if deferred { "constraint trigger cut after" } else { "trigger cut before" };
    let each = if deferred { "deferrable initially deferred for each row" } else { "for each row" };
    for sql in [
        "create sequence cuts".to_owned(),
        format!(
            "create function cut() returns trigger language plpgsql as $$
             begin
                 if nextval('cuts') <= {times} then perform pg_terminate_backend(pg_backend_pid()); end if;
                 return new;
             end $$"
        ),
        format!("create {kind} insert on {table} {each} execute function cut()"),
    ] {
        server.run_sql(sql).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_at_any_statement_leaves_one_working_token() {
    for table in TABLES {
        for deferred in [false, true] {
            let server = Server::new().await;
            let who = server.public_refresher("app").await;
            let first = server.begin(&who).await;
            let before = credentials(&server).await;
            cut(&server, table, deferred, 2).await;
            let second = server.refresh(&who, &first.refresh).await.tokens();
            assert_eq!(server.text_from_sql("select last_value::text from cuts").await, "3", "{table}");
            assert_eq!(credentials(&server).await, before + 1, "{table}");
            assert!(server.is_active(&second.access).await, "{table}");
            assert!(server.refreshes(&who, &second.refresh).await, "{table}");
        }
    }
}

#[tokio::test]
async fn where_the_database_stays_away_the_token_is_not_spent() {
    for table in TABLES {
        let server = Server::new().await;
        let who = server.public_refresher("app").await;
        let first = server.begin(&who).await;
        // The group's own try and the three of the record alone.
        cut(&server, table, true, 4).await;
        let answer = server.refresh(&who, &first.refresh).await.expect(503);
        assert_eq!(answer.text_of("error"), "temporarily_unavailable");
        assert!(!answer.header("retry-after").is_empty());
        let second = server.refresh(&who, &first.refresh).await.tokens();
        assert!(server.refreshes(&who, &second.refresh).await, "{table}");
    }
}
