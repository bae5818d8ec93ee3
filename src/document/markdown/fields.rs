//! Labelled values: `影響: 全職員`, `**Impact:** everyone`, `【影響】全職員`, a heading with its section, or a key of the
//! front matter. All of them mean the same.

use std::ops::Range;

use super::{Block, FrontMatter, Line, Outline, Phrase, Sort, Tick, folded, is_colon};
use crate::document::tree::{Node, NodeValue};
use crate::document::{limits, suggest};

/// The fields a form knows: each with the labels that mean it, as [`folded`] leaves them.
pub type Labels = [(&'static str, &'static [&'static str])];

/// One labelled value, or the list under a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    pub label: Phrase,
    pub values: Vec<Value>,
}

/// One value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    pub phrase: Phrase,
    /// For a task list item.
    pub tick: Option<Tick>,
}

/// What a document says under labels, and what it says besides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    pub known: Vec<Field>,
    /// Lines without a known label, by their block's place and their own in it.
    pub rest: Vec<(usize, usize)>,
    /// Keys of the front matter that mean nothing.
    pub unknown: Vec<Phrase>,
    /// Values of the front matter that are neither a text nor a list of texts, with what they are.
    pub nested: Vec<(Phrase, &'static str)>,
    /// Labels of fields that have a value already.
    pub repeated: Vec<Field>,
    /// Labels that are nearly known ones, which they then probably mean.
    pub misspelt: Vec<(Phrase, &'static str)>,
}

impl Fields {
    /// The field with this name.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.known.iter().find(|field| field.name == name)
    }

    /// The field's value as one text, where it has one.
    pub fn text(&self, name: &str) -> Option<Phrase> {
        self.get(name)
            .map(Field::text)
            .filter(|phrase| !phrase.text.is_empty())
    }

    fn add(&mut self, field: Field) {
        if self.get(field.name).is_some() {
            self.repeated.push(field);
        } else {
            self.known.push(field);
        }
    }
}

impl Field {
    /// All values as one text, a line each. An empty field has its label's place.
    pub fn text(&self) -> Phrase {
        let mut values = self.values.iter().map(|value| &value.phrase);
        let Some(first) = values.next() else {
            return Phrase {
                text: String::new(),
                span: self.label.span.clone(),
            };
        };
        let mut whole = first.clone();
        for value in values {
            whole.text.push('\n');
            whole.text.push_str(&value.text);
            whole.span.end = whole.span.end.max(value.span.end);
        }
        whole
    }

    /// The values as a list: those of a list, or the words between commas.
    pub fn list(&self) -> Vec<Phrase> {
        self.values
            .iter()
            .flat_map(|value| value.phrase.list())
            .collect()
    }
}

impl Outline {
    /// Whether a block lies in the list item whose text is at `place`.
    fn is_below(&self, block: &Block, place: usize) -> bool {
        let mut parent = block.parent;
        while let Some(at) = parent.filter(|at| *at > place) {
            // A parent always comes before, so this ends.
            parent = self.blocks.get(at).and_then(|b| b.parent);
        }
        parent == Some(place)
    }

    /// Finds what is labelled. Lines that `own` claims are the form's: they are neither values nor rest.
    pub fn fields(&self, labels: &Labels, own: impl Fn(&Block, &Line) -> bool) -> Fields {
        let mut fields = Fields::default();
        if let Some(front) = &self.front {
            from_front_matter(front, labels, &mut fields);
        }
        let title = self.heading().map(|(at, _)| at);
        let mut reader = Reader {
            outline: self,
            labels,
            fields,
            open: None,
            compared: 0,
        };
        for (at, block) in self.blocks.iter().enumerate() {
            if Some(at) == title {
                reader.close();
            } else if matches!(block.sort, Sort::Heading(_)) {
                reader.heading(at, block);
            } else {
                // The one line above the heading is the file's own title.
                let above = at == 0 && title.is_some_and(|t| t > 0) && block.lines.len() == 1;
                reader.block(at, block, above, &own);
            }
        }
        reader.close();
        reader.fields
    }
}

/// How far a field goes on after the block of its label.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Its value stood behind the label; only what lies below it in the list belongs to it too.
    Line,
    /// Nothing stood behind the label: the next paragraph or list is the value.
    Next,
    /// The label was such a line, and a list has begun.
    List,
    /// The label is a heading: all up to the next heading or label.
    Section,
}

impl Extent {
    /// Whether a block that is not the label's own still belongs to the field.
    fn takes(self, block: &Block, below: bool) -> bool {
        match self {
            Self::Line => below,
            Self::Next | Self::Section => true,
            Self::List => {
                block.parent.is_some() || matches!(block.sort, Sort::Item | Sort::Task(_))
            }
        }
    }

    fn after(self, sort: Sort) -> Self {
        match (self, sort) {
            (Self::Next, Sort::Item | Sort::Task(_)) => Self::List,
            (Self::Next, Sort::Paragraph | Sort::Heading(_)) => Self::Line,
            (Self::Line | Self::List | Self::Section, _) => self,
        }
    }
}

struct Reader<'l> {
    outline: &'l Outline,
    labels: &'l Labels,
    fields: Fields,
    open: Option<Open>,
    /// How many lines have been compared with the known labels: that is not free, and prose has colons too.
    compared: usize,
}

/// The field that following lines may belong to.
struct Open {
    field: Field,
    /// The block its label stands in.
    block: usize,
    extent: Extent,
    /// Whether nothing stood behind the label; then every line below it is a value of its own.
    bare: bool,
    /// The block that its last value stands in.
    last: Option<usize>,
}

impl Reader<'_> {
    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.fields.add(open.field);
        }
    }

    fn begin(
        &mut self,
        name: &'static str,
        label: Phrase,
        value: Option<Value>,
        at: (usize, Extent),
    ) {
        self.close();
        let (block, extent) = at;
        let bare = value.is_none();
        let values = value.into_iter().collect();
        let field = Field {
            name,
            label,
            values,
        };
        self.open = Some(Open {
            field,
            block,
            extent,
            bare,
            last: None,
        });
    }

    fn heading(&mut self, at: usize, block: &Block) {
        self.close();
        let phrase = block.phrase();
        match lookup(self.labels, &phrase.text) {
            Some(name) => self.begin(name, phrase, None, (at, Extent::Section)),
            None => self
                .fields
                .rest
                .extend((0..block.lines.len()).map(|line| (at, line))),
        }
    }

    fn block(
        &mut self,
        at: usize,
        block: &Block,
        above: bool,
        own: &impl Fn(&Block, &Line) -> bool,
    ) {
        let tick = match block.sort {
            Sort::Task(tick) => Some(tick),
            Sort::Heading(_) | Sort::Paragraph | Sort::Item => None,
        };
        let mut claimed = false;
        for (number, line) in block.lines.iter().enumerate() {
            // The lines after a claimed one continue it.
            claimed = claimed || own(block, line);
            if claimed || line.text.trim().is_empty() {
                continue;
            }
            if let Some((label, value)) = split_label(&line.text) {
                let label = line.phrase(label);
                let value = line.phrase(value);
                if let Some(name) = lookup(self.labels, &label.text) {
                    let extent = if value.text.is_empty() && block.sort == Sort::Paragraph {
                        Extent::Next
                    } else {
                        Extent::Line
                    };
                    let value = Some(Value {
                        phrase: value,
                        tick,
                    })
                    .filter(|v| !v.phrase.text.is_empty());
                    self.begin(name, label, value, (at, extent));
                    continue;
                }
                if self.compared < limits::FINDINGS {
                    self.compared += 1;
                    self.fields.misspelt.extend(misspelt(self.labels, label));
                }
            }
            let phrase = line.phrase(0..line.text.len());
            let below = |open: &Open| self.outline.is_below(block, open.block);
            // The lines after the label's in its own block go on with it.
            let belongs = |open: &Open| {
                (number > 0 && (open.block == at || open.last == Some(at)))
                    || open.extent.takes(block, below(open))
            };
            match self.open.as_mut().filter(|open| belongs(open)) {
                Some(open) => {
                    let same = number > 0 && (open.last == Some(at) || open.block == at);
                    let apart = open.last.is_none_or(|last| last == open.block) && open.bare;
                    match open.field.values.last_mut().filter(|_| same && !apart) {
                        Some(last) => last.phrase.append(&phrase),
                        None => open.field.values.push(Value { phrase, tick }),
                    }
                    open.last = Some(at);
                    open.extent = open.extent.after(block.sort);
                }
                None if above => {}
                None => self.fields.rest.push((at, number)),
            }
        }
    }
}

fn from_front_matter(front: &FrontMatter, labels: &Labels, fields: &mut Fields) {
    for member in &front.members {
        let label = Phrase {
            text: member.key.clone(),
            span: member.key_span.clone(),
        };
        let Some(name) = lookup(labels, &member.key) else {
            fields.unknown.push(label);
            continue;
        };
        let nodes = match &member.value.value {
            NodeValue::Array(items) => items.as_slice(),
            NodeValue::Null
            | NodeValue::Bool(_)
            | NodeValue::Number(_)
            | NodeValue::String(_)
            | NodeValue::Object(_) => std::slice::from_ref(&member.value),
        };
        let mut values = Vec::new();
        for node in nodes {
            match scalar(node) {
                Ok(Some(text)) => {
                    let phrase = Phrase {
                        text,
                        span: node.span.clone(),
                    };
                    values.push(Value { phrase, tick: None });
                }
                Ok(None) => {}
                Err(sort) => {
                    let phrase = Phrase {
                        text: label.text.clone(),
                        span: node.span.clone(),
                    };
                    fields.nested.push((phrase, sort));
                }
            }
        }
        fields.add(Field {
            name,
            label,
            values,
        });
    }
}

/// A value as text; `None` for null and for nothing.
fn scalar(node: &Node) -> Result<Option<String>, &'static str> {
    let text = match &node.value {
        NodeValue::Null => return Ok(None),
        NodeValue::Bool(b) => b.to_string(),
        NodeValue::Number(n) => n.to_string(),
        NodeValue::String(s) => s.trim().to_owned(),
        NodeValue::Array(_) | NodeValue::Object(_) => return Err(node.sort()),
    };
    Ok((!text.is_empty()).then_some(text))
}

/// Divides a line into label and value: at the first colon that is not in brackets, or behind `【label】`.
pub fn split_label(text: &str) -> Option<(Range<usize>, Range<usize>)> {
    let indent = text.len() - text.trim_start().len();
    if text.trim_start().starts_with('【')
        && let Some(end) = text.find('】')
    {
        let after = end + '】'.len_utf8();
        let rest = text.get(after..)?;
        let colon = rest
            .chars()
            .next()
            .filter(|c| is_colon(*c))
            .map_or(0, char::len_utf8);
        return Some((indent + '【'.len_utf8()..end, after + colon..text.len()));
    }
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '（' | '「' | '『' | '[' | '［' => depth += 1,
            ')' | '）' | '」' | '』' | ']' | '］' => depth = depth.saturating_sub(1),
            c if depth == 0 && is_colon(c) => {
                let after = at + c.len_utf8();
                // `https://…` is no label.
                let address = text.get(after..).is_some_and(|rest| rest.starts_with("//"));
                return (!address && at > 0).then_some((0..at, after..text.len()));
            }
            _ => {}
        }
    }
    None
}

fn lookup(labels: &Labels, label: &str) -> Option<&'static str> {
    let label = plain(label);
    labels
        .iter()
        .find(|(_, words)| words.contains(&label.as_str()))
        .map(|(name, _)| *name)
}

/// A label without bullets and colons that people put around it.
fn plain(label: &str) -> String {
    let bullets = [
        '・', '･', '•', '●', '■', '◆', '○', '□', '*', '【', '】', ':',
    ];
    folded(label)
        .trim_matches(|c: char| bullets.contains(&c) || c.is_whitespace())
        .to_owned()
}

fn misspelt(labels: &Labels, label: Phrase) -> Option<(Phrase, &'static str)> {
    let plain = plain(&label.text);
    // In a label of two characters nearly every other one is near.
    if plain.chars().count() < 3 || plain.contains(' ') {
        return None;
    }
    let words = labels.iter().flat_map(|(_, words)| words.iter().copied());
    let long = words.filter(|word| word.chars().count() >= 3);
    suggest::nearest(&plain, long).map(|word| (label, word))
}
