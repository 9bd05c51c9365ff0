//! The tokens of one agent: the list of them, and their end all at once.

use serde_json::{Value, json};
use time::Duration;

use crate::server::{Answer, Server};
use crate::tools::members;
use crate::world::MOUNTS;

impl Server {
    async fn list_tokens(&self, id: &str, query: &str) -> Vec<Value> {
        let path = format!("/agents/{id}/tokens{query}");
        let body = self.admin("GET", &path).send().await.expect(200).body;
        assert_eq!(members(&body), ["data"]);
        body["data"].as_array().unwrap().clone()
    }

    async fn revoke_all(&self, id: &str) -> Answer {
        self.admin("POST", &format!("/agents/{id}/tokens/revoke-all")).send().await
    }
}

fn jtis(tokens: &[Value]) -> Vec<String> {
    tokens.iter().map(|token| token["jti"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_list_shows_what_stands_newest_first_and_the_rest_when_asked() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    assert!(server.list_tokens(&id, "").await.is_empty());
    let mut issued = Vec::new();
    for _ in 0..4 {
        issued.push(server.root(&key).await);
        server.app.clock.advance(Duration::minutes(20));
    }
    // The first has expired; the second is revoked.
    server.post("/oauth2/token/revoke").form(&[("token", &issued[1].token)]).send().await.expect(200);
    let newest_first =
        |places: &[usize]| places.iter().map(|at| issued[*at].jti.to_string()).collect::<Vec<_>>();
    let listed = server.list_tokens(&id, "").await;
    assert_eq!(jtis(&listed), newest_first(&[3, 2]));
    let all = server.list_tokens(&id, "?include_revoked=true").await;
    assert_eq!(jtis(&all), newest_first(&[3, 2, 1, 0]));
    let active: Vec<_> = all.iter().map(|token| token["active"].as_bool().unwrap()).collect();
    assert_eq!(active, [true, true, false, false]);
    assert_eq!(
        (&all[2]["revoke_reason"], &all[2]["revoked_at"]),
        (&json!("oauth2_revocation"), &json!("2026-12-01T13:20:00.123456Z"))
    );
    assert!(all[3].get("revoked_at").is_none() && all[3].get("revoke_reason").is_none(), "only expired");
    assert_eq!(jtis(&server.list_tokens(&id, "?limit=1").await), newest_first(&[3]));
    assert_eq!(
        jtis(&server.list_tokens(&id, "?limit=3&include_revoked=true").await),
        newest_first(&[3, 2, 1])
    );
    for bad in ["limit=0", "limit=201", "limit=x"] {
        server.admin("GET", &format!("/agents/{id}/tokens?{bad}")).send().await.problem(422);
    }
    server.admin("GET", &format!("/agents/{id}/tokens?include_revoked=perhaps")).send().await.problem(400);
}

#[tokio::test]
async fn a_row_of_the_list_has_what_clients_read_and_no_null() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    let (other, _) = server.agent("helper").await;
    let root = server.root(&key).await;
    let child = server.child(&root, &other).await;
    server.alter(&child, "jkt = 'thumb', scopes = array['a', 'b']").await;
    for mount in MOUNTS {
        let path = format!("{mount}/agents/{id}/tokens");
        let row = server.admin("GET", &path).send().await.expect(200).body["data"][0].clone();
        let expected = json!({
            "id": root.jti, "jti": root.jti, "agent_id": id, "client_id": "", "grant_type": "api_key",
            "user_id": "dev@company.example", "scope": "", "audience": ["http://127.0.0.1:8899"],
            "delegation_depth": 0, "created_at": "2026-12-01T12:00:00Z", "expires_at": "2026-12-01T13:00:00Z",
            "active": true,
        });
        assert_eq!(row, expected);
        assert!(!row.to_string().contains(&root.token[40..80]));
    }
    let row = server.list_tokens(&other, "").await[0].clone();
    assert_eq!([&row["jkt"], &row["dpop_jkt"], &row["scope"]], ["thumb", "thumb", "a b"]);
    let subject = server.read(&id).await["wimse_uri"].clone();
    assert_eq!((&row["delegation_subject"], &row["delegation_depth"]), (&subject, &json!(1)));
}

#[tokio::test]
async fn the_list_tells_the_nearest_marks_reason_and_time() {
    let server = Server::new().await;
    let (a, key) = server.agent("a").await;
    let (b, _) = server.agent("b").await;
    let (c, _) = server.agent("c").await;
    let root = server.root(&key).await;
    let links = server.chain(&root, &[&b, &c]).await;
    let told = async |id: &str| {
        let row = server.list_tokens(id, "?include_revoked=true").await[0].clone();
        (
            row["revoke_reason"].as_str().unwrap_or_default().to_owned(),
            row["revoked_at"].as_str().map(str::to_owned),
        )
    };
    server.act(&a, "deactivate").await.expect(200);
    let first = ("identity_deactivated".to_owned(), Some("2026-12-01T12:00:00.123456Z".to_owned()));
    for id in [&a, &b, &c] {
        assert_eq!(told(id).await, first);
        assert!(server.list_tokens(id, "").await.is_empty());
    }
    server.app.clock.advance(Duration::minutes(1));
    server.post("/oauth2/token/revoke").form(&[("token", &links[0].token)]).send().await.expect(200);
    let second = ("oauth2_revocation".to_owned(), Some("2026-12-01T12:01:00.123456Z".to_owned()));
    assert_eq!([told(&a).await, told(&b).await, told(&c).await], [first, second.clone(), second]);
}

#[tokio::test]
async fn revoke_all_ends_every_token_and_what_hangs_below_and_leaves_state_and_keys() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (id, key) = server.agent("fetcher").await;
    let (other, other_key) = server.agent("helper").await;
    let (one, two) = (server.root(&key).await, server.root(&key).await);
    let dead = server.root(&key).await;
    server.post("/oauth2/token/revoke").form(&[("token", &dead.token)]).send().await.expect(200);
    let child = server.child(&one, &other).await;
    let others = server.root(&other_key).await;
    let delegated = server.child(&others, &id).await;
    let nodes = [one, two, child, delegated, others];
    assert_eq!(server.active(&nodes).await, [0, 1, 2, 3, 4]);
    let before = server.read(&id).await;
    let answer = server.revoke_all(&id).await.expect(200).body;
    assert_eq!(members(&answer), ["agent_id", "audit_event_id", "count", "revoked_count"]);
    assert_eq!(
        (&answer["agent_id"], &answer["revoked_count"], &answer["count"]),
        (&json!(id), &json!(4), &json!(4))
    );
    for server in [&server, &replica] {
        assert_eq!(server.active(&nodes).await, [4]);
    }
    assert_eq!(server.read(&id).await["status"], before["status"]);
    assert_eq!(server.read(&id).await["api_key_prefix"], before["api_key_prefix"]);
    let row = format!(
        "select concat_ws(' ', action, outcome, target_id, metadata) from audit_events where id = '{}'",
        answer["audit_event_id"].as_str().unwrap()
    );
    let told = format!("agent.tokens_revoked success {id} {{\"revoked_token_count\": 4}}");
    assert_eq!(server.text_from_sql(row).await, told);
    // What is issued now stands, and a second time there is only that.
    let new = server.root(&key).await;
    assert!(server.is_active(&new.token).await);
    assert_eq!(server.revoke_all(&id).await.expect(200).body["revoked_count"], 1);
    assert_eq!(server.revoke_all(&id).await.expect(200).body["revoked_count"], 0);
    assert!(!server.is_active(&new.token).await && server.key_works(&key).await);
}

#[tokio::test]
async fn revoke_all_wants_an_agent_of_the_tenant_and_a_scope_for_credentials() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    let root = server.root(&key).await;
    let paths =
        [("GET", format!("/agents/{id}/tokens")), ("POST", format!("/agents/{id}/tokens/revoke-all"))];
    for (method, path) in &paths {
        server.call(method, path).tenant("evil", "demo").send().await.problem(404);
        server.admin(method, &path.replace(&id, "nonsense")).send().await.problem(422);
        for (scope, status) in [("nhi:manager", 403), ("vault:read", 403)] {
            let admin = server.admin_key(Some(("acme", "demo")), &[scope]).await;
            server.call(method, path).bearer(&admin).send().await.problem(status);
        }
    }
    assert!(server.is_active(&root.token).await);
    for (scope, count) in [("credentials:manage", 1), ("nhi:manage", 0)] {
        let admin = server.admin_key(Some(("acme", "demo")), &[scope]).await;
        for (method, path) in &paths {
            let answer = server.call(method, path).bearer(&admin).send().await.expect(200);
            assert!(method == &"GET" || answer.body["count"] == count, "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn several_who_revoke_all_at_once_count_each_token_once() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (id, key) = server.agent("fetcher").await;
    for _ in 0..5 {
        server.root(&key).await;
    }
    let answers = tokio::join!(server.revoke_all(&id), replica.revoke_all(&id), server.revoke_all(&id));
    let counts =
        [answers.0, answers.1, answers.2].map(|answer| answer.expect(200).body["count"].as_i64().unwrap());
    assert_eq!(counts.iter().sum::<i64>(), 5, "{counts:?}");
    assert!(server.list_tokens(&id, "").await.is_empty());
    assert_eq!(server.count("select count(distinct epoch) from revocations").await, 3);
}
