//! The token of a managed connector: its own, made here, sealed at once for its composer, shown to nobody.

use ferrocti_access::token;
use ferrocti_accounts::{Acting, admitted, end_token, issue_token};
use ferrocti_catalog::{Envelope, PublicKey, Secret};
use ferrocti_store::{Composer, Connector, Snapshot, Tx, User};

use crate::{
    ConnectorError, Connectors,
    lease::Fence,
    managed::{Managed, SealedToken},
};

/// A token was made. To be kept until the transaction has ended, as what is in it.
#[derive(Debug)]
#[must_use = "see `Fence`"]
pub(crate) struct Minted {
    /// The lease, where it follows the token.
    _lease: Option<Fence>,
}

/// The name of the token of a connector.
fn name(connector: &str) -> String {
    format!("Composer managed token {connector}")
}

/// Whether the token that is kept must be replaced whatever the definition says: there is none, it is another user's, or it was revoked.
/// `None`: that depends on the definition, because the composer cannot open it.
fn is_lacking(
    snapshot: &Snapshot<'_>,
    connector: &Connector,
    managed: &Managed,
    composer: &Composer,
) -> Result<Option<bool>, ConnectorError> {
    let Some(token) = &managed.token else {
        return Ok(Some(true));
    };
    if Some(token.user) != connector.user || snapshot.token(token.token)?.is_none() {
        return Ok(Some(true));
    }
    Ok((token.key_id == composer.key_id).then_some(false))
}

/// Whether the token that is kept may have to be replaced; the definition is not looked at.
pub(crate) fn may_be_missing(
    snapshot: &Snapshot<'_>,
    connector: &Connector,
    managed: &Managed,
    composer: &Composer,
) -> Result<bool, ConnectorError> {
    let lacking = is_lacking(snapshot, connector, managed, composer)?;
    Ok(lacking != Some(false) && user_let_in(snapshot, connector)?.is_some())
}

/// Whether the token that is kept must be replaced: there is none, it is another user's, it was revoked, or the composer cannot open it.
/// A connector whose secrets the composer cannot open either keeps its token, because the instance that runs with it runs on.
fn is_missing(
    snapshot: &Snapshot<'_>,
    connector: &Connector,
    managed: &Managed,
    composer: &Composer,
) -> Result<bool, ConnectorError> {
    if let Some(known) = is_lacking(snapshot, connector, managed, composer)? {
        return Ok(known);
    }
    let unreadable = managed.definition.sealed_for_another(&composer.key_id);
    Ok(unreadable.is_empty())
}

/// The user of a connector, when it exists and is let in.
pub(crate) fn user_let_in(
    snapshot: &Snapshot<'_>,
    connector: &Connector,
) -> Result<Option<User>, ConnectorError> {
    let user = match connector.user {
        Some(row) => snapshot.user(row)?,
        None => None,
    };
    let now = snapshot.clock_now();
    Ok(user.filter(|user| admitted(user.status, user.expires_at, now).is_ok()))
}

impl Connectors {
    /// Gives a connector a token when it has none that its composer can use, and the lease with it. `None`: nothing was changed. A user that is not let in gets none.
    pub(crate) fn ensure_token(
        &self,
        tx: &mut Tx<'_>,
        acting: &Acting<'_>,
        connector: &Connector,
        managed: &mut Managed,
        composer: &Composer,
    ) -> Result<Option<Minted>, ConnectorError> {
        if !is_missing(tx, connector, managed, composer)? {
            return Ok(None);
        }
        let replaced = managed.token.as_ref().map(|token| token.token);
        if !self.mint_token(tx, acting, connector, managed, composer)? {
            return Ok(None);
        }
        let lease = match &managed.token {
            Some(token) => {
                let holder = format!("the composer `{}`", composer.name);
                self.bind_lease(tx, connector, replaced, token.token, holder)?
            }
            None => None,
        };
        Ok(Some(Minted { _lease: lease }))
    }

    /// Makes a token for a managed connector and seals it for its composer; the one before ends. The lease stays where it is. `false`: its user is not let in.
    pub(crate) fn mint_token(
        &self,
        tx: &mut Tx<'_>,
        acting: &Acting<'_>,
        connector: &Connector,
        managed: &mut Managed,
        composer: &Composer,
    ) -> Result<bool, ConnectorError> {
        let Some(user) = user_let_in(tx, connector)? else {
            return Ok(false);
        };
        end(tx, acting, managed)?;
        let key = PublicKey::from_pem(&composer.public_key)?;
        let secret = Secret::new(token::generate(&*self.entropy));
        let name = name(&connector.id);
        // one of that name that is not ours any more, such as that of a connector of the same id that was deleted by other means
        for other in tx.tokens_of(user.row)? {
            if other.name == name {
                end_token(tx, acting, other.id)?;
            }
        }
        let token = issue_token(tx, acting, &user, &name, secret.expose())?;
        let sealed = key.seal(&secret, Envelope::V2, &*self.entropy)?;
        managed.token = Some(SealedToken {
            token: token.id,
            user: user.row,
            key_id: composer.key_id.clone(),
            sealed,
        });
        Ok(true)
    }
}

/// Ends the token of a connector.
pub(crate) fn end(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    managed: &mut Managed,
) -> Result<(), ConnectorError> {
    if let Some(token) = managed.token.take() {
        end_token(tx, acting, token.token)?;
    }
    Ok(())
}
