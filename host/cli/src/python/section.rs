//! The custom section of a component with the facts about its program.

use anyhow::{Context, Result, bail};
use wasmparser::{Encoding, Parser, Payload};

use super::program::Program;

/// The name of the section.
const NAME: &str = "socketserver:program";
/// The longest section that is read, in bytes.
const MAX: usize = 64 << 10;

/// Adds the section to the end of a component.
///
/// # Errors
///
/// The program has too many facts.
pub fn append_program(component: &mut Vec<u8>, program: &Program) -> Result<()> {
    let facts = serde_json::to_vec(program)?;
    if facts.len() > MAX {
        bail!("the attributes of its servers are too long");
    }
    let mut content = Vec::new();
    write_length(&mut content, NAME.len());
    content.extend_from_slice(NAME.as_bytes());
    content.extend_from_slice(&facts);
    // The number of custom sections.
    component.push(0);
    write_length(component, content.len());
    component.extend_from_slice(&content);
    Ok(())
}

/// Reads the facts about the program of a component, if it was built from one.
///
/// # Errors
///
/// The file is not a component, or the section is damaged.
pub fn read_program(component: &[u8]) -> Result<Option<Program>> {
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(component) {
        match payload.context("it is not a component")? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Ok(None),
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::CustomSection(section) if depth == 1 && section.name() == NAME => {
                let facts = section.data();
                if facts.len() > MAX {
                    bail!("its section `{NAME}` is too long");
                }
                let program = serde_json::from_slice(facts);
                return Ok(Some(program.with_context(|| format!("its section `{NAME}`"))?));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Writes a number as WebAssembly does (LEB128).
fn write_length(bytes: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or_default();
        length >>= 7;
        bytes.push(if length == 0 { low } else { low | 0x80 });
        if length == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn the_facts_are_read_as_they_were_written() {
        let facts = r#"{"servers":[{"kind":"stream","class":"A","handler":"B",
            "bind":"tcp://127.0.0.1:1","concurrency":"forking",
            "attributes":{"allow_reuse_address":1,"max_children":3},"ignored":[]}]}"#;
        let program: Program = serde_json::from_str(facts).unwrap();
        let mut component = EMPTY.to_vec();
        append_program(&mut component, &program).unwrap();
        let read = read_program(&component).unwrap().unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(&program).unwrap());
        assert!(bool::from(read.servers[0].attributes.allow_reuse_address.unwrap()));
        assert_eq!(read.concurrency(), socketserver::ConcurrencyKind::Forking);
        assert_eq!(
            read.servers[0].endpoint(std::path::Path::new("")).unwrap().to_string(),
            "tcp://127.0.0.1:1"
        );
    }

    #[test]
    fn other_components_have_no_facts_and_damaged_ones_are_errors() {
        assert!(read_program(EMPTY).unwrap().is_none());
        assert!(read_program(b"\0asm\x01\0\0\0").unwrap().is_none());
        assert!(read_program(b"no component").is_err());
        let mut component = EMPTY.to_vec();
        append_program(&mut component, &Program::default()).unwrap();
        let end = component.len() - 1;
        component[end] = b'x';
        assert!(read_program(&component).is_err());
    }
}
