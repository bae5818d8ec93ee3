//! What an `http` connector is made of, and why it can't be.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use url::{Position, Url};

use crate::config::connectors::AddressFault;
use crate::ids::SystemName;

/// What the connector is made of.
#[derive(Clone)]
pub struct HttpSettings {
    /// The system, for messages.
    pub system: SystemName,
    /// Where its API is, without `/lockstep/v1`; may have a path, but no user, password, query or fragment.
    pub base: Url,
    /// Sent as a bearer token, to this host alone.
    pub token: Option<SecretString>,
    /// The credential's name, for messages.
    pub credential: Option<String>,
    pub connect_timeout: Duration,
    /// For one request as a whole, body included.
    pub timeout: Duration,
}

impl fmt::Debug for HttpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            system,
            base,
            token,
            credential,
            connect_timeout,
            timeout,
        } = self;
        // Before it is checked the URL may hold a password.
        f.debug_struct("HttpSettings")
            .field("system", system)
            .field("host", &&base[Position::BeforeHost..Position::AfterPort])
            .field("token", token)
            .field("credential", credential)
            .field("connect_timeout", connect_timeout)
            .field("timeout", timeout)
            .finish()
    }
}

/// Why a connector can't be made from its settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpSettingsError {
    #[error(transparent)]
    Address(#[from] AddressFault),
    #[error(
        "the credential holds characters that cannot be in a bearer token (line breaks, spaces, letters beyond ASCII)"
    )]
    Token,
    #[error("no HTTP client can be made: {0}")]
    Client(String),
}
