//! What a configuration says of access lines: which requests have one, and what is in it.

use http::HeaderName;

/// The shape of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// Readable on a terminal.
    Text,
}

/// Which requests have a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// Every one.
    All,
    /// Those that went wrong, were refused or would have been.
    Errors,
    /// None.
    Off,
}

/// How lines are written.
#[derive(Debug, Clone)]
pub struct Shape {
    /// As what.
    pub format: Format,
    /// The members of a JSON object.
    pub fields: Fields,
    /// The header fields of the request that are told besides.
    pub headers: Vec<HeaderName>,
}

/// A set of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields(u32);

/// A member that can be left out. All but the time can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the members of AccessLine of the same names say what they are")]
pub enum Field {
    RequestId,
    TraceId,
    Client,
    Method,
    Host,
    Path,
    Protocol,
    Tls,
    Route,
    Service,
    Target,
    Consumer,
    Plan,
    Status,
    GrpcStatus,
    Decision,
    Cache,
    RefusedBy,
    Observed,
    WouldRefuse,
    Cause,
    BytesIn,
    BytesOut,
    Duration,
    Gateway,
    Queue,
    RequestBody,
    ServiceTime,
    Response,
    Retries,
    Generation,
    UserAgent,
}

impl Fields {
    /// Every one.
    pub const ALL: Self = Self(u32::MAX);

    /// The same without one.
    #[must_use]
    pub fn without(self, field: Field) -> Self {
        Self(self.0 & !(1 << field as u32))
    }

    /// Whether it is among them.
    pub fn has(self, field: Field) -> bool {
        self.0 & (1 << field as u32) != 0
    }
}

impl Lines {
    /// Whether a request that ended like this has a line. The status is 0 when the client left before it got one.
    pub fn tell(self, status: u16, decision: &str) -> bool {
        match self {
            Self::All => true,
            Self::Errors => !(1..400).contains(&status) || decision != super::line::ADMITTED,
            Self::Off => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_lacks_what_was_taken_out_and_nothing_else() {
        let few = Fields::ALL.without(Field::Client).without(Field::UserAgent).without(Field::Client);
        for (field, there) in
            [(Field::RequestId, true), (Field::Client, false), (Field::Generation, true), (Field::UserAgent, false)]
        {
            assert_eq!(few.has(field), there, "{field:?}");
        }
    }

    #[test]
    fn errors_are_what_did_not_go_as_the_client_wanted() {
        for (status, decision, told) in [
            (200, "admitted", false),
            (304, "admitted", false),
            (404, "admitted", true),
            (500, "admitted", true),
            (0, "client-left", true),
            (200, "observed", true),
            (200, "service-reply", true),
            (429, "quota-exceeded", true),
        ] {
            assert_eq!(Lines::Errors.tell(status, decision), told, "{status} {decision}");
            assert!(Lines::All.tell(status, decision) && !Lines::Off.tell(status, decision));
        }
    }
}
