//! Markdown as forms read it: an [`Outline`] of headings, paragraphs, list items and tasks, line by line, in which every
//! piece of text knows its bytes in the source, with the front matter before it.
//!
//! Inline markup is taken away (`**影響**: 全員` reads as `影響: 全員`), code blocks, quotes and HTML are left out, so that
//! what only looks like a task is none. What the lines mean is not known here; `fields` finds the labelled ones.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;

use super::limits;

mod fields;
mod front_matter;
mod walk;

pub use fields::{Field, Fields, Labels, Value, split_label};
pub use front_matter::{FrontMatter, FrontMatterFault};

#[cfg(test)]
mod tests;

/// A stretch of text as it is read, trimmed, and where it stands in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phrase {
    pub text: String,
    pub span: Range<usize>,
}

/// A document's blocks in reading order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outline {
    pub front: Option<FrontMatter>,
    pub blocks: Vec<Block>,
    /// Where lists, quotes, markup or brackets first nest deeper than [`limits::NESTING`]. What is further in is not there.
    pub too_deep: Option<Range<usize>>,
}

/// A heading, a paragraph, or the text of a list item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub sort: Sort,
    /// The text of the list item that this one lies in, by its place in [`Outline::blocks`]: always an earlier one.
    pub parent: Option<usize>,
    pub lines: Vec<Line>,
    /// The name in `<!-- id: name -->`.
    pub id: Option<Phrase>,
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// With its level, 1 to 6.
    Heading(u8),
    Paragraph,
    Item,
    Task(Tick),
}

/// The box of a task list item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    Open,
    Done,
}

/// One line of text without its markup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    /// Which bytes of the source the text comes from, piece by piece.
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    /// Where it begins in [`Line::text`].
    at: usize,
    source: Range<usize>,
    /// Whether the source reads just so. Where it doesn't (an entity, code over two lines), the piece is one place.
    exact: bool,
}

impl Outline {
    /// Reads a document. Any text is Markdown, so nothing can fail but the front matter, which says so itself.
    pub fn new(text: &str) -> Self {
        let mut blocks = Vec::new();
        let front = front_matter::find(text);
        let too_deep = match &front {
            Some(found) => {
                // The title line may stand before the front matter.
                let before = walk::blocks(text, 0..found.span.start, &mut blocks);
                let after = walk::blocks(text, found.span.end..text.len(), &mut blocks);
                before.or(after)
            }
            None => walk::blocks(text, 0..text.len(), &mut blocks),
        };
        Self {
            front,
            blocks,
            too_deep,
        }
    }

    /// The first heading that says something, by its place among the blocks.
    pub fn heading(&self) -> Option<(usize, &Block)> {
        let mut blocks = self.blocks.iter().enumerate();
        blocks.find(|(_, b)| matches!(b.sort, Sort::Heading(_)) && !b.phrase().text.is_empty())
    }

    /// Where the document begins to say something: its heading, else its first line. What is missing is reported here.
    pub fn beginning(&self) -> Range<usize> {
        let heading = self.heading().map(|(_, block)| block);
        let first = heading.or(self.blocks.first());
        let line = first.and_then(|block| block.lines.first());
        line.map_or(0..0, |line| line.phrase(0..line.text.len()).span)
    }
}

impl Block {
    /// All lines as one text. Between two lines a space is put, except where both sides are Japanese.
    pub fn phrase(&self) -> Phrase {
        let mut lines = self
            .lines
            .iter()
            .map(|line| line.phrase(0..line.text.len()));
        let Some(mut whole) = lines.next() else {
            return Phrase {
                text: String::new(),
                span: 0..0,
            };
        };
        for line in lines {
            whole.append(&line);
        }
        whole
    }
}

impl Phrase {
    /// Joins the next line on. The span then covers both.
    pub fn append(&mut self, next: &Phrase) {
        if next.text.is_empty() {
            return;
        }
        let wide = |c: Option<char>| c.is_some_and(|c| !c.is_ascii());
        let tight = wide(self.text.chars().next_back()) && wide(next.text.chars().next());
        if !self.text.is_empty() && !tight {
            self.text.push(' ');
        }
        self.text.push_str(&next.text);
        self.span = self.span.start.min(next.span.start)..self.span.end.max(next.span.end);
    }

    /// A part of the phrase, trimmed. The span is exact where the text stands in the source as it reads, and covers
    /// the whole phrase where it doesn't.
    #[must_use]
    pub fn part(&self, part: Range<usize>) -> Phrase {
        let (text, start) = trimmed(&self.text, part);
        let exact = self.span.len() == self.text.len();
        let at = self.span.start + start;
        let span = if exact {
            at..at + text.len()
        } else {
            self.span.clone()
        };
        Phrase {
            text: text.to_owned(),
            span,
        }
    }

    /// The words between commas of any sort, as lists are written in one line.
    pub fn list(&self) -> Vec<Phrase> {
        let mut words = Vec::new();
        let mut start = 0;
        let commas = self
            .text
            .char_indices()
            .filter(|(_, c)| matches!(c, ',' | '，' | '、' | '､'));
        for (at, len) in commas
            .map(|(at, c)| (at, c.len_utf8()))
            .chain([(self.text.len(), 0)])
        {
            let word = self.part(start..at);
            if !word.text.is_empty() {
                words.push(word);
            }
            start = at + len;
        }
        words
    }
}

impl Line {
    /// A part of the line, trimmed, with its place in the source.
    pub fn phrase(&self, part: Range<usize>) -> Phrase {
        let (text, start) = trimmed(&self.text, part);
        Phrase {
            text: text.to_owned(),
            span: self.source(start..start + text.len()),
        }
    }

    /// The bytes of the source that a part of the text comes from.
    fn source(&self, part: Range<usize>) -> Range<usize> {
        let at = |offset: usize, piece: &Piece, loose: usize| match piece.exact {
            true => (piece.source.start + offset.saturating_sub(piece.at)).min(piece.source.end),
            false => loose,
        };
        let piece = |offset: usize| self.pieces.iter().rev().find(|p| p.at <= offset);
        let first = piece(part.start).or(self.pieces.first());
        let last = piece(part.end.saturating_sub(1).max(part.start)).or(self.pieces.last());
        match (first, last) {
            (Some(first), Some(last)) => {
                let start = at(part.start, first, first.source.start);
                start..at(part.end, last, last.source.end).max(start)
            }
            (None, _) | (_, None) => 0..0,
        }
    }

    fn push(&mut self, text: &str, source: Range<usize>, exact: bool) {
        self.pieces.push(Piece {
            at: self.text.len(),
            source,
            exact,
        });
        self.text.push_str(text);
    }

    /// Takes text off the front. The length must end a character.
    fn cut(&mut self, length: usize) {
        let Some(rest) = self.text.get(length..) else {
            return;
        };
        self.text = rest.to_owned();
        let mut pieces: Vec<Piece> = Vec::new();
        for piece in self.pieces.drain(..) {
            let gone = match piece.exact {
                true => length.saturating_sub(piece.at),
                false => 0,
            };
            let piece = Piece {
                at: piece.at.saturating_sub(length),
                source: (piece.source.start + gone).min(piece.source.end)..piece.source.end,
                exact: piece.exact,
            };
            if piece.at == 0 {
                pieces.clear();
            }
            pieces.push(piece);
        }
        self.pieces = pieces;
    }
}

/// A part of a text without white space around it, and where it begins.
fn trimmed(text: &str, part: Range<usize>) -> (&str, usize) {
    let inside = text.get(part.clone()).unwrap_or("");
    let start = part.start + (inside.len() - inside.trim_start().len());
    (inside.trim(), start)
}

/// A text as names and labels are compared: width, case and runs of white space do not count (NFKC, lower case).
pub fn folded(text: &str) -> String {
    let text = text.nfkc().collect::<String>().to_lowercase();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a character divides a label from its value: a colon, half- or full-width.
pub fn is_colon(c: char) -> bool {
    matches!(c, ':' | '：' | '﹕' | '︓' | '꞉')
}
