//! Join tokens: which hosts may become nodes by showing a secret that an administrator was given.
//!
//! A token lets one host in, once, until a cluster time. Only the hash of its secret is here. The
//! host that it let in may ask again and is told the same, also after the token has run out: it
//! may have been interrupted before it heard the first answer.
//!
//! Cluster time decides, not the clock of the member that a host talks to.

use stead_model::change::Change;
use stead_model::reason::{Code, Reason};
use stead_model::token::{Shown, Token, TokenHash, TokenUse};
use stead_model::{NodeId, UtcMillis};

use super::Db;

/// Tokens that are good at once.
const TOKENS_MAX: usize = 16;
/// A token is good for a day at most.
const MINUTES_MAX: u32 = 24 * 60;
const MINUTE_MS: u64 = 60_000;

/// Makes a token.
pub(crate) fn make(
    db: &Db,
    at: UtcMillis,
    (token, minutes): (TokenHash, u32),
) -> Result<Change, Reason> {
    let refused = |code| Reason::new(code, "cannot make a join token");
    if !(1..=MINUTES_MAX).contains(&minutes) {
        return Err(refused(Code::Invalid)
            .because(format!("it cannot be good for {minutes} minutes"))
            .hint(format!("from 1 to {MINUTES_MAX} minutes are possible")));
    }
    if db.tokens.contains_key(&token) {
        return Err(refused(Code::Exists).because("there is one with this secret"));
    }
    let good = db.tokens.values().filter(|token| at < token.until);
    if good.count() >= TOKENS_MAX {
        return Err(refused(Code::TooMuch)
            .because(format!("{TOKENS_MAX} are good already"))
            .hint("use one of them, or wait until some run out"));
    }
    let until = UtcMillis(at.0.saturating_add(u64::from(minutes) * MINUTE_MS));
    Ok(Change::TokenMade { token, until })
}

/// Whether a host may be let in by a token: the node that it is already, if it was let in before.
pub(crate) fn admitted(db: &Db, at: UtcMillis, shown: Shown) -> Result<Option<NodeId>, Reason> {
    let refused = |cause: String| {
        Err(Reason::new(Code::Conflict, "the join token is refused")
            .because(cause)
            .hint("a node of the cluster makes another one: `stead cluster token`"))
    };
    match db.tokens.get(&shown.token) {
        None => refused("it is none of this cluster, or ran out long ago".into()),
        Some(Token { used: Some(used), .. }) if used.by == shown.by => Ok(Some(used.node)),
        Some(Token { used: Some(used), .. }) => {
            refused(format!("it was used: it let {} in, and is good for one host", used.node))
        }
        Some(Token { until, .. }) if at >= *until => {
            let minutes = (at.0 - until.0) / MINUTE_MS;
            refused(format!("it ran out {minutes} minutes ago"))
        }
        Some(_) => Ok(None),
    }
}

impl Db {
    /// Gives the one that had this hash.
    pub(super) fn make_token(&mut self, token: TokenHash, until: UtcMillis) -> Option<Token> {
        let at = self.at;
        self.tokens.retain(|_, token| at < token.until);
        self.tokens.insert(token, Token { until, used: None })
    }

    /// Gives whom it had let in.
    pub(super) fn use_token(&mut self, token: &TokenHash, used: TokenUse) -> Option<TokenUse> {
        self.tokens.get_mut(token)?.used.replace(used)
    }
}
