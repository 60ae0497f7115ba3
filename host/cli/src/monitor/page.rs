//! The page that a person looks at. It is one file, and asks for `/status` again and again.

use sha2::{Digest, Sha256};

/// The page.
pub const PAGE: &str = include_str!("page.html");

/// Returns the policy that lets a browser run the script and use the style of the page only.
pub fn content_security_policy() -> String {
    let hash = |tag| hash(between(PAGE, tag).as_bytes());
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style")
    )
}

/// Returns the content of the first element with this tag.
fn between<'a>(text: &'a str, tag: &str) -> &'a str {
    let after = text.split_once(&format!("<{tag}>")).map_or("", |(_, after)| after);
    after.split_once(&format!("</{tag}>")).map_or("", |(content, _)| content)
}

/// Returns the SHA-256 digest as Base64.
fn hash(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digest = Sha256::digest(bytes);
    let mut text = String::new();
    for chunk in digest.chunks(3) {
        let number = (0..3).fold(0, |number, at| {
            number << 8 | usize::from(chunk.get(at).copied().unwrap_or_default())
        });
        for at in 0..=chunk.len() {
            text.push(char::from(ALPHABET[number >> (18 - 6 * at) & 63]));
        }
    }
    let padded = text.len().next_multiple_of(4);
    format!("{text:=<padded$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_base64_as_others_write_it() {
        // printf '' | openssl dgst -sha256 -binary | base64
        assert_eq!(hash(b""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    #[test]
    fn the_page_has_one_script_and_one_style_and_needs_nothing_else() {
        for tag in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{tag}>")).count(), 1);
            assert_eq!(PAGE.matches(&format!("<{tag}")).count(), 1);
        }
        for forbidden in
            ["innerHTML", "outerHTML", "document.write", "eval(", "src=", "http:", "https:"]
        {
            assert!(
                !PAGE.replace("http://www.w3.org/2000/svg", "").contains(forbidden),
                "{forbidden}"
            );
        }
    }
}
