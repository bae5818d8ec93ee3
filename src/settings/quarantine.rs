//! Where git keeps what was pushed until its hook agrees, as it tells the hook in the environment.

use std::path::PathBuf;

use super::Environment;

/// The object stores that a hook must read besides the repository's own; none outside of a push.
pub(super) fn stores(env: Environment<'_>) -> Vec<PathBuf> {
    let own = env("GIT_OBJECT_DIRECTORY").map(PathBuf::from);
    let others = env("GIT_ALTERNATE_OBJECT_DIRECTORIES").unwrap_or_default();
    own.into_iter().chain(paths(&others)).collect()
}

/// A list of paths with colons between them. One that has a colon or begins with a quote is written in quotes, as C would.
fn paths(list: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        let (path, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => match rest.split_once(':') {
                Some((path, after)) => (path.to_owned(), after),
                None => (rest.to_owned(), ""),
            },
        };
        if !path.is_empty() {
            found.push(PathBuf::from(path));
        }
        rest = after;
    }
    found
}

/// A quoted path, and what follows its colon. Bytes beyond ASCII are escaped in octal.
fn unquoted(text: &str) -> (String, &str) {
    let mut bytes = Vec::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let after = text.get(at + 1..).unwrap_or_default();
                let after = after.strip_prefix(':').unwrap_or(after);
                return (String::from_utf8_lossy(&bytes).into_owned(), after);
            }
            '\\' => match chars.next() {
                Some((at, '0'..='3')) => {
                    let digits = text.get(at..at + 3).unwrap_or_default();
                    bytes.extend(u8::from_str_radix(digits, 8).ok());
                    chars.nth(1);
                }
                Some((_, 'n')) => bytes.push(b'\n'),
                Some((_, 't')) => bytes.push(b'\t'),
                Some((_, 'r')) => bytes.push(b'\r'),
                Some((_, other)) => push(&mut bytes, other),
                None => {}
            },
            other => push(&mut bytes, other),
        }
    }
    (String::from_utf8_lossy(&bytes).into_owned(), "")
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(own: Option<&str>, others: Option<&str>) -> Vec<String> {
        let stores = stores(&|name| match name {
            "GIT_OBJECT_DIRECTORY" => own.map(ToOwned::to_owned),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES" => others.map(ToOwned::to_owned),
            _ => None,
        });
        stores.iter().map(|p| p.display().to_string()).collect()
    }

    #[test]
    fn the_stores_of_a_push_are_found() {
        assert!(read(None, None).is_empty());
        assert_eq!(
            read(Some("/c.git/objects/tmp_objdir-1"), Some("/c.git/objects")),
            ["/c.git/objects/tmp_objdir-1", "/c.git/objects"]
        );
        assert_eq!(read(None, Some("/a::/b")), ["/a", "/b"]);
    }

    #[test]
    fn quoted_paths_are_unquoted() {
        assert_eq!(
            read(None, Some(r#""/a:b\"c\\d/\350\250\255":/e:"/f""#)),
            ["/a:b\"c\\d/設", "/e", "/f"]
        );
        assert_eq!(read(None, Some(r#""/never ends\"#)), ["/never ends"]);
    }
}
