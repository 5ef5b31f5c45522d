//! Texts made of others: cut, joined, repeated, nested.

use std::collections::BTreeSet;

/// The longest text, in bytes: most are far shorter.
const MAX_TEXT: usize = 512 * 1024;

/// Signs that the corpus may lack.
const SIGNS: &[&str] = &[
    "`", "${", "/*", "*/", "//", "#", "'", "\"\"\"", "\\", "/", "=>", "<", ">", "?", ":", "!",
    "**", "~", "typeof ", "new ", "await ", "keyof ", "if (a) ", "else ", "lambda: ", "not ",
    "async ", "&", "||", "\u{feff}", "\u{a0}", "\u{2028}", "é", "\0", "1e999", "0x", "r#\"", "'a ",
    "<T,>",
];

/// Words, signs and runs of white space of a corpus, each once.
pub fn pieces(corpus: &[String]) -> Vec<String> {
    let mut pieces: BTreeSet<String> = SIGNS.iter().map(|it| (*it).to_owned()).collect();
    for source in corpus {
        let mut piece = String::new();
        for letter in source.chars() {
            let joins = piece.chars().last().is_some_and(|last| {
                last.is_alphanumeric() && letter.is_alphanumeric()
                    || last.is_whitespace() && letter.is_whitespace()
            });
            if !joins && !piece.is_empty() {
                pieces.insert(std::mem::take(&mut piece));
            }
            piece.push(letter);
        }
        pieces.insert(piece);
    }
    pieces.into_iter().collect()
}

/// A text made of a corpus.
pub fn bend(random: &mut Random, corpus: &[String], pieces: &[String]) -> String {
    let mut text = match random.below(8) {
        0 => String::new(),
        _ => corpus[random.below(corpus.len())].clone(),
    };
    for _ in 0..=random.below(6) {
        let at = boundary(&text, random.below(text.len() + 1));
        match random.below(9) {
            0 | 1 => text.insert_str(at, &pieces[random.below(pieces.len())]),
            2 => {
                let end = boundary(&text, (at + random.below(40)).min(text.len()));
                text.replace_range(at..end, "");
            }
            3 => {
                let other = &corpus[random.below(corpus.len())];
                let from = boundary(other, random.below(other.len() + 1));
                text.truncate(at);
                text.push_str(&other[from..]);
            }
            4 => {
                let end = boundary(&text, (at + random.below(60)).min(text.len()));
                let part = text[at..end].repeat(random.below(20));
                text.insert_str(at, &part);
            }
            5 => {
                let end = boundary(&text, (at + random.below(8)).min(text.len()));
                text.replace_range(at..end, &pieces[random.below(pieces.len())]);
            }
            _ => {
                // A few pieces, over and over: what makes parsers recurse.
                let mut part = String::new();
                for _ in 0..=random.below(4) {
                    part.push_str(&pieces[random.below(pieces.len())]);
                }
                let times = (1 << random.below(16)).min(MAX_TEXT / part.len().max(1));
                text.insert_str(at, &part.repeat(times));
            }
        }
    }
    text.truncate(boundary(&text, text.len().min(MAX_TEXT)));
    text
}

fn boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Numbers by chance that are the same for the same seed (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap_or(usize::MAX) % bound.max(1)
    }
}
