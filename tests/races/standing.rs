//! Whether tokens stand, and whether listeners were told that they ended.

use chancery::tokens::worker::announce;

use crate::pair::{Pair, at_once};
use crate::world::jti;

/// How a token stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub active: bool,
    /// Whether the agent and the client are of the epochs that the token bears.
    pub of_this_epoch: bool,
    /// How many events tell that it ended.
    pub told: i64,
}

/// What both servers and the view say of the tokens, which must be the same.
pub async fn standing(pair: &Pair, tokens: &[String]) -> Vec<Standing> {
    let ids: Vec<String> = tokens.iter().map(|token| jti(token)).collect();
    let rows: Vec<(bool, bool, i64)> = sqlx::query_as(
        "select a.revocation = '' and a.active_until > $2,
             i.epoch = a.agent_epoch and coalesce(o.epoch = a.client_epoch, true),
             (select count(*) from outbox e where e.subject_id = a.jti and e.event_type = 'credential.revoked')
         from unnest($1::uuid[]) with ordinality as wanted (jti, place)
         join credential_activity a on a.jti = wanted.jti
         join identities i on i.id = a.identity_id
         left join oauth_clients o on o.id = a.oauth_client_id
         order by place",
    )
    .bind(&ids)
    .bind(pair.one.app.clock.now())
    .fetch_all(&pair.one.app.db)
    .await
    .unwrap();
    assert_eq!(rows.len(), tokens.len());
    let asked = tokens.iter().map(|token| {
        let (one, two, token) = (pair.one.clone(), pair.two.clone(), token.clone());
        async move { (one.is_active(&token).await, two.is_active(&token).await) }
    });
    let answers = at_once(asked).await;
    let both = rows.into_iter().zip(answers);
    both.map(|((active, of_this_epoch, told), answers)| {
        assert_eq!(answers, (active, active), "the servers and the view disagree");
        Standing { active, of_this_epoch, told }
    })
    .collect()
}

/// Both servers' workers at once, until every mark is announced.
pub async fn settle(pair: &Pair) {
    while pair.one.count("select count(*) from revocations where announced_at is null").await > 0 {
        let (one, two) = tokio::join!(announce(&pair.one.app), announce(&pair.two.app));
        one.and(two).unwrap();
    }
}
