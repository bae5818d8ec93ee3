//! How the server is reached, and what its errors mean.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError};
use secrecy::ExposeSecret as _;

use super::RedisSettings;
use crate::connector::ConnectorError;

/// A connection of its own. It is never made anew under the hand of whoever uses it: what was being watched would be forgotten.
pub(super) async fn connect(
    settings: &RedisSettings,
) -> Result<MultiplexedConnection, ConnectorError> {
    let client = client(settings).map_err(|message| ConnectorError::Terminal { message })?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.connect_timeout))
        .set_response_timeout(Some(settings.timeout));
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .doing("reach the server")
}

/// The credential is a password, or `user:password`. It is put into the address here and nowhere else.
fn client(settings: &RedisSettings) -> Result<Client, String> {
    let mut url = settings.url.clone();
    if let Some(credential) = &settings.credential {
        let secret = credential.expose_secret();
        let (user, password) = secret.split_once(':').unwrap_or(("", secret));
        let set = url
            .set_username(user)
            .and_then(|()| url.set_password(Some(password)));
        set.map_err(|()| "a credential goes with redis://HOST or rediss://HOST".to_owned())?;
    }
    // The error might repeat the address.
    Client::open(url.as_str()).map_err(|_| "the url can't be used".to_owned())
}

/// Says what was being done when a command failed, and sorts the failure by whose fault it is.
pub(super) trait Doing<T> {
    fn doing(self, doing: &str) -> Result<T, ConnectorError>;
}

impl<T> Doing<T> for Result<T, RedisError> {
    fn doing(self, doing: &str) -> Result<T, ConnectorError> {
        self.map_err(|error| sorted(doing, &error))
    }
}

/// What is not said to be a person's matter may pass: a server that is away, loads its data, is out of memory, or only reads for now.
fn sorted(doing: &str, error: &RedisError) -> ConnectorError {
    let first = error.clone().into_server_errors();
    let first = first.as_deref().and_then(|all| all.first());
    let said = first.map(|(_, said)| (said.code(), said.details().unwrap_or_default()));
    let ours = [
        ErrorKind::AuthenticationFailed,
        ErrorKind::InvalidClientConfig,
        ErrorKind::UnexpectedReturnType,
        ErrorKind::Parse,
    ];
    let is_for_a_person = match said {
        Some((code, _)) => {
            matches!(
                code,
                "WRONGTYPE" | "NOAUTH" | "WRONGPASS" | "NOPERM" | "ERR"
            )
        }
        None => ours.contains(&error.kind()),
    };
    let message = match said {
        Some((code, details)) => format!("could not {doing}: {code} {details}"),
        None => format!("could not {doing}: {error}"),
    };
    match is_for_a_person {
        true => ConnectorError::Terminal { message },
        false => ConnectorError::Transient { message },
    }
}
