//! Clients whose `client_id` is the URL of a document that describes them.

use chancery::clients::{self, Evidence};
use chancery::kit::error::{Error, Kind, Refused};
use serde_json::{Value, json};
use time::Duration;

use crate::https::{Reply, Site, ca_file, raw};
use crate::party::TOKEN_EXCHANGE;
use crate::server::Server;
use crate::tools::assert_error;

/// A server that may fetch from this machine.
pub async fn fetching() -> Server {
    Server::with(|config| {
        config.clients.metadata_documents = true;
        config.outbound.allow_private = "127.0.0.0/8".parse().unwrap();
        config.outbound.ca_file = ca_file();
    })
    .await
}

fn document(url: &str) -> Value {
    json!({
        "client_id": url, "client_name": "Inspector", "redirect_uris": ["http://127.0.0.1:7777/callback"],
        "grant_types": ["authorization_code", "refresh_token"], "token_endpoint_auth_method": "none",
    })
}

async fn look(server: &Server, client_id: &str) -> Option<Evidence> {
    clients::for_authorization(&server.app, client_id, server.app.clock.now()).await.unwrap()
}

#[tokio::test]
async fn a_document_is_a_public_client_that_is_stored_nowhere() {
    let (server, site) = (fetching().await, Site::start().await);
    let url = site.url("/client");
    site.json("/client", document(&url));
    let found = look(&server, &url).await.unwrap();
    assert!(found.client.is_described() && found.client.is_public() && found.holding.is_none());
    assert_eq!((found.client.row(), found.client.ceiling()), (None, None));
    assert_eq!(found.client.name, "Inspector");
    assert_eq!(server.count("select count(*) from oauth_clients").await, 0);
}

#[tokio::test]
async fn it_is_fetched_once_by_many_and_again_when_its_time_is_over() {
    let (server, site) = (fetching().await, Site::start().await);
    let url = site.url("/client");
    let head = "200 OK\r\nContent-Type: application/json\r\nCache-Control: max-age=100";
    site.set("/client", raw(head, &document(&url).to_string()));
    let looks =
        tokio::join!(look(&server, &url), look(&server, &url), look(&server, &url), look(&server, &url));
    assert!(looks.0.is_some() && looks.1.is_some() && looks.2.is_some() && looks.3.is_some());
    server.app.clock.advance(Duration::seconds(99));
    look(&server, &url).await.unwrap();
    assert_eq!(site.hits(), 1);
    server.app.clock.advance(Duration::seconds(1));
    site.set("/client", raw(head, "{}"));
    assert!(look(&server, &url).await.is_none(), "what its owner took back is gone");
    assert_eq!(site.hits(), 2);
    server.app.clock.advance(Duration::seconds(59));
    site.json("/client", document(&url));
    assert!(look(&server, &url).await.is_none());
    server.app.clock.advance(Duration::seconds(1));
    assert!(look(&server, &url).await.is_some());
    assert_eq!(site.hits(), 3);
}

#[tokio::test]
async fn an_owner_who_does_not_answer_is_a_matter_of_seconds() {
    let (server, site) = (fetching().await, Site::start().await);
    let url = site.url("/client");
    site.set("/client", raw("503 Busy", ""));
    for _ in 0..2 {
        let outcome = clients::for_authorization(&server.app, &url, server.app.clock.now()).await;
        assert!(matches!(outcome, Err(Error::Refused(Refused { kind: Kind::Unavailable, .. }))));
    }
    assert_eq!(site.hits(), 1);
    server.app.clock.advance(Duration::seconds(10));
    site.json("/client", document(&url));
    assert!(look(&server, &url).await.is_some());
}

#[tokio::test]
async fn what_is_no_fit_document_is_no_client() {
    let (server, site) = (fetching().await, Site::start().await);
    let url = |path: &str| site.url(path);
    site.json("/other", document(&url("/client")));
    site.json("/large", {
        let mut large = document(&url("/large"));
        large["description"] = json!("x".repeat(5120));
        large
    });
    site.set("/moved", raw(&format!("302 Found\r\nLocation: {}", url("/client")), ""));
    site.json("/client", document(&url("/client")));
    site.set("/page", raw("200 OK\r\nContent-Type: text/html", &document(&url("/page")).to_string()));
    for path in ["/other", "/large", "/moved", "/page", "/none"] {
        assert!(look(&server, &url(path)).await.is_none(), "{path}");
    }
    let before = site.hits();
    for id in
        [url("/"), url("/client?x=1"), url("/client#x"), url("/x/../client"), format!("{} ", url("/client"))]
    {
        assert!(look(&server, &id).await.is_none(), "{id}");
    }
    assert_eq!(site.hits(), before, "these are not even asked for");
    assert!(look(&server, &url("/client")).await.is_some());
}

#[tokio::test]
async fn a_row_always_wins() {
    let (server, site) = (fetching().await, Site::start().await);
    let url = site.url("/client");
    site.json("/client", document(&url));
    let (agent, _) = server.agent("a").await;
    server.program("registered", &agent, json!({})).await;
    // No such name can be registered today; one that came here otherwise still wins.
    sqlx::query("update oauth_clients set client_id = $1, is_active = false")
        .bind(&url)
        .execute(&server.app.db)
        .await
        .unwrap();
    let found = look(&server, &url).await.unwrap();
    assert!(!found.client.is_described() && !found.client.is_active);
    assert_eq!(site.hits(), 0);
}

#[tokio::test]
async fn settings_turn_it_off_and_name_the_hosts() {
    let site = Site::start().await;
    let url = site.url("/client");
    site.json("/client", document(&url));
    for (on, hosts, found) in [
        (false, "", false),
        (true, "app.example, 127.0.0.1", true),
        (true, "app.example", false),
        (true, "", true),
    ] {
        let server = fetching().await;
        let server = server
            .replica_with(|config| {
                config.clients.metadata_documents = on;
                hosts.clone_into(&mut config.clients.metadata_document_hosts);
            })
            .await;
        let before = site.hits();
        assert_eq!(look(&server, &url).await.is_some(), found, "{on} {hosts}");
        assert_eq!(site.hits() - before, usize::from(found));
    }
}

#[tokio::test]
async fn elsewhere_such_a_name_is_an_unknown_client_and_nothing_is_fetched() {
    let (server, site) = (fetching().await, Site::start().await);
    let url = site.url("/client");
    site.json("/client", document(&url));
    let (_, key) = server.agent("a").await;
    let token = server.token(&key).await;
    for path in ["/oauth2/token/introspect", "/oauth2/token/revoke"] {
        let answer = server.post(path).form(&[("token", &token), ("client_id", &url)]).send().await;
        assert_error(&answer, 401, "invalid_client");
    }
    for grant in ["client_credentials", "api_key", TOKEN_EXCHANGE] {
        let form = [
            ("grant_type", grant),
            ("client_id", &url),
            ("api_key", &key),
            ("subject_token", &token),
            ("scope", "a"),
        ];
        assert_error(&server.post("/oauth2/token").form(&form).send().await, 401, "invalid_client");
    }
    assert_eq!(site.hits(), 0);
}

#[tokio::test]
async fn a_private_host_is_never_asked() {
    let (server, site) = (Server::new().await, Site::start().await);
    site.set("/client", Reply::Json(document(&site.url("/client"))));
    for url in [site.url("/client"), "https://169.254.169.254/client".to_owned()] {
        assert!(look(&server, &url).await.is_none(), "{url}");
    }
    assert_eq!(site.hits(), 0);
}
