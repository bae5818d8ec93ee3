//! What `lockstep.yaml` says of a system in Redis: its address, and under which prefix its keys lie.

use url::Url;

/// How long a prefix or a channel's name may be.
const LONGEST: usize = 200;

/// Reads a `url`. The error does not repeat it: it may hold a password.
pub fn address(text: &str) -> Result<Url, String> {
    let wrong = |what: &str| Err(what.to_owned());
    let Ok(url) = Url::parse(text) else {
        return wrong("the url can't be read");
    };
    if url.password().is_some() || !url.username().is_empty() {
        return wrong("the url holds no user or password; name a credential instead");
    }
    if url.fragment().is_some() {
        return wrong("the url has no fragment");
    }
    let is_number = |text: &str| text.parse::<u16>().is_ok() && !text.starts_with('+');
    match url.scheme() {
        "redis" | "rediss" => {
            if url.host_str().is_none_or(str::is_empty) {
                return wrong("the url names no host");
            }
            let database = url.path().trim_start_matches('/');
            if !(database.is_empty() || is_number(database)) {
                return wrong(
                    "the url ends with the number of a database, such as redis://cache.example.org/0",
                );
            }
            if url.query().is_some() {
                return wrong("the url has no query");
            }
        }
        "redis+unix" => {
            if url.has_host() || url.path().len() < 2 {
                return wrong(
                    "the path of a socket begins with /, as in redis+unix:///run/redis.sock",
                );
            }
            if url
                .query_pairs()
                .any(|(key, value)| key != "db" || !is_number(&value))
            {
                return wrong("the url has no query but db=NUMBER");
            }
        }
        _ => return wrong("the url starts with redis://, rediss:// or redis+unix://"),
    }
    Ok(url)
}

/// Reads a `prefix`, or the channel in `notify`.
pub fn name(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > LONGEST || text.chars().any(char::is_control) {
        return Err(format!(
            "this is 1 to {LONGEST} bytes, without line breaks or other control characters"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_server_and_a_database_without_a_password() {
        let said: Vec<String> = [
            "redis://cache.example",
            "rediss://cache.example:6380/3",
            "redis+unix:///run/redis.sock?db=1",
            "redis://:s3cret@cache.example",
            "redis://user@cache.example",
            "redis://cache.example/zero",
            "redis://cache.example/0?password=s3cret",
            "redis+unix://run/redis.sock",
            "redis+unix:///run/redis.sock?pass=s3cret",
            "redis:///0",
            "https://cache.example",
            "cache",
        ]
        .iter()
        .map(|text| match address(text) {
            Ok(_) => format!("{text}: passed"),
            Err(why) => format!("{text}: {why}"),
        })
        .collect();
        insta::assert_snapshot!(said.join("\n"), @"
        redis://cache.example: passed
        rediss://cache.example:6380/3: passed
        redis+unix:///run/redis.sock?db=1: passed
        redis://:s3cret@cache.example: the url holds no user or password; name a credential instead
        redis://user@cache.example: the url holds no user or password; name a credential instead
        redis://cache.example/zero: the url ends with the number of a database, such as redis://cache.example.org/0
        redis://cache.example/0?password=s3cret: the url has no query
        redis+unix://run/redis.sock: the path of a socket begins with /, as in redis+unix:///run/redis.sock
        redis+unix:///run/redis.sock?pass=s3cret: the url has no query but db=NUMBER
        redis:///0: the url names no host
        https://cache.example: the url starts with redis://, rediss:// or redis+unix://
        cache: the url can't be read
        ");
        assert!(name("lockstep:").is_ok());
        assert!(name("").is_err() && name("a\nb").is_err() && name(&"x".repeat(201)).is_err());
    }
}
