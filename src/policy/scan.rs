//! What a policy's text shows without running it: its package, the rules it declares, what they call, and the calls that
//! must not be there.
//!
//! A tokenizer, no parser: the Rego engine has the last word on syntax. What is found here only adds findings and is
//! checked against what the engine answers, so a rule that is overlooked here is still judged.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::document::limits::{POLICY_BRACKETS, POLICY_OPERATORS};

/// A function whose answer is not in the input: a verdict that used it could not be replayed.
struct Outside {
    space: &'static str,
    name: &'static str,
    arguments: u8,
    instead: &'static str,
}

const TIME: &str = "the time is in `input.now`";
const CHANCE: &str = "a verdict must not depend on chance";
const LOOKUP: &str = "everything that a policy may know is in the input";

const OUTSIDE: [Outside; 6] = [
    Outside::new("time", "now_ns", 0, TIME),
    Outside::new("rand", "intn", 2, CHANCE),
    Outside::new("uuid", "rfc4122", 1, CHANCE),
    Outside::new("http", "send", 1, LOOKUP),
    Outside::new("net", "lookup_ip_addr", 1, LOOKUP),
    Outside::new("opa", "runtime", 0, LOOKUP),
];

impl Outside {
    const fn new(
        space: &'static str,
        name: &'static str,
        arguments: u8,
        instead: &'static str,
    ) -> Self {
        Self {
            space,
            name,
            arguments,
            instead,
        }
    }
}

/// The functions a policy must not call, such as `time.now_ns`, with the number of their arguments.
pub(super) fn forbidden_functions() -> impl Iterator<Item = (String, u8)> {
    OUTSIDE
        .iter()
        .map(|f| (format!("{}.{}", f.space, f.name), f.arguments))
}

/// A call that would make a verdict impossible to replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ForbiddenCall {
    pub(super) function: String,
    pub(super) instead: &'static str,
    pub(super) range: Range<usize>,
}

/// How a rule's head goes on after its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// `deny contains …`
    Contains,
    /// `deny(x) …`
    Function,
    /// Anything else: `deny := …`, `deny if …`, `deny[x] …`.
    Other,
}

/// A rule at the top level of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule<'a> {
    pub(super) name: &'a str,
    pub(super) head: Head,
    pub(super) range: Range<usize>,
    /// Functions called in it that may be a policy's own: by their last name, whatever package they are in.
    pub(super) calls: Vec<&'a str>,
}

/// One file, looked over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scan<'a> {
    /// As written after `package`: `lockstep`, `lockstep.lib`.
    pub(super) package: Option<String>,
    pub(super) package_range: Range<usize>,
    pub(super) rules: Vec<Rule<'a>>,
    pub(super) forbidden: Vec<ForbiddenCall>,
    /// The kinds it names after `input.before` and `input.after`.
    pub(super) kinds: BTreeSet<&'a str>,
    /// Whether it uses `input`, `input.before` or `input.after` in a way that may reach any kind.
    pub(super) any_kind: bool,
    /// Where `data.lockstep`, or `data`, is used as a whole.
    pub(super) whole_package: Vec<Range<usize>>,
    /// Where it is more than the engine can take, and what is too much. Such a file must not reach the engine.
    pub(super) excess: Option<(Range<usize>, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Name,
    Text,
    Symbol,
}

#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    sort: Sort,
    text: &'a str,
    start: usize,
    /// How many brackets are open around it.
    depth: usize,
    starts_line: bool,
}

impl Token<'_> {
    fn is(&self, symbol: &str) -> bool {
        self.sort == Sort::Symbol && self.text == symbol
    }

    fn is_operator(&self) -> bool {
        match self.sort {
            Sort::Symbol => matches!(
                self.text,
                "+" | "-" | "*" | "/" | "%" | "|" | "&" | "=" | "<" | ">" | "!" | ":"
            ),
            Sort::Name => self.text == "in",
            Sort::Text => false,
        }
    }

    fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// Looks a policy file over.
pub(super) fn scan(source: &str) -> Scan<'_> {
    let tokens = tokens(source);
    let mut scan = Scan {
        excess: excess(&tokens),
        ..Scan::default()
    };
    // What `import` made callable without `data.` before it.
    let mut aliases: Vec<(&str, &str)> = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let rest = tokens.get(at + 1..).unwrap_or_default();
        if token.sort == Sort::Name && token.depth == 0 && token.starts_line {
            if matches!(token.text, "package" | "import") {
                let (path, used) = dotted(rest);
                let last = path.last().copied().unwrap_or_default();
                if token.text == "import" {
                    scan.any_kind |= path.first() == Some(&"input");
                    let alias = match (rest.get(used), rest.get(used + 1)) {
                        (Some(word), Some(alias)) if word.text == "as" => alias.text,
                        _ => last,
                    };
                    aliases.push((alias, last));
                } else if scan.package.is_none() {
                    scan.package_range = token.start..token.end();
                    scan.package = Some(path.join("."));
                }
                at += 1 + used;
                continue;
            }
            scan.rules.extend(rule(token, rest));
        }
        scan.forbidden.extend(forbidden(&tokens, at));
        match kinds(&tokens, at) {
            Reach::Nothing => {}
            Reach::Kind(kind) => drop(scan.kinds.insert(kind)),
            Reach::Any => scan.any_kind = true,
        }
        scan.whole_package.extend(whole_package(&tokens, at));
        if let (Some(name), Some(rule)) = (call(&tokens, at, &aliases), scan.rules.last_mut())
            && token.start > rule.range.start
        {
            rule.calls.push(name);
        }
        at += 1;
    }
    scan
}

/// The first place where there is more than the limits allow.
fn excess(tokens: &[Token<'_>]) -> Option<(Range<usize>, String)> {
    let mut operators = 0;
    let mut after_operator = false;
    for token in tokens {
        // What follows an operator is never the start of a rule, wherever the line breaks.
        if token.depth == 0 && token.starts_line && token.sort == Sort::Name && !after_operator {
            operators = 0;
        }
        after_operator = token.is_operator();
        operators += usize::from(after_operator);
        if token.depth > POLICY_BRACKETS {
            let message = format!("more than {POLICY_BRACKETS} brackets are open at once");
            return Some((token.start..token.end(), message));
        }
        if operators > POLICY_OPERATORS {
            let message = format!("a rule has more than {POLICY_OPERATORS} operators");
            return Some((token.start..token.end(), message));
        }
    }
    None
}

/// The rule whose head starts with this token.
fn rule<'a>(token: &Token<'a>, rest: &[Token<'a>]) -> Option<Rule<'a>> {
    let next = rest.first();
    let (name, next) = match token.text {
        "default" => (next.filter(|n| n.sort == Sort::Name)?, rest.get(1)),
        _ => (token, next),
    };
    let head = match next {
        Some(n) if n.sort == Sort::Name && n.text == "contains" => Head::Contains,
        Some(n) if n.is("(") && n.start == name.end() => Head::Function,
        Some(_) | None => Head::Other,
    };
    Some(Rule {
        name: name.text,
        head,
        range: name.start..name.end(),
        calls: Vec::new(),
    })
}

/// The last name of a function called here, unless it can only be a builtin: `f(…)`, `alias.f(…)`, `data.a.b.f(…)`.
fn call<'a>(tokens: &[Token<'a>], at: usize, aliases: &[(&'a str, &'a str)]) -> Option<&'a str> {
    let name = tokens.get(at).filter(|t| t.sort == Sort::Name)?;
    tokens.get(at + 1).filter(|t| t.is("("))?;
    let mut root = at;
    while let (Some(dot), Some(before)) = (root.checked_sub(1), root.checked_sub(2)) {
        let joined = tokens.get(dot).is_some_and(|t| t.is("."));
        if !joined || !tokens.get(before).is_some_and(|t| t.sort == Sort::Name) {
            break;
        }
        root = before;
    }
    let imported = |alias: &str| aliases.iter().find(|(a, _)| *a == alias);
    if root == at {
        return Some(imported(name.text).map_or(name.text, |(_, last)| last));
    }
    let root = tokens.get(root)?.text;
    (root == "data" || imported(root).is_some()).then_some(name.text)
}

/// The names of a dotted path at the beginning of these tokens, and how many tokens it takes.
fn dotted<'a>(tokens: &[Token<'a>]) -> (Vec<&'a str>, usize) {
    let mut names = Vec::new();
    let mut used = 0;
    while let Some(name) = tokens.get(used).filter(|t| t.sort == Sort::Name) {
        names.push(name.text);
        used += 1;
        if !tokens.get(used).is_some_and(|t| t.is(".")) {
            break;
        }
        used += 1;
    }
    (names, used)
}

/// `time.now_ns`, `time . now_ns` and `time["now_ns"]` are one function.
fn forbidden(tokens: &[Token<'_>], at: usize) -> Option<ForbiddenCall> {
    let space = tokens.get(at).filter(|t| t.sort == Sort::Name)?;
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    // `input.time.now_ns` is a field.
    if before.is_some_and(|t| t.is(".")) {
        return None;
    }
    let (join, name) = (tokens.get(at + 1)?, tokens.get(at + 2)?);
    let wanted = match (join.text, name.sort) {
        (".", Sort::Name) => name.text,
        ("[", Sort::Text) => name.text.get(1..name.text.len().saturating_sub(1))?,
        _ => return None,
    };
    let found = OUTSIDE
        .iter()
        .find(|f| f.space == space.text && f.name == wanted)?;
    Some(ForbiddenCall {
        function: format!("{}.{wanted}", space.text),
        instead: found.instead,
        range: space.start..name.end(),
    })
}

/// Which resources of `before` and `after` an expression can reach.
enum Reach<'a> {
    Nothing,
    Kind(&'a str),
    Any,
}

/// What the `input` at this place reaches. Whatever is not plainly one kind, or plainly something else, may be any.
fn kinds<'a>(tokens: &[Token<'a>], at: usize) -> Reach<'a> {
    let get = |n: usize| tokens.get(at + n);
    let field = at.checked_sub(1).and_then(|before| tokens.get(before));
    if !get(0).is_some_and(|t| t.sort == Sort::Name && t.text == "input")
        || field.is_some_and(|t| t.is("."))
    {
        return Reach::Nothing;
    }
    let name = |n: usize| match (get(n), get(n + 1)) {
        (Some(dot), Some(name)) if dot.is(".") && name.sort == Sort::Name => Some(name.text),
        _ => None,
    };
    match name(1) {
        None => Reach::Any,
        Some("before" | "after") => name(3).map_or(Reach::Any, Reach::Kind),
        Some(_) => Reach::Nothing,
    }
}

/// `data` or `data.lockstep` where no rule of it is named.
fn whole_package(tokens: &[Token<'_>], at: usize) -> Option<Range<usize>> {
    let data = tokens.get(at).filter(|t| t.sort == Sort::Name)?;
    let field = at.checked_sub(1).and_then(|before| tokens.get(before));
    if data.text != "data" || field.is_some_and(|t| t.is(".")) {
        return None;
    }
    let (path, used) = dotted(tokens.get(at + 1..)?.get(1..)?);
    let dot = tokens.get(at + 1)?.is(".");
    let whole = !dot || path.as_slice() == [super::PACKAGE];
    let end = tokens.get(at + if dot { 1 + used } else { 0 })?;
    whole.then(|| data.start..end.end())
}

/// Splits a text into names, strings and symbols; comments and white space are left out. All cuts are at ASCII characters.
fn tokens(source: &str) -> Vec<Token<'_>> {
    let bytes = source.as_bytes();
    let mut tokens = Vec::new();
    let (mut at, mut depth, mut starts_line) = (0, 0_usize, true);
    while let Some(&byte) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        let (sort, len) = match byte {
            b'\n' => {
                starts_line = true;
                at += 1;
                continue;
            }
            b'#' => {
                at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                continue;
            }
            b'"' => (Sort::Text, quoted(rest)),
            b'`' => {
                let closing = rest.iter().skip(1).position(|b| *b == b'`');
                (Sort::Text, closing.map_or(rest.len(), |n| n + 2))
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
                let len = rest.iter().position(|b| !word(b)).unwrap_or(rest.len());
                (Sort::Name, len)
            }
            _ if byte.is_ascii_whitespace() || !byte.is_ascii() => {
                at += 1;
                continue;
            }
            _ => (Sort::Symbol, 1),
        };
        if matches!(byte, b')' | b']' | b'}') {
            depth = depth.saturating_sub(1);
        }
        if let Some(text) = source.get(at..at + len) {
            tokens.push(Token {
                sort,
                text,
                start: at,
                depth,
                starts_line,
            });
        }
        if matches!(byte, b'(' | b'[' | b'{') {
            depth += 1;
        }
        starts_line = false;
        at += len;
    }
    tokens
}

/// The length of a string literal with its quotes; to the end of the line where it is not closed.
fn quoted(bytes: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            b'\n' => return at,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    bytes.len()
}
