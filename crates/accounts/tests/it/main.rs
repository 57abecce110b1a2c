//! Accounts on a real store: who is let in, who may give what to whom, and what is recorded of it.

// `cfg(test)` lets helpers outside of test functions unwrap, as in unit tests
#[cfg(test)]
mod boot;
#[cfg(test)]
mod composer;
#[cfg(test)]
mod connector;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod grants;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod login;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod users;
#[cfg(test)]
mod walk;
