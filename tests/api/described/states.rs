//! Every state of what such a client rests on, at every moment: when it asks, when it redeems the code, when it refreshes.

use serde_json::json;

use super::{APP, Stage, document, refresh};
use crate::https::raw;
use crate::people::Ask;
use crate::server::{Answer, Server};
use crate::tools::credentials;

/// What stands against the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    TenantSuspended,
    PersonInactive,
    /// Deactivated, and made usable again.
    PersonInNewEpoch,
    ConsentRevoked,
    DocumentGone,
    /// Nobody answers at its URL.
    DocumentSilent,
    DocumentOfAnother,
    DocumentWithoutRedirect,
    DocumentWithoutScope,
    DocumentWithoutRefresh,
}

use State as S;

const STATES: [State; 10] = [
    S::TenantSuspended,
    S::PersonInactive,
    S::PersonInNewEpoch,
    S::ConsentRevoked,
    S::DocumentGone,
    S::DocumentSilent,
    S::DocumentOfAnother,
    S::DocumentWithoutRedirect,
    S::DocumentWithoutScope,
    S::DocumentWithoutRefresh,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Start,
    Redeem,
    Refresh,
}

/// Status and error, and whether the log of the person's tenant tells of it; an empty error for what is let through.
fn verdict(state: State, moment: Moment) -> (u16, &'static str, bool) {
    let refused = (400, "invalid_grant", true);
    match (state, moment) {
        (S::TenantSuspended | S::PersonInactive | S::PersonInNewEpoch, Moment::Start) => {
            (401, "login_required", false)
        }
        // The person is asked anew.
        (S::ConsentRevoked, Moment::Start) => (200, "", false),
        (S::TenantSuspended | S::PersonInactive | S::PersonInNewEpoch | S::ConsentRevoked, _) => refused,
        (S::DocumentGone | S::DocumentOfAnother, _) => (401, "invalid_client", false),
        (S::DocumentSilent, _) => (503, "temporarily_unavailable", false),
        (S::DocumentWithoutRedirect, moment) => match moment {
            Moment::Start => (400, "invalid_request", false),
            Moment::Redeem => refused,
            // Nobody is sent anywhere.
            Moment::Refresh => (200, "", false),
        },
        // At the start the person is known already.
        (S::DocumentWithoutScope, _) => (400, "invalid_scope", true),
        (S::DocumentWithoutRefresh, moment) => match moment {
            Moment::Start => (302, "", false),
            Moment::Redeem => (200, "", false),
            Moment::Refresh => (400, "unauthorized_client", false),
        },
    }
}

/// What the client has when the state comes about.
struct Held {
    code: String,
    refresh_token: String,
}

impl Stage {
    async fn ask_at(&self, server: &Server, moment: Moment, held: &Held) -> Answer {
        match moment {
            Moment::Start => server.get(&Ask::of(&self.url).path()).with("Cookie", &self.cookie).send().await,
            Moment::Redeem => server.redeem(&self.url, &held.code, &[]).await,
            Moment::Refresh => refresh(server, &self.url, &held.refresh_token).await,
        }
    }

    async fn set(&self, state: State) {
        let (server, person) = (&self.server, &self.person);
        let changed = |name: &str, value| {
            let mut document = document(&self.url);
            document[name] = value;
            self.site.json(APP, document);
        };
        match state {
            S::TenantSuspended => drop(server.run_sql("update tenants set state = 'suspended'").await),
            S::PersonInactive | S::PersonInNewEpoch => {
                server.admin("DELETE", &format!("/users/{person}")).send().await.expect(204);
                if state == S::PersonInNewEpoch {
                    let path = format!("/users/{person}/activate");
                    server.admin("POST", &path).send().await.expect(200);
                }
            }
            S::ConsentRevoked => {
                let listed = server.admin("GET", "/admin/oauth/consents").send().await.expect(200);
                let id = listed.body["data"][0]["id"].as_str().unwrap();
                server.admin("DELETE", &format!("/admin/oauth/consents/{id}")).send().await.expect(200);
            }
            S::DocumentGone => self.site.set(APP, raw("404 Not Found", "")),
            S::DocumentSilent => self.site.set(APP, raw("503 Busy", "")),
            S::DocumentOfAnother => changed("client_id", json!(self.site.url("/other.json"))),
            S::DocumentWithoutRedirect => changed("redirect_uris", json!(["https://new.example/cb"])),
            S::DocumentWithoutScope => changed("scope", json!("z")),
            S::DocumentWithoutRefresh => changed("grant_types", json!(["authorization_code"])),
        }
    }

    /// Takes the state back, where anything does.
    async fn undo(&self, state: State) -> bool {
        self.site.json(APP, document(&self.url));
        match state {
            S::TenantSuspended => drop(self.server.run_sql("update tenants set state = 'active'").await),
            S::PersonInactive => {
                let path = format!("/users/{}/activate", self.person);
                self.server.admin("POST", &path).send().await.expect(200);
            }
            _ => {}
        }
        !matches!(state, S::PersonInactive | S::PersonInNewEpoch | S::ConsentRevoked)
    }

    async fn rows(&self) -> i64 {
        self.server
            .count("select count(*) from audit_events where outcome = 'refused' and account_id = 'acme'")
            .await
    }
}

/// One cell, on servers that have not seen the document before.
async fn cell(state: State, moment: Moment) -> Result<(), String> {
    let stage = Stage::new().await;
    let (_, refresh_token) = stage.tokens().await;
    let held = Held { code: stage.code().await, refresh_token };
    stage.set(state).await;
    let (before, rows) = (credentials(&stage.server).await, stage.rows().await);
    let answer = stage.ask_at(&stage.server.replica().await, moment, &held).await;
    let (status, error, has_row) = verdict(state, moment);
    let found = (answer.status.as_u16(), answer.text_of("error"), stage.rows().await - rows);
    if found != (status, error, i64::from(has_row)) {
        return Err(format!("{found:?}: {}", answer.text));
    }
    if error.is_empty() {
        return Ok(());
    }
    if credentials(&stage.server).await != before || !answer.header("location").is_empty() {
        return Err("something came of it".to_owned());
    }
    // What was refused was not used up.
    let passes = stage.undo(state).await;
    let again = stage.ask_at(&stage.server.replica().await, moment, &held).await;
    let good = again.status.is_success() || again.status.is_redirection();
    if good == passes { Ok(()) } else { Err(format!("afterwards: {}", again.text)) }
}

#[tokio::test]
async fn every_state_is_asked_for_at_every_moment() {
    let mut faults = Vec::new();
    let mut cells = 0;
    for state in STATES {
        for moment in [Moment::Start, Moment::Redeem, Moment::Refresh] {
            cells += 1;
            if let Err(fault) = cell(state, moment).await {
                faults.push(format!("{state:?} × {moment:?}: {fault}"));
            }
        }
    }
    println!("{cells} cells of clients that describe themselves");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
