//! What a plan says of values that it must not hold.

use crate::Digest;

/// The digest that stands in a plan for an environment variable's value: of the plan's nonce, the
/// variable's name and its value, each ended by a NUL byte. Because of the nonce, equal values of
/// two plans do not look equal, and digests of likely values cannot be prepared. Who has the plan
/// can still try values: one that is easy to guess is a secret's job, not a variable's.
#[must_use]
pub fn value_digest(nonce: &str, name: &str, value: &str) -> Digest {
    let mut bytes = Vec::with_capacity(nonce.len() + name.len() + value.len() + 3);
    for part in [nonce, name, value] {
        bytes.extend_from_slice(part.as_bytes());
        bytes.push(0);
    }
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_another_digest_in_each_plan_and_under_each_name() {
        let digest = value_digest("00", "A", "secret");
        assert_eq!(digest, value_digest("00", "A", "secret"));
        assert_ne!(digest, value_digest("01", "A", "secret"));
        assert_ne!(digest, value_digest("00", "B", "secret"));
        assert_ne!(digest, value_digest("00", "As", "ecret"));
    }
}
