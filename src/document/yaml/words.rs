//! What is wrong with a text as YAML, in our own words: what stands there, and what to write instead.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the engine may add errors; what is not known is said in general"
)]

use std::borrow::Cow;

use serde_yaml::budget::BudgetBreach;
use serde_yaml::granit_parser::ErrorKind;
use serde_yaml::{Error, ExternalMessageSource};

use super::{SCANNED, start};
use crate::document::faults::floor;
use crate::document::json::NUMBER_HINT;
use crate::document::limits;

/// A rule, a message and advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::document) struct Told {
    pub(in crate::document) rule: &'static str,
    pub(in crate::document) message: Cow<'static, str>,
    pub(in crate::document) hint: &'static str,
}

fn told(rule: &'static str, message: impl Into<Cow<'static, str>>, hint: &'static str) -> Told {
    Told {
        rule,
        message: message.into(),
        hint,
    }
}

fn syntax(message: impl Into<Cow<'static, str>>, hint: &'static str) -> Told {
    told("yaml/syntax", message, hint)
}

fn nesting() -> Told {
    let message = format!("values nest deeper than {} levels", limits::NESTING);
    told("yaml/nesting", message, "flatten the document")
}

/// What an error of the engine means to the person who wrote the text.
pub(in crate::document) fn explain(text: &str, error: &Error) -> Told {
    match error {
        Error::Budget {
            breach: BudgetBreach::Depth { .. },
            ..
        } => nesting(),
        Error::MultipleDocuments { .. }
        | Error::Budget {
            breach: BudgetBreach::Documents { .. },
            ..
        } => syntax(
            "expected one document; here a second one begins",
            "take the --- away or split the file",
        ),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. }
        // A limit that is passed inside an alias.
        | Error::AliasError { .. } => told(
            "yaml/limits",
            "aliases make this document many times larger than it is written",
            "write the values out",
        ),
        Error::MergeKeyNotAllowed { .. } => told(
            "yaml/merge-key",
            "merge keys (<<) are not read",
            "write the members out",
        ),
        Error::UnsupportedTag { .. } => tag(),
        Error::NonFiniteFloat { .. } => told(
            "yaml/number",
            "the number is not finite or too large",
            NUMBER_HINT,
        ),
        Error::DuplicateMappingKey { key, .. } => told(
            "yaml/duplicate-key",
            match key {
                Some(key) => format!("`{key}` is here a second time").into(),
                None => Cow::from("a key is here a second time"),
            },
            "keep one of the two",
        ),
        Error::UnknownAnchor { .. } => syntax(
            "this alias names no anchor that stands before it",
            "write the value out, or put a text that begins with * in quotes",
        ),
        Error::Eof { .. } => syntax("the text ends where a value is expected", "write the value"),
        Error::FoldedBlockScalarMustIndentContent { .. } => block_text(),
        Error::ExternalMessage { source, .. } => match &**source {
            // The scanner, which looks ahead, gives up before the budget is asked.
            ExternalMessageSource::Parser(_) if opens_too_many(text, error) => nesting(),
            ExternalMessageSource::Parser(error) => scanned(error.kind()),
            _ => unreadable(),
        },
        Error::Unexpected { .. } => syntax(
            "expected a plain text here",
            "a key is one word or a text in quotes, not a list or an object",
        ),
        _ if opens_too_many(text, error) => nesting(),
        _ => unreadable(),
    }
}

fn tag() -> Told {
    told(
        "yaml/tag",
        "tags (!name) are not read",
        "write a plain value",
    )
}

fn unreadable() -> Told {
    syntax(
        "this can't be read as YAML",
        "look at the indentation, the quotes and the brackets around here",
    )
}

fn block_text() -> Told {
    syntax(
        "the lines of a text after | or > are not indented alike",
        "indent them all by the same number of spaces, more than the key above",
    )
}

/// What the scanner found.
fn scanned(kind: &ErrorKind) -> Told {
    [brackets, quotes, layout, signs, not_read]
        .iter()
        .find_map(|about| about(kind))
        .unwrap_or_else(unreadable)
}

fn brackets(kind: &ErrorKind) -> Option<Told> {
    const CLOSE: &str = "close it, or put a text that begins with a bracket in quotes";
    use ErrorKind as K;
    Some(match kind {
        K::UnclosedFlowCollection { open } => {
            syntax(format!("the bracket {open} is never closed"), CLOSE)
        }
        K::UnexpectedEofFlowSequence
        | K::UnexpectedEofFlowMapping
        | K::UnexpectedEofImplicitFlowMapping => syntax("the text ends inside a bracket", CLOSE),
        K::MismatchedFlowCollectionEnd { open, close } => syntax(
            format!("the bracket {open} is closed by {close}"),
            "close each bracket by its own kind",
        ),
        K::MisplacedFlowCollectionEnd => syntax(
            "a bracket is closed that was never opened",
            "take it away, or put the text in quotes",
        ),
        K::ExpectedFlowMappingSeparator => syntax(
            "expected , or } here",
            "separate members by commas, and close the {",
        ),
        K::ExpectedFlowSequenceSeparator => syntax(
            "expected , or ] here",
            "separate items by commas, and close the [",
        ),
        K::RecursionLimitExceeded => nesting(),
        _ => return None,
    })
}

fn quotes(kind: &ErrorKind) -> Option<Told> {
    use ErrorKind as K;
    Some(match kind {
        K::UnclosedQuotedScalar | K::DocumentIndicatorInQuotedScalar => syntax(
            "a quote is never closed",
            "add the closing quote; inside single quotes write '' for one",
        ),
        K::InvalidTrailingSingleQuotedScalar | K::InvalidTrailingDoubleQuotedScalar => syntax(
            "something follows the closing quote",
            "put all of the text inside the quotes",
        ),
        K::UnknownQuotedScalarEscape
        | K::InvalidQuotedScalarHexEscape
        | K::InvalidLowSurrogateHexEscape
        | K::InvalidLowSurrogate
        | K::MissingLowSurrogate
        | K::UnpairedLowSurrogate
        | K::InvalidUnicodeEscape => syntax(
            "an escape that YAML does not know",
            "write \\\\ for a backslash, or use single quotes",
        ),
        _ => return None,
    })
}

fn layout(kind: &ErrorKind) -> Option<Told> {
    use ErrorKind as K;
    Some(match kind {
        K::TabNotAllowed
        | K::TabInBlockIndentation
        | K::TabInIndentation
        | K::TabInPlainScalar
        | K::TabAtBlockScalarStart => {
            syntax("a tab where YAML takes only spaces", "indent with spaces")
        }
        K::InvalidIndentation
        | K::InvalidQuotedScalarIndent
        | K::InvalidFlowScalarIndent
        | K::ExpectedBlockSequenceEntry
        | K::UnexpectedEofBlockSequence
        | K::UnexpectedEofBlockMapping => syntax(
            "this line is not indented like the ones it belongs to",
            "align it with them, with spaces",
        ),
        K::ZeroBlockScalarIndent | K::InvalidBlockScalarHeader | K::InvalidBlockScalarIndent => {
            block_text()
        }
        K::ExpectedBlockMappingKey
        | K::SimpleKeyExpected
        | K::InvalidSimpleKey
        | K::MappingKeyNotAllowed
        | K::ExpectedDocumentStart => syntax(
            "expected `key: value` here",
            "put a colon and a space after the key, and align it with the keys above",
        ),
        K::UnexpectedEof | K::ExpectedNodeContent | K::UnexpectedEndOfPlainScalar => {
            syntax("the text ends where a value is expected", "write the value")
        }
        K::InvalidDocumentEnd => syntax(
            "something follows the end of the document (...)",
            "take it away or split the file",
        ),
        _ => return None,
    })
}

/// Signs that mean something to YAML and stand where they can't.
fn signs(kind: &ErrorKind) -> Option<Told> {
    use ErrorKind as K;
    Some(match kind {
        K::MappingValueNotAllowed
        | K::InvalidColonPlacement
        | K::FlowMappingValueAdjacentCollection
        | K::InvalidMappingValueWhitespace => syntax(
            "a : where no value can follow",
            "put one `key: value` on a line, with a space after the colon, or put the text in quotes",
        ),
        K::BlockEntryInFlowCollection
        | K::BlockSequenceEntryNotAllowed
        | K::InvalidBlockEntryWhitespace
        | K::PlainScalarStartsWithDashFlowIndicator => syntax(
            "a - where no list can begin",
            "begin the list on a line of its own, with a space after each -, or put the text in quotes",
        ),
        K::CommentInterceptedScalar | K::CommentNotSeparated => syntax(
            "a # where no comment can begin",
            "put a space before it, or the text in quotes",
        ),
        K::UnexpectedCharacter { character } => syntax(
            format!("{character} can't begin a value"),
            "put the text in quotes",
        ),
        K::MissingAnchorOrAliasName => syntax(
            "an & or * without a name",
            "put a text that begins with it in quotes",
        ),
        K::BomInsideDocument => syntax(
            "a byte order mark inside the document",
            "take it away: it is allowed at the very start alone",
        ),
        _ => return None,
    })
}

/// What YAML has and is not read here.
fn not_read(kind: &ErrorKind) -> Option<Told> {
    use ErrorKind as K;
    Some(match kind {
        K::ExpectedTagBang
        | K::UndeclaredTagHandle
        | K::InvalidTagTerminator
        | K::MissingTagUri
        | K::UnclosedVerbatimTag
        | K::InvalidGlobalTagCharacter
        | K::InvalidTagEscape
        | K::InvalidTagUtf8LeadingByte
        | K::InvalidTagUtf8TrailingByte
        | K::InvalidTagUtf8 => tag(),
        K::DuplicateVersionDirective
        | K::UnsupportedYamlMajorVersion
        | K::DuplicateTagDirective
        | K::MissingDocumentEndBeforeDirective
        | K::ExpectedTagDirectiveBang
        | K::InvalidDirectiveTerminator
        | K::DirectiveDisallowed
        | K::MissingYamlVersionSeparator
        | K::MissingDirectiveName
        | K::InvalidDirectiveName
        | K::DirectiveByteLimitExceeded { .. }
        | K::TooManyReservedDirectiveParams { .. }
        | K::YamlVersionTooLong
        | K::MissingYamlVersion
        | K::InvalidTagDirectiveTerminator => syntax(
            "lines that begin with % are directives, which are not read",
            "take the line away, or put the text in quotes",
        ),
        _ => return None,
    })
}

/// Whether more brackets are open where an error is than the scanner takes.
fn opens_too_many(text: &str, error: &Error) -> bool {
    let end = error.location().map_or(0, |l| start(text, &l));
    let before = text.get(..floor(text, end)).unwrap_or_default();
    let mut depth = 0_usize;
    before.bytes().any(|b| {
        match b {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth >= SCANNED
    })
}
