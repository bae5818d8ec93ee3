//! Whether text is canonical JSON (RFC 8785) as it stands: then it need not be read to be written again. Most of what systems hand back is what they
//! were given.
//!
//! It says yes only of what is plain enough to be sure of, and no of much that is canonical: numbers that are not whole or are long, escapes by
//! number, keys that UTF-16 would sort otherwise than UTF-8 does. What it says no to is read in full.

/// Deeper than this, text is read in full, which has a limit of its own.
const DEPTH: usize = 64;

/// Whole numbers of so many digits are exact as floats too, and written as they are.
const DIGITS: usize = 15;

pub(super) fn is_canonical(text: &str) -> bool {
    let mut reader = Reader {
        left: text.as_bytes(),
    };
    reader.value(DEPTH).is_some() && reader.left.is_empty()
}

/// What has not been looked at yet. `None` is the end of it: not plainly canonical.
struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.left.first()? {
            b'{' => self.object(depth.checked_sub(1)?),
            b'[' => self.array(depth.checked_sub(1)?),
            b'"' => self.string().map(drop),
            b'n' => self.word(b"null"),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.left = self.left.strip_prefix(word)?;
        Some(())
    }

    /// Whether the next byte is this one; it is taken then.
    fn is_next(&mut self, byte: u8) -> bool {
        self.word(&[byte]).is_some()
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        self.word(b"{")?;
        if self.is_next(b'}') {
            return Some(());
        }
        let mut last: Option<&[u8]> = None;
        loop {
            let key = self.string()?;
            // From U+E000 on, the order by UTF-16 is another.
            let is_plain = key.iter().all(|b| *b < 0xee && *b != b'\\');
            if !is_plain || last.is_some_and(|last| last >= key) {
                return None;
            }
            last = Some(key);
            self.word(b":")?;
            self.value(depth)?;
            if self.is_next(b'}') {
                return Some(());
            }
            self.word(b",")?;
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.word(b"[")?;
        if self.is_next(b']') {
            return Some(());
        }
        loop {
            self.value(depth)?;
            if self.is_next(b']') {
                return Some(());
            }
            self.word(b",")?;
        }
    }

    /// What is between the quotes, as it is written.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.word(b"\"")?;
        let all = self.left;
        let mut at = 0;
        loop {
            match all.get(at)? {
                b'"' => break,
                b'\\'
                    if matches!(
                        all.get(at + 1)?,
                        b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't'
                    ) =>
                {
                    at += 2;
                }
                b'\\' | 0..=0x1f => return None,
                _ => at += 1,
            }
        }
        self.left = all.get(at + 1..)?;
        all.get(..at)
    }

    fn number(&mut self) -> Option<()> {
        let is_negative = self.is_next(b'-');
        let digits = self.left.iter().take_while(|b| b.is_ascii_digit()).count();
        let starts_with_zero = self.left.first() == Some(&b'0');
        let is_plain = match digits {
            0 => false,
            1 => !(is_negative && starts_with_zero),
            _ => digits <= DIGITS && !starts_with_zero,
        };
        // A fraction or an exponent is found by whoever expects a comma there.
        self.left = self.left.get(digits..)?;
        is_plain.then_some(())
    }
}
