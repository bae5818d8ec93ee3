//! A row of CSV as it is written: every field in quotes, and none that a spreadsheet takes for a formula.

use std::io::{self, Write};

/// A row that is being written.
#[derive(Default)]
pub(super) struct Line {
    bytes: Vec<u8>,
}

impl Line {
    fn separate(&mut self) {
        if !self.bytes.is_empty() {
            self.bytes.push(b',');
        }
    }

    /// A text from people, documents or systems.
    pub(super) fn text(&mut self, text: &str) {
        self.separate();
        self.bytes.push(b'"');
        if is_taken_for_formula(text) {
            self.bytes.push(b'\'');
        }
        self.quoted(text);
        self.bytes.push(b'"');
    }

    /// What can be no formula: times that were written here, and words that stand in the program. What was read is none of them.
    pub(super) fn plain(&mut self, text: &str) {
        self.separate();
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(b'"');
    }

    pub(super) fn number(&mut self, number: Option<i64>) {
        match number {
            Some(number) => {
                self.separate();
                // Writing to memory does not fail.
                let _ = write!(self.bytes, "\"{number}\"");
            }
            None => self.plain(""),
        }
    }

    fn quoted(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while let Some(at) = memchr::memchr2(b'"', 0, rest) {
            let (before, found) = rest.split_at(at);
            self.bytes.extend_from_slice(before);
            if found.first() == Some(&b'"') {
                self.bytes.extend_from_slice(b"\"\"");
            }
            rest = found.get(1..).unwrap_or_default();
        }
        self.bytes.extend_from_slice(rest);
    }

    /// Ends the row and writes it.
    pub(super) fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.bytes.extend_from_slice(b"\r\n");
        let written = out.write_all(&self.bytes);
        self.bytes.clear();
        written
    }
}

/// An apostrophe counts too, so that taking away the first one gives back every text.
fn is_taken_for_formula(text: &str) -> bool {
    text.trim_start_matches('\0').starts_with([
        '=', '+', '-', '@', '\t', '\r', '\n', '\'', '＝', '＋', '－', '＠',
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(texts: &[&str]) -> Vec<String> {
        let mut line = Line::default();
        texts.iter().for_each(|text| line.text(text));
        let mut bytes = Vec::new();
        line.end(&mut bytes).unwrap();
        assert!(bytes.ends_with(b"\"\r\n"));
        let mut reader = ::csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(bytes.as_slice());
        let mut records = reader.records();
        let record = records.next().unwrap().unwrap();
        assert!(records.next().is_none());
        record.iter().map(str::to_owned).collect()
    }

    proptest::proptest! {
        #[test]
        fn every_text_comes_back(text in "[=+@\t\r\n'\"＝－,a-c\u{3042}\\-]{0,12}", other in ".{0,20}") {
            let other = other.replace('\0', "");
            let read = fields(&[&text, &other]);
            for (read, wrote) in read.iter().zip([&text, &other]) {
                let back = read.strip_prefix('\'').unwrap_or(read);
                proptest::prop_assert_eq!(back, wrote.as_str());
                proptest::prop_assert!(!read.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']));
            }
        }
    }

    #[test]
    fn nothing_is_a_formula_and_no_zero_hides_one() {
        assert_eq!(
            fields(&["=1+1", "＝1", "-5", "a=b", "\n=1"]),
            ["'=1+1", "'＝1", "'-5", "a=b", "'\n=1"]
        );
        assert_eq!(fields(&["\0=1", "a\0b"]), ["'=1", "ab"]);
    }
}
