//! How deep a text nests, measured on its tokens before the parser sees it.

use ruff_python_ast::token::TokenKind;
use ruff_python_parser::{Mode, lexer::lex};

/// Indentation deeper than this is refused, as Python itself does.
const MAX_INDENTATION: usize = 100;

/// Where the text first nests deeper than `limit`, if it does.
///
/// Every step into an expression needs a token: a bracket, an operator, a keyword. Steps are counted
/// from the last separator of the bracket they are in, so that a long list is not deep, and added up
/// over the brackets that are open. That is an upper bound of how deep a parser recurses and how deep
/// its tree is.
pub(super) fn first_beyond(text: &str, limit: usize) -> Option<u32> {
    if !is_beyond(text, limit) {
        return None;
    }
    // The lexer keeps the places of its tokens to itself: the place is where the shortest beginning
    // that is too deep ends.
    let (mut shallow, mut deep) = (0, text.len());
    while deep - shallow > 1 {
        let middle = text.floor_char_boundary(usize::midpoint(shallow, deep));
        if middle == shallow {
            break;
        }
        if is_beyond(text.get(..middle)?, limit) {
            deep = middle;
        } else {
            shallow = middle;
        }
    }
    u32::try_from(shallow).ok()
}

fn is_beyond(text: &str, limit: usize) -> bool {
    measure(text, limit).is_none()
}

/// Reads to the end; `None` where it gave up.
fn measure(text: &str, limit: usize) -> Option<()> {
    let mut lexer = lex(text, Mode::Module);
    // Steps since the last separator, for every open bracket; their sum.
    let mut open = vec![0_usize];
    let mut depth = 0;
    let mut indentation = 0_usize;
    loop {
        let kind = lexer.next_token();
        match kind {
            TokenKind::EndOfFile => return Some(()),
            TokenKind::Indent => indentation += 1,
            TokenKind::Dedent => indentation = indentation.saturating_sub(1),
            TokenKind::Newline => {
                open.clear();
                open.push(0);
                depth = 0;
            }
            TokenKind::Comma | TokenKind::Semi => {
                let steps = open.last_mut()?;
                depth -= *steps;
                *steps = 0;
            }
            TokenKind::Lpar
            | TokenKind::Lsqb
            | TokenKind::Lbrace
            | TokenKind::FStringStart
            | TokenKind::TStringStart => {
                *open.last_mut()? += 1;
                depth += 1;
                open.push(0);
            }
            TokenKind::Rpar
            | TokenKind::Rsqb
            | TokenKind::Rbrace
            | TokenKind::FStringEnd
            | TokenKind::TStringEnd => {
                if open.len() > 1 {
                    depth -= open.pop()?;
                }
            }
            // These stand beside each other; none is a step.
            TokenKind::String
            | TokenKind::FStringMiddle
            | TokenKind::TStringMiddle
            | TokenKind::Comment
            | TokenKind::NonLogicalNewline => {}
            _ => {
                *open.last_mut()? += 1;
                depth += 1;
            }
        }
        if depth > limit || indentation > MAX_INDENTATION {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::first_beyond;

    #[test]
    fn long_is_not_deep() {
        let list = format!("x = [{}]", "1, ".repeat(100_000));
        assert_eq!(first_beyond(&list, 100), None);
        let lines = "x = f(1)(2)\n".repeat(10_000);
        assert_eq!(first_beyond(&lines, 100), None);
        let text = format!("x = ({})", "'a' ".repeat(10_000));
        assert_eq!(first_beyond(&text, 100), None);
    }

    #[test]
    fn every_way_down_is_seen() {
        for step in [
            "(",
            "[",
            "{",
            "-",
            "not ",
            "a if b else ",
            "lambda: ",
            "a.",
            "a + ",
            "f(",
            "await ",
        ] {
            let text = format!("x = {}", step.repeat(200));
            assert!(first_beyond(&text, 100).is_some(), "{step}");
        }
        let blocks: String = (0..150)
            .map(|depth| format!("{}if a:\n", " ".repeat(depth)))
            .collect();
        assert!(first_beyond(&blocks, 100).is_some());
    }
}
