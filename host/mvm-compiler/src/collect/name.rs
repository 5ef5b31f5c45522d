//! Names of workloads and apps made of names of files and functions.

/// The most letters of a name.
const MAX_NAME: usize = 63;

/// A name of the form of a workload's or an app's: `my_function`, `myFunction` and `My Function` are
/// `my-function`. `None` where nothing is left of it.
#[must_use]
pub fn name_from(text: &str) -> Option<String> {
    let mut name = String::new();
    let mut previous_is_lower = false;
    for letter in text.chars() {
        if letter.is_ascii_alphanumeric() {
            if letter.is_ascii_uppercase() && previous_is_lower {
                name.push('-');
            }
            previous_is_lower = letter.is_ascii_lowercase() || letter.is_ascii_digit();
            name.push(letter.to_ascii_lowercase());
        } else {
            previous_is_lower = false;
            if !name.is_empty() && !name.ends_with('-') {
                name.push('-');
            }
        }
        if name.len() >= MAX_NAME {
            break;
        }
    }
    name.truncate(MAX_NAME);
    let name = name.trim_end_matches('-');
    name.starts_with(|first: char| first.is_ascii_lowercase())
        .then(|| name.to_owned())
}

/// A file's name without its directory and what stands after its first dot.
pub(super) fn stem(file: &str) -> &str {
    file.split('.').next().unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made() {
        for (text, name) in [
            ("my_function", Some("my-function")),
            ("myFunction", Some("my-function")),
            ("fetchURL2", Some("fetch-url2")),
            ("_private_", Some("private")),
            ("a", Some("a")),
            ("9lives", None),
            ("größe", Some("gr-e")),
            ("日本", None),
            ("", None),
        ] {
            assert_eq!(name_from(text).as_deref(), name, "{text}");
        }
        assert_eq!(name_from(&"a".repeat(100)).map(|name| name.len()), Some(63));
    }
}
