//! What the JSON parser complains of, told to people who edit settings.

use jsonc_parser::errors::ParseErrorKind;

/// What was wrong and what to do, in our words where the parser's could mislead.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser's own wording is right for the rest, and for what it adds"
)]
pub(super) fn explain(kind: &ParseErrorKind) -> (String, Option<String>) {
    let (message, hint) = match kind {
        ParseErrorKind::ExpectedComma => (
            "expected a comma",
            "put a comma between two members or items",
        ),
        ParseErrorKind::ExpectedColonAfterObjectKey => {
            ("expected a colon after the key", "write \"key\": value")
        }
        ParseErrorKind::ExpectedObjectValue => {
            ("expected a value after the colon", "write \"key\": value")
        }
        ParseErrorKind::ExpectedStringObjectProperty => {
            ("expected a key in double quotes", "write \"key\": value")
        }
        ParseErrorKind::SingleQuotedStringsNotAllowed => {
            ("expected double quotes", "write \"text\", not 'text'")
        }
        ParseErrorKind::UnexpectedWord | ParseErrorKind::UnexpectedToken => (
            "expected a value: text in double quotes, a number, true, false, null, { or [",
            "put text in double quotes",
        ),
        ParseErrorKind::UnexpectedComma => (
            "expected a value before the comma",
            "take the comma away or put a value before it",
        ),
        ParseErrorKind::UnexpectedTokenInObject => (
            "expected a key in double quotes or }",
            "write \"key\": value",
        ),
        ParseErrorKind::UnterminatedObject => {
            ("this { is never closed; expected }", "add the missing }")
        }
        ParseErrorKind::UnterminatedArray => {
            ("this [ is never closed; expected ]", "add the missing ]")
        }
        ParseErrorKind::UnterminatedCommentBlock => (
            "this comment is never closed; expected */",
            "add the missing */",
        ),
        ParseErrorKind::UnexpectedCloseBrace => (
            "} is not expected here; a value or a ] is missing before it",
            "check that each bracket has its partner",
        ),
        ParseErrorKind::UnexpectedCloseBracket => (
            "] is not expected here; a value or a } is missing before it",
            "check that each bracket has its partner",
        ),
        ParseErrorKind::MultipleRootJsonValues => (
            "expected the end of the document: it holds one object or one list",
            "check that each bracket has its partner",
        ),
        other => {
            let text = other.to_string();
            let mut chars = text.chars();
            let first = chars.next().into_iter().flat_map(char::to_lowercase);
            return (first.chain(chars).collect(), None);
        }
    };
    (message.to_owned(), Some(hint.to_owned()))
}
