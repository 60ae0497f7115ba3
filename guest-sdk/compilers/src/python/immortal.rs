//! Objects in the memory of a component that CPython is never to free.
//!
//! CPython counts the references of each object in the object itself. A request writes to each
//! object that it uses, and so to far more pages than it changes. CPython does not count the
//! references of objects whose count is above a limit (PEP 683). No Python code can set a count,
//! so it is set in the component that a build has made.

use std::ops::Range;

use anyhow::{Context, Result, bail};
use wasmparser::{DataKind, Operator, Parser, Payload};

/// The longest list of objects that is read, in bytes.
pub const MAX: u64 = 64 << 20;
/// The count of an object that is never freed, in CPython 3.14 for 32 bits
/// (`_Py_IMMORTAL_INITIAL_REFCNT`).
const IMMORTAL: u32 = 5 << 28;
/// More than the references of an object that CPython counts, and less than the address of one.
/// Where an object was freed, the address of the next free block is in the place of its count.
const MAX_COUNT: u32 = 1 << 20;
/// The size of an entry of the list: the address of an object, and that of its type.
const ENTRY: usize = 8;

/// A part of the memory that the component has the content of.
struct Segment {
    begin: usize,
    /// The place of the content in the component.
    content: Range<usize>,
}

/// Sets the counts of the objects in a list, which the guest's module `heap` writes. Entries
/// that are not, or no longer, an object of that type are left as they are.
///
/// Returns the number of counts that were set.
///
/// # Errors
///
/// The component is damaged.
pub fn keep_forever(component: &mut [u8], objects: &[u8]) -> Result<usize> {
    let segments = memory(component)?;
    let mut set = 0;
    for entry in objects.chunks_exact(ENTRY) {
        let (address, kind) = (word(entry, 0), word(entry, 4));
        let Some(place) = find(&segments, address as usize) else { continue };
        let (count, found) = (word(component, place), word(component, place + 4));
        if found == kind && (1..MAX_COUNT).contains(&count) {
            component[place..place + 4].copy_from_slice(&IMMORTAL.to_le_bytes());
            set += 1;
        }
    }
    Ok(set)
}

/// Returns the place of an object's first [`ENTRY`] bytes in the component.
fn find(segments: &[Segment], address: usize) -> Option<usize> {
    let after = segments.partition_point(|segment| segment.begin <= address);
    let segment = &segments[after.checked_sub(1)?];
    let place = segment.content.start + (address - segment.begin);
    (place + ENTRY <= segment.content.end).then_some(place)
}

/// Returns the content of the memory of the program, in the order of addresses: the segments of
/// the module that has most of it.
fn memory(component: &[u8]) -> Result<Vec<Segment>> {
    let mut largest = (0, Vec::new());
    for payload in Parser::new(0).parse_all(component) {
        let Payload::DataSection(section) = payload.context("it is not a component")? else {
            continue;
        };
        let mut segments = Vec::new();
        for data in section {
            let data = data?;
            let DataKind::Active { offset_expr, .. } = data.kind else { continue };
            let Ok(Operator::I32Const { value }) = offset_expr.get_operators_reader().read() else {
                continue;
            };
            let content = data.range.end - data.data.len()..data.range.end;
            segments.push(Segment { begin: value.cast_unsigned() as usize, content });
        }
        let size = segments.iter().map(|segment| segment.content.len()).sum::<usize>();
        if size > largest.0 {
            largest = (size, segments);
        }
    }
    let (_, mut segments) = largest;
    segments.sort_by_key(|segment| segment.begin);
    if segments.is_empty() {
        bail!("the component has no memory");
    }
    Ok(segments)
}

/// Returns the number at a place that [`find`] has returned, or in an entry.
fn word(bytes: &[u8], place: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[place..place + 4]);
    u32::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: u32 = 0x1234;

    /// A component with an object at 16, one that CPython counts no more at 32, one that was freed
    /// at 48, and the first bytes of one at 60.
    fn component() -> Vec<u8> {
        let text = r#"(component
            (core module (memory 1) (data (i32.const 4) "others"))
            (core module (memory 1)
                (data (i32.const 60) "\01\00\00\00\34\12")
                (data (i32.const 16)
                    "\03\00\00\00\34\12\00\00........\00\00\00\50\34\12\00\00........\78\56\34\00\34\12\00\00")))"#;
        wat::parse_str(text).unwrap()
    }

    fn entries(entries: &[(u32, u32)]) -> Vec<u8> {
        entries
            .iter()
            .flat_map(|(address, kind)| [*address, *kind])
            .flat_map(u32::to_le_bytes)
            .collect()
    }

    #[test]
    fn the_count_of_an_object_is_set_once_and_nothing_else_is_changed() {
        let before = component();
        let mut after = before.clone();
        let objects = entries(&[(16, TYPE), (32, TYPE), (16, TYPE)]);
        assert_eq!(keep_forever(&mut after, &objects).unwrap(), 1);
        let changed: Vec<_> = (0..before.len()).filter(|at| before[*at] != after[*at]).collect();
        assert_eq!(after[changed[0]..=changed[changed.len() - 1]].len(), 4);
        let place = find(&memory(&after).unwrap(), 16).unwrap();
        assert_eq!(word(&after, place), IMMORTAL);
    }

    #[test]
    fn entries_that_are_wrong_change_nothing() {
        let before = component();
        for wrong in [
            (16, TYPE + 1),
            (17, TYPE),
            (48, TYPE),
            (60, TYPE),
            (0, TYPE),
            (4, TYPE),
            (u32::MAX, TYPE),
            (u32::MAX - 3, 0),
        ] {
            let mut after = before.clone();
            assert_eq!(keep_forever(&mut after, &entries(&[wrong])).unwrap(), 0, "{wrong:?}");
            assert_eq!(before, after);
        }
        let mut after = before.clone();
        assert_eq!(keep_forever(&mut after, &entries(&[(16, TYPE)])[..7]).unwrap(), 0);
    }

    #[test]
    fn what_is_no_component_with_a_memory_is_an_error() {
        assert!(keep_forever(&mut b"\0asm\x0d\0\x01\0".to_vec(), &[]).is_err());
        assert!(keep_forever(&mut b"no component".to_vec(), &[]).is_err());
        let mut damaged = component();
        damaged.truncate(damaged.len() - 5);
        assert!(keep_forever(&mut damaged, &[]).is_err());
    }
}
