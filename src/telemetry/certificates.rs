//! What is counted of certificates and handshakes.

/// How a TLS handshake with a client ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// With a connection.
    Full,
    /// With a connection that goes on with an earlier session.
    Resumed,
    /// The deadline came first.
    Timeout,
    /// The client went away, or is no TLS client.
    Left,
    /// The client refused what it was shown.
    Refused,
    /// The client's certificate is missing or not good.
    ClientCertificate,
    /// The two have no version, suite or protocol in common, or the client makes mistakes.
    Protocol,
}

impl Handshake {
    /// All of them.
    pub(super) const ALL: [Self; 7] =
        [Self::Full, Self::Resumed, Self::Timeout, Self::Left, Self::Refused, Self::ClientCertificate, Self::Protocol];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
            Self::Timeout => "timeout",
            Self::Left => "client-left",
            Self::Refused => "refused",
            Self::ClientCertificate => "client-certificate",
            Self::Protocol => "protocol",
        }
    }
}
