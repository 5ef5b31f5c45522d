//! How deep the parser can recurse on a file, found before it sees it.

use proc_macro2::{Span, TokenStream, TokenTree, token_stream};

/// The longest number, in bytes: the parser's time grows with the square of its length.
const MAX_NUMBER: usize = 1024;

/// The most tokens between which recursion can stand open: each level of it takes a token from its
/// group or one around it, and none lives on after a `;` of its group.
///
/// # Errors
///
/// The place of a number that is too long.
pub(super) fn recursion(tokens: TokenStream) -> Result<usize, Span> {
    let mut open: Vec<(token_stream::IntoIter, usize)> = vec![(tokens.into_iter(), 0)];
    let (mut around, mut most) = (0, 0);
    while let Some((tokens, since)) = open.last_mut() {
        match tokens.next() {
            None => {
                open.pop();
                if let Some((_, outer)) = open.last() {
                    around -= outer;
                }
            }
            Some(TokenTree::Punct(sign)) if sign.as_char() == ';' => *since = 0,
            Some(token) => {
                if let TokenTree::Literal(literal) = &token {
                    let text = literal.to_string();
                    if text.len() > MAX_NUMBER && text.starts_with(|it: char| it.is_ascii_digit()) {
                        return Err(literal.span());
                    }
                }
                *since += 1;
                most = most.max(around + *since);
                if let TokenTree::Group(group) = token {
                    around += *since;
                    open.push((group.stream().into_iter(), 0));
                }
            }
        }
    }
    Ok(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_what_is_open() {
        for (text, expected) in [
            ("a b ; c", 2),
            ("a(b(c))", 5),
            ("a(b; c) d", 3),
            ("a(b; c) ; d e f g h i", 6),
        ] {
            let tokens: TokenStream = text.parse().unwrap_or_default();
            assert_eq!(recursion(tokens).ok(), Some(expected), "{text}");
        }
    }
}
