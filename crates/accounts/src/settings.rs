//! The policy that passwords must satisfy.

use ferrocti_access::{Action, may, names, password::Policy};
use ferrocti_store::{Snapshot, StoreError, Tx};
use serde_json::json;

use crate::{
    Accounts, Acting,
    acting::{Scope, record},
    error::{AccountError, Result},
};

/// Where the policy is kept.
const STORED: &str = "accounts.password_policy";
/// Shortest password where nobody set a policy (NIST SP 800-63B, section 5.1.1.1), in characters.
const MIN_LENGTH: u32 = 8;
/// Highest number in a policy: more than this nobody can satisfy.
const MAX_RULE: u32 = 512;

/// The policy in force.
pub fn password_policy(snapshot: &Snapshot<'_>) -> Result<Policy, StoreError> {
    let stored = snapshot.setting(STORED)?;
    Ok(stored
        .and_then(|stored| serde_json::from_value(stored).ok())
        .unwrap_or(Policy {
            min_length: MIN_LENGTH,
            ..Policy::default()
        }))
}

/// Whether a password satisfies the policy in force.
pub(crate) fn check_password(snapshot: &Snapshot<'_>, password: &str) -> Result<()> {
    let faults = password_policy(snapshot)?.check(password);
    if faults.is_empty() {
        Ok(())
    } else {
        Err(AccountError::PasswordPolicy(faults))
    }
}

/// Changes the policy within a transaction; passwords that exist stay valid.
///
/// # Errors
/// [`AccountError::Denied`] without `SETTINGS_SETACCESSES`, [`AccountError::Invalid`] for a policy that nobody can satisfy.
pub fn set_password_policy(tx: &mut Tx<'_>, acting: &Acting<'_>, policy: &Policy) -> Result<()> {
    may(acting.actor, Action::Use(names::SET_ACCESSES))?;
    let rules = [
        policy.min_length,
        policy.min_symbols,
        policy.min_numbers,
        policy.min_words,
        policy.min_lowercase,
        policy.min_uppercase,
    ];
    let needed = rules[1..]
        .iter()
        .copied()
        .max()
        .unwrap_or(0)
        .max(policy.min_length);
    if rules.iter().any(|rule| *rule > MAX_RULE)
        || (policy.max_length > 0 && policy.max_length < needed)
    {
        return Err(AccountError::Invalid(format!(
            "no password can satisfy this policy: its rules may ask for at most {MAX_RULE} characters, and for no more than the greatest length allows"
        )));
    }
    let before = password_policy(tx)?;
    let json = |policy: &Policy| serde_json::to_value(policy).unwrap_or_default();
    tx.put_setting(STORED, &json(policy))?;
    record(
        tx,
        acting,
        Scope::Update,
        None,
        "updates `password_policy` for setting `Settings`",
        Some(json!({ "before": json(&before), "after": json(policy) })),
    )?;
    Ok(())
}

impl Accounts {
    /// Changes the policy; see [`set_password_policy`].
    pub fn set_password_policy(&self, acting: &Acting<'_>, policy: &Policy) -> Result<()> {
        self.store
            .write(|tx| set_password_policy(tx, acting, policy))
    }
}
