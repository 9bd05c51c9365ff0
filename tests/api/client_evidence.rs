//! What issuing finds of a client in its one read.

use chancery::clients::{AuthMethod, ClientType};
use chancery::kit::db::rows;
use serde_json::{Value, json};
use time::Duration;

use crate::server::{START, Server};
use crate::world::PEM;

/// The external id of the identity that is found with a client, "" for none.
async fn found(server: &Server, client_id: &str) -> String {
    let evidence = server.client_evidence(client_id).await.unwrap();
    evidence.holding.map(|holding| holding.holder.external_id).unwrap_or_default()
}

#[tokio::test]
async fn a_client_is_found_as_it_was_registered() {
    let server = Server::new().await;
    assert!(server.client_evidence("worker").await.is_none());
    let more = json!({
        "confidential": true, "token_endpoint_auth_method": "client_secret_post", "scopes": ["a", "b"],
        "redirect_uris": ["https://app.example/cb"], "access_token_ttl": 60, "refresh_token_ttl": 90,
        "token_profile": "rfc8693", "grant_types": ["token_exchange"],
    });
    let made = server.register_client("worker", more).await.expect(201);
    let client = server.client_evidence("worker").await.unwrap().client;
    assert_eq!(client.id.to_string(), made.body["client"]["id"]);
    assert_eq!((client.tenant.account_id.as_str(), client.tenant.project_id.as_str()), ("acme", "demo"));
    assert_eq!(
        (client.client_type, client.auth_method),
        (ClientType::Confidential, AuthMethod::ClientSecretPost)
    );
    assert_eq!(
        (client.scopes, client.grant_types),
        (vec!["a".into(), "b".into()], vec!["token_exchange".into()])
    );
    assert_eq!((client.access_token_ttl, client.refresh_token_ttl), (60, 90));
    assert_eq!((client.token_profile.as_deref(), client.identity_id), (Some("rfc8693"), None));
    assert_eq!((client.is_active, client.epoch, client.tenant_active), (true, 0, true));
    assert_eq!((client.redirect_uris.len(), client.created_at), (1, START));
    // To the letter: no other spelling finds it.
    for other in ["Worker", "worker ", "worke", "%", ""] {
        assert!(server.client_evidence(other).await.is_none(), "{other}");
    }
}

#[tokio::test]
async fn the_identity_is_the_bound_one_or_the_one_of_the_same_name() {
    let server = Server::new().await;
    let agent = server.register("fetcher", json!({ "public_key_pem": PEM })).await.expect(201);
    let agent = agent.body["identity"]["id"].as_str().unwrap();
    server.register_client("alone", Value::Null).await.expect(201);
    assert_eq!(found(&server, "alone").await, "");
    server.register_client("fetcher", Value::Null).await.expect(201);
    assert_eq!(found(&server, "fetcher").await, "fetcher");
    server.register_client("bound", json!({ "identity_id": agent })).await.expect(201);
    assert_eq!(found(&server, "bound").await, "fetcher");
    let holding = server.client_evidence("bound").await.unwrap().holding.unwrap();
    assert_eq!(holding.public_key_pem.as_deref(), Some(PEM));
    assert!(holding.policy.is_some() && holding.tenant_active);
    // An agent that comes later under the name, and one of the name that is not the bound one.
    server.agent("alone").await;
    assert_eq!(found(&server, "alone").await, "alone");
    server.agent("bound").await;
    assert_eq!(found(&server, "bound").await, "fetcher");
    // Another tenant's agent of the name is nobody's.
    let body = json!({ "name": "A", "external_id": "lonely", "created_by": "u-1" });
    server.call("POST", "/agents/register").tenant("evil", "demo").json(body).send().await.expect(201);
    server.register_client("lonely", Value::Null).await.expect(201);
    assert_eq!(found(&server, "lonely").await, "");
    // Not even when a row says so.
    server
        .run_sql(
            "update oauth_clients set identity_id = (select id from identities where account_id = 'evil')
             where client_id = 'lonely'",
        )
        .await;
    assert_eq!(found(&server, "lonely").await, "");
}

#[tokio::test]
async fn what_is_over_is_found_as_it_is() {
    let server = Server::new().await;
    let (agent, _) = server.agent("worker").await;
    let (id, secret) = server.confidential("worker").await;
    server.act(&agent, "deactivate").await.expect(200);
    server.patch_client(&id, json!({ "is_active": false })).await.expect(200);
    let evidence = server.client_evidence("worker").await.unwrap();
    assert_eq!((evidence.client.is_active, evidence.client.epoch), (false, 1));
    let holder = evidence.holding.unwrap().holder;
    assert_eq!((holder.status, holder.epoch), (chancery::agents::Status::Deactivated, 1));
    // The secret itself is still the secret: that the client may not use it is for the caller to say.
    assert!(server.secret_works("worker", &secret).await);
}

#[tokio::test]
async fn secrets_are_compared_by_their_hashes_under_any_pepper() {
    let server = Server::new().await;
    let (id, old) = server.confidential("worker").await;
    let rotated = server.act_on_client(&id, "rotate-secret", Value::Null).await.expect(200);
    let new = rotated.text_of("client_secret");
    let client = server.client_evidence("worker").await.unwrap().client;
    let hashes = |secret: &str| server.app.keys.hashes(secret);
    let other = vec![0; 32];
    for (secret, at, accepted) in [
        (new, START, true),
        (new, START + Duration::days(999), true),
        (&old, START, true),
        (&old, START + Duration::seconds(3599), true),
        (&old, START + Duration::seconds(3600), false),
        ("", START, false),
    ] {
        assert_eq!(client.accepts_secret(&hashes(secret), at), accepted, "{at}");
        let mut several = hashes(secret);
        several.insert(0, other.clone());
        several.push(other.clone());
        assert_eq!(client.accepts_secret(&several, at), accepted, "{at}");
    }
    assert!(!client.accepts_secret(&[], START) && !client.accepts_secret(&[vec![]], START));
    assert!(!format!("{client:?}").contains("mac"), "hashes are not shown");
    let public = server.register_client("public", Value::Null).await.expect(201);
    assert_eq!(public.text_of("client_secret"), "");
    let public = server.client_evidence("public").await.unwrap().client;
    assert!(public.is_public() && !client.is_public());
    assert!(!public.accepts_secret(&hashes(""), START) && !public.accepts_secret(&hashes(new), START));
}

#[tokio::test]
async fn a_row_that_carries_a_secret_is_no_public_client() {
    let server = Server::new().await;
    server.confidential("worker").await;
    server
        .run_sql("update oauth_clients set client_type = 'public', token_endpoint_auth_method = 'none'")
        .await;
    assert!(!server.client_evidence("worker").await.unwrap().client.is_public());
}

#[tokio::test]
async fn the_read_goes_by_indexes() {
    let server = Server::new().await;
    server.confidential("worker").await;
    server.agent("worker").await;
    for (table, name) in [("identities", "external_id"), ("oauth_clients", "client_id")] {
        let more = server
            .run_sql(format!(
                "insert into {table} select (jsonb_populate_record(t, jsonb_build_object('id', gen_random_uuid(),
                     '{name}', 'many' || n, 'wimse_uri', 'spiffe://many/' || n))).*
                 from {table} t, generate_series(1, 3000) n"
            ))
            .await;
        assert_eq!(more, 3000);
    }
    server.run_sql("analyze").await;
    let mut db = server.app.connection().await.unwrap();
    let mut scans = Vec::new();
    for _ in 0..2 {
        for client_id in ["worker", "many7"] {
            let found = chancery::clients::find(&mut db, &[client_id.to_owned()]).await.unwrap().remove(0);
            let found: Option<chancery::clients::Evidence> = rows::read(found).unwrap();
            assert!(found.unwrap().holding.is_some());
        }
        // What this connection did is known to the statistics when the statement after this one begins.
        sqlx::query("select pg_stat_force_next_flush()").execute(&mut *db).await.unwrap();
        let scanned =
            "select string_agg(relname || ' ' || seq_scan, ', ' order by relname) from pg_stat_user_tables
             where relname in ('identities', 'oauth_clients')";
        scans.push(sqlx::query_scalar::<_, String>(scanned).fetch_one(&mut *db).await.unwrap());
    }
    assert_eq!(scans[0], scans[1], "no table is read from end to end");
}
