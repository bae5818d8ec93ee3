//! From the Markdown parser's events to blocks.

use std::ops::Range;

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd};

use super::{Block, Line, Phrase, Sort, Tick, is_colon, limits};

/// Appends the blocks of a part of the text, up to where it nests too deep, which is given.
pub(super) fn blocks(
    text: &str,
    part: Range<usize>,
    blocks: &mut Vec<Block>,
) -> Option<Range<usize>> {
    let source = text.get(part.clone()).unwrap_or("");
    // Brackets that are never closed are text to the parser, and hard to read for everyone else.
    if let Some(at) = brackets(source) {
        let at = part.start + at;
        return Some(at..at + 1);
    }
    let mut walk = Walk {
        text,
        blocks,
        open: false,
        heading: None,
        items: Vec::new(),
        silent: 0,
        links: Vec::new(),
    };
    let mut depth = 0_usize;
    for (event, range) in Parser::new_ext(source, Options::ENABLE_TASKLISTS).into_offset_iter() {
        let at = part.start + range.start..part.start + range.end;
        // A list and its item are one level to who writes them.
        if let Event::Start(tag) = &event {
            depth += usize::from(!matches!(tag, Tag::List(_)));
        } else if let Event::End(tag) = &event {
            depth = depth.saturating_sub(usize::from(!matches!(tag, TagEnd::List(_))));
        }
        if depth > limits::NESTING {
            walk.close();
            let first = text.get(at.start..).and_then(|t| t.chars().next());
            return Some(at.start..at.start + first.map_or(0, char::len_utf8));
        }
        walk.event(event, at);
    }
    walk.close();
    None
}

/// The bracket of a paragraph that is open in more than the limit allows.
fn brackets(source: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut blank = true;
    source.bytes().enumerate().find_map(|(at, byte)| {
        match byte {
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            b'\n' if blank => depth = 0,
            _ => {}
        }
        blank = byte == b'\n' || (blank && byte.is_ascii_whitespace());
        (depth > limits::NESTING).then_some(at)
    })
}

struct Walk<'t, 'b> {
    text: &'t str,
    blocks: &'b mut Vec<Block>,
    /// Whether the last block still takes text.
    open: bool,
    /// The level of the heading we are in.
    heading: Option<u8>,
    /// The list items we are in, each with its text's block once it has one.
    items: Vec<Option<usize>>,
    /// How many quotes and code blocks we are in.
    silent: usize,
    links: Vec<(CowStr<'t>, usize)>,
}

impl<'t> Walk<'t, '_> {
    fn event(&mut self, event: Event<'t>, at: Range<usize>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag, at),
            Event::Text(text) | Event::Code(text) => self.push(&text, at),
            Event::SoftBreak | Event::HardBreak => {
                if let Some(block) = self.current() {
                    block.lines.push(Line::default());
                }
            }
            Event::TaskListMarker(done) => {
                self.close();
                self.begin(Some(if done { Tick::Done } else { Tick::Open }));
            }
            Event::Html(html) | Event::InlineHtml(html) => self.comment(&html, at),
            Event::Rule => self.close(),
            Event::InlineMath(_) | Event::DisplayMath(_) | Event::FootnoteReference(_) => {}
        }
    }

    fn start(&mut self, tag: Tag<'t>) {
        if let Tag::Link { dest_url, .. } = tag {
            let at = self
                .current()
                .and_then(|b| b.lines.last())
                .map_or(0, |l| l.text.len());
            self.links.push((dest_url, at));
            return;
        }
        if is_inline(&tag.to_end()) {
            return;
        }
        // In a list with blank lines the box comes before the paragraph that it belongs to.
        let waiting = self.open
            && matches!(tag, Tag::Paragraph)
            && self.blocks.last().is_some_and(|b| {
                matches!(b.sort, Sort::Task(_)) && b.lines.iter().all(|l| l.text.is_empty())
            });
        if !waiting {
            self.close();
        }
        if let Tag::Heading { level, .. } = &tag {
            self.heading = Some(*level as u8);
        } else if matches!(tag, Tag::Item) {
            self.items.push(None);
        } else if is_silent(&tag.to_end()) {
            self.silent += 1;
        }
    }

    fn end(&mut self, tag: TagEnd, at: Range<usize>) {
        if matches!(tag, TagEnd::Link) {
            self.end_link(at);
            return;
        }
        if is_inline(&tag) {
            return;
        }
        self.close();
        if matches!(tag, TagEnd::Heading(_)) {
            self.heading = None;
        } else if matches!(tag, TagEnd::Item) {
            self.items.pop();
        } else if is_silent(&tag) {
            self.silent = self.silent.saturating_sub(1);
        }
    }

    /// Keeps where a link leads, where its text does not say it.
    fn end_link(&mut self, at: Range<usize>) {
        let Some((target, start)) = self.links.pop() else {
            return;
        };
        let Some(line) = self.current().and_then(|b| b.lines.last_mut()) else {
            return;
        };
        if !line
            .text
            .get(start..)
            .is_some_and(|shown| shown.contains(&*target))
        {
            line.push(&format!(" <{target}>"), at, false);
        }
    }

    fn current(&mut self) -> Option<&mut Block> {
        if self.open {
            self.blocks.last_mut()
        } else {
            None
        }
    }

    fn begin(&mut self, tick: Option<Tick>) {
        if self.silent > 0 {
            return;
        }
        let first = matches!(self.items.last(), Some(None));
        let sort = match (self.heading, tick) {
            (Some(level), _) => Sort::Heading(level),
            (None, Some(tick)) => Sort::Task(tick),
            (None, None) if first => Sort::Item,
            (None, None) => Sort::Paragraph,
        };
        let parent = self.items.iter().rev().find_map(|item| *item);
        if let (true, Some(item)) = (first, self.items.last_mut()) {
            *item = Some(self.blocks.len());
        }
        self.blocks.push(Block {
            sort,
            parent,
            lines: vec![Line::default()],
            id: None,
        });
        self.open = true;
    }

    fn push(&mut self, text: &str, at: Range<usize>) {
        if self.silent > 0 {
            return;
        }
        if !self.open {
            self.begin(None);
        }
        // Inside `code` the text begins after the backticks.
        let source = self.text.get(at.clone()).unwrap_or("");
        let (place, exact) = match source.find(text) {
            Some(skipped) => (at.start + skipped..at.start + skipped + text.len(), true),
            None => (at, false),
        };
        if let Some(line) = self.current().and_then(|b| b.lines.last_mut()) {
            line.push(text, place, exact);
        }
    }

    /// Ends the open block. An item whose box the parser did not see, such as `［　］`, becomes a task.
    fn close(&mut self) {
        let text = self.text;
        if let Some(block) = self.current()
            && block.sort == Sort::Item
            && let Some(line) = block.lines.first_mut()
            && let Some((tick, length)) = tick(&line.text)
            && !text
                .get(..line.source(0..1).start)
                .is_some_and(|before| before.ends_with('\\'))
        {
            line.cut(length);
            block.sort = Sort::Task(tick);
        }
        self.open = false;
    }

    /// `<!-- id: name -->` names the block it stands in.
    fn comment(&mut self, html: &str, at: Range<usize>) {
        let Some(inside) = html
            .trim()
            .strip_prefix("<!--")
            .and_then(|t| t.strip_suffix("-->"))
        else {
            return;
        };
        let Some((key, value)) = inside.split_once(is_colon) else {
            return;
        };
        if self.silent > 0 || !key.trim().eq_ignore_ascii_case("id") {
            return;
        }
        let item = self.items.last().copied().flatten();
        let block = if self.open {
            self.blocks.last_mut()
        } else {
            item.and_then(|i| self.blocks.get_mut(i))
        };
        if let Some(block) = block.filter(|b| b.id.is_none()) {
            block.id = Some(Phrase {
                text: value.trim().to_owned(),
                span: at,
            });
        }
    }
}

/// Markup inside a line.
fn is_inline(tag: &TagEnd) -> bool {
    matches!(
        tag,
        TagEnd::Emphasis
            | TagEnd::Strong
            | TagEnd::Strikethrough
            | TagEnd::Superscript
            | TagEnd::Subscript
            | TagEnd::Link
            | TagEnd::Image
    )
}

/// Blocks whose text only looks like the document's own.
fn is_silent(tag: &TagEnd) -> bool {
    matches!(tag, TagEnd::CodeBlock | TagEnd::BlockQuote(_))
}

/// A box at the start of an item that the parser takes for text: full-width, or without the space behind it.
fn tick(text: &str) -> Option<(Tick, usize)> {
    let open = |c: &char| matches!(c, '[' | '［');
    let shut = |c: &char| matches!(c, ']' | '］');
    let mut chars = text.chars();
    let first = chars.next().filter(open)?;
    let mark = chars.next()?;
    if shut(&mark) {
        return Some((Tick::Open, first.len_utf8() + mark.len_utf8()));
    }
    let last = chars.next().filter(shut)?;
    let tick = match mark {
        ' ' | '　' => Tick::Open,
        'x' | 'X' | 'ｘ' | 'Ｘ' | '✓' | '✔' | '☑' | 'レ' => Tick::Done,
        _ => return None,
    };
    Some((tick, first.len_utf8() + mark.len_utf8() + last.len_utf8()))
}
