//! What a text could ask of the parser, found before the parser sees it.
//!
//! The parser recurses, and an attacker chooses how deep. Two bounds hold it:
//!
//! - Each level of recursion takes a word or a sign from the text. Their number, counted wherever
//!   they stand, bounds the depth whatever the text means: it sizes the stack.
//! - Brackets in each other, and type arguments it only guesses at, make the parser read text again
//!   and again. How deep they are is measured as a reader would see it, past texts and comments,
//!   and bounds the time. A text made to mislead the measure still meets the first bound.

/// How deep brackets may be in each other.
const MAX_BRACKETS: usize = 128;
/// How many `<` in a row may stay open: what follows each is read as type arguments first.
const MAX_ANGLES: usize = 64;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measure {
    /// Words and numbers, and characters beyond ASCII.
    pub(super) words: usize,
    /// Signs: what is neither a word nor white space, byte by byte.
    pub(super) signs: usize,
    /// Where the text is nested too deeply.
    pub(super) too_deep: Option<usize>,
}

/// Measures a text.
pub(super) fn measure(text: &str) -> Measure {
    let (mut words, mut signs, mut in_word) = (0, 0, false);
    for byte in text.bytes() {
        if !byte.is_ascii() {
            // It may be white space, which joins no words: each character counts as one.
            words += usize::from(byte >= 0xc0);
            in_word = false;
            continue;
        }
        let is_word = is_word(byte);
        words += usize::from(is_word && !in_word);
        signs += usize::from(!is_word && !byte.is_ascii_whitespace());
        in_word = is_word;
    }
    Measure {
        words,
        signs,
        too_deep: Reader::new(text).too_deep(),
    }
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'\\' | b'#') || byte >= 0x80
}

/// An open bracket.
struct Bracket {
    /// Whether it is a `${`, after whose end a template goes on.
    in_template: bool,
    /// How many `<` were open when it opened.
    angles: usize,
}

/// Reads a text roughly: brackets, texts, comments, templates, and what looks like a regular
/// expression.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    open: Vec<Bracket>,
    angles: usize,
    /// Whether a value may have ended, so that `/` divides.
    after_value: bool,
}

impl<'a> Reader<'a> {
    const fn new(text: &'a str) -> Self {
        Self {
            bytes: text.as_bytes(),
            at: 0,
            open: Vec::new(),
            angles: 0,
            after_value: false,
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn too_deep(mut self) -> Option<usize> {
        while let Some(byte) = self.peek(0) {
            let start = self.at;
            self.at += 1;
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'/' if self.peek(0) == Some(b'/') => self.skip_past(b"\n"),
                b'/' if self.peek(0) == Some(b'*') => {
                    self.at += 1;
                    self.skip_past(b"*/");
                }
                b'/' if !self.after_value => self.regular_expression(),
                b'\'' | b'"' => self.quoted(byte),
                b'`' => self.template(),
                b'(' | b'[' | b'{' => self.open_bracket(false),
                b')' | b']' | b'}' => self.close_bracket(byte),
                b'<' => {
                    self.angles += 1;
                    self.after_value = false;
                }
                b'>' => {
                    // `=>` closes nothing.
                    if start == 0 || self.bytes.get(start - 1) != Some(&b'=') {
                        self.angles = self.angles.saturating_sub(1);
                    }
                    self.after_value = false;
                }
                b';' => {
                    self.angles = self.open.last().map_or(0, |bracket| bracket.angles);
                    self.after_value = false;
                }
                _ if is_word(byte) => self.word(start),
                _ => self.after_value = false,
            }
            if self.open.len() > MAX_BRACKETS || self.angles > MAX_ANGLES {
                return Some(start);
            }
        }
        None
    }

    fn open_bracket(&mut self, in_template: bool) {
        self.open.push(Bracket {
            in_template,
            angles: self.angles,
        });
        self.after_value = false;
    }

    fn close_bracket(&mut self, byte: u8) {
        self.after_value = byte != b'}';
        if let Some(bracket) = self.open.pop() {
            self.angles = bracket.angles;
            if bracket.in_template && byte == b'}' {
                self.template();
            }
        }
    }

    fn word(&mut self, start: usize) {
        while self.peek(0).is_some_and(is_word) {
            self.at += 1;
        }
        let word = self.bytes.get(start..self.at).unwrap_or_default();
        let is_member = start > 0 && self.bytes.get(start - 1) == Some(&b'.');
        let before_value: &[&[u8]] = &[
            b"return",
            b"typeof",
            b"case",
            b"in",
            b"of",
            b"do",
            b"else",
            b"void",
            b"delete",
            b"throw",
            b"new",
            b"instanceof",
            b"extends",
            b"default",
            b"await",
            b"yield",
        ];
        self.after_value = is_member || !before_value.contains(&word);
    }

    fn skip_past(&mut self, end: &[u8]) {
        while let Some(rest) = self.bytes.get(self.at..).filter(|rest| !rest.is_empty()) {
            if rest.starts_with(end) {
                self.at += end.len();
                return;
            }
            self.at += 1;
        }
    }

    fn quoted(&mut self, quote: u8) {
        self.after_value = true;
        while let Some(byte) = self.peek(0) {
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                // A text ends with its line, also where it was none.
                b'\n' => return,
                _ if byte == quote => return,
                _ => {}
            }
        }
    }

    /// The text of a template up to its end or the next `${`.
    fn template(&mut self) {
        while let Some(byte) = self.peek(0) {
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                b'$' if self.peek(0) == Some(b'{') => {
                    self.at += 1;
                    self.open_bracket(true);
                    return;
                }
                b'`' => break,
                _ => {}
            }
        }
        self.after_value = true;
    }

    /// A regular expression, if it ends on its line; else the `/` divides.
    fn regular_expression(&mut self) {
        let mut at = self.at;
        let mut in_class = false;
        while let Some(byte) = self.bytes.get(at) {
            at += 1;
            match byte {
                b'\\' => at += 1,
                b'\n' => break,
                b'[' => in_class = true,
                b']' => in_class = false,
                b'/' if !in_class => {
                    self.at = at;
                    self.after_value = true;
                    return;
                }
                _ => {}
            }
        }
        self.after_value = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_texts_are_none() {
        let opened = "[".repeat(300);
        for text in [
            format!("const a = '{opened}'"),
            format!("const a = \"\\\"{opened}\""),
            format!("const a = `{opened}${{b}}{opened}`"),
            format!("// {opened}\n/* {opened} */"),
            format!("const a = /{}\\/[/]/", "\\[".repeat(300)),
            "if (a < b) { c() }\n".repeat(1000),
            "const a: Array<string> = x => y\n".repeat(1000),
        ] {
            assert_eq!(measure(&text).too_deep, None, "{text}");
        }
    }

    #[test]
    fn nested_brackets_are_found() {
        for text in ["[", "(", "{", "f(", "`${", "a<", "A<[", "'\n[", "a / b; ["] {
            assert!(measure(&text.repeat(300)).too_deep.is_some(), "{text}");
        }
    }

    #[test]
    fn words_and_signs_are_counted_wherever_they_stand() {
        let measure = measure("let a = \"b c\" // d\n");
        assert_eq!((measure.words, measure.signs), (5, 5));
    }
}
