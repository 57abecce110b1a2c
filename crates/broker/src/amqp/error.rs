//! Reply codes of AMQP 0-9-1 and how an error ends a channel or a connection.

use super::codec::MethodId;

/// Reply codes, named as in the specification.
pub(crate) mod reply {
    /// A code with the name that clients see in front of the text.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Code(pub u16, pub &'static str);

    pub(crate) const NO_ROUTE: Code = Code(312, "NO_ROUTE");
    pub(crate) const CONNECTION_FORCED: Code = Code(320, "CONNECTION_FORCED");
    pub(crate) const ACCESS_REFUSED: Code = Code(403, "ACCESS_REFUSED");
    pub(crate) const NOT_FOUND: Code = Code(404, "NOT_FOUND");
    pub(crate) const RESOURCE_LOCKED: Code = Code(405, "RESOURCE_LOCKED");
    pub(crate) const PRECONDITION_FAILED: Code = Code(406, "PRECONDITION_FAILED");
    pub(crate) const FRAME_ERROR: Code = Code(501, "FRAME_ERROR");
    pub(crate) const SYNTAX_ERROR: Code = Code(502, "SYNTAX_ERROR");
    pub(crate) const COMMAND_INVALID: Code = Code(503, "COMMAND_INVALID");
    pub(crate) const CHANNEL_ERROR: Code = Code(504, "CHANNEL_ERROR");
    pub(crate) const UNEXPECTED_FRAME: Code = Code(505, "UNEXPECTED_FRAME");
    pub(crate) const RESOURCE_ERROR: Code = Code(506, "RESOURCE_ERROR");
    pub(crate) const NOT_ALLOWED: Code = Code(530, "NOT_ALLOWED");
    pub(crate) const NOT_IMPLEMENTED: Code = Code(540, "NOT_IMPLEMENTED");
    pub(crate) const INTERNAL_ERROR: Code = Code(541, "INTERNAL_ERROR");
}

/// What an error ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Channel,
    Connection,
}

/// An error that is told to the client by closing something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub scope: Scope,
    pub code: reply::Code,
    pub text: String,
    pub method: MethodId,
}

impl Fault {
    /// Ends the channel.
    pub fn channel(code: reply::Code, text: impl Into<String>) -> Self {
        Self {
            scope: Scope::Channel,
            code,
            text: text.into(),
            method: MethodId::default(),
        }
    }

    /// Ends the connection.
    pub fn connection(code: reply::Code, text: impl Into<String>) -> Self {
        Self {
            scope: Scope::Connection,
            code,
            text: text.into(),
            method: MethodId::default(),
        }
    }

    /// Names the method that caused it, unless it is named already.
    pub fn at(mut self, method: MethodId) -> Self {
        if self.method == MethodId::default() {
            self.method = method;
        }
        self
    }

    /// The text that clients see: the code's name, then what happened.
    pub fn reply_text(&self) -> String {
        format!("{} - {}", self.code.1, self.text)
    }
}

/// There is no queue of that name.
pub(crate) fn no_queue(name: &str) -> Fault {
    Fault::channel(reply::NOT_FOUND, format!("no queue '{name}' in vhost '/'"))
}

/// There is no exchange of that name.
pub(crate) fn no_exchange(name: &str) -> Fault {
    Fault::channel(
        reply::NOT_FOUND,
        format!("no exchange '{name}' in vhost '/'"),
    )
}

/// The user may not do that.
pub(crate) fn access_refused(kind: &str, name: &str, user: &str) -> Fault {
    Fault::channel(
        reply::ACCESS_REFUSED,
        format!("access to {kind} '{name}' in vhost '/' refused for user '{user}'"),
    )
}
