//! Sizes in mebibytes, as users write them.

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a size in MiB (`256`, `256M`, `2G`)")]
pub struct SizeError {
    /// What was given.
    pub text: String,
}

/// Reads a size: a whole number of MiB, or with the unit `M`/`MiB` or `G`/`GiB` (powers of two;
/// letter case does not matter).
pub fn parse_mebibytes(text: &str) -> Result<u32, SizeError> {
    let error = || SizeError {
        text: text.to_owned(),
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u32 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "m" | "mib" => 1,
        "g" | "gib" => 1024,
        _ => return Err(error()),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(error());
    }
    digits
        .parse::<u32>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(parse_mebibytes("256"), Ok(256));
        assert_eq!(parse_mebibytes("256M"), Ok(256));
        assert_eq!(parse_mebibytes("2GiB"), Ok(2048));
        for text in [
            "",
            "M",
            "1.5G",
            "-1",
            "+1",
            "1K",
            "4294967296",
            "4194304G",
            "1 G",
        ] {
            assert!(parse_mebibytes(text).is_err(), "{text:?}");
        }
    }
}
