//! A component with an interpreter, taken apart: the code, and the memory that a program left.
//!
//! Two programs in one interpreter have all sections in common except for the size of the memory
//! and its data, which are in one core module, and for the names and notes around it.

use sha2::{Digest, Sha256};
use wasm_encoder::{
    Component, ConstExpr, DataCountSection, DataSection, MemorySection, MemoryType, Module,
    RawSection,
};
use wasmparser::{BinaryReader, DataKind, DataSectionReader, MemorySectionReader, Operator};

/// The numbers of sections, of core modules and of components.
const CUSTOM: u8 = 0;
const CORE_MODULE: u8 = 1;
const MEMORY: u8 = 5;
const DATA: u8 = 11;
const DATA_COUNT: u8 = 12;

/// The size of a WebAssembly page, in bytes.
pub(super) const PAGE: u64 = 64 << 10;
/// The engine's images of memories begin at a multiple of this, in bytes.
const HOST_PAGE: u64 = 4 << 10;

/// A section: its number and its content.
type Section<'a> = (u8, &'a [u8]);

/// The parts of a component.
pub(super) struct Parts<'a> {
    sections: Vec<Section<'a>>,
    /// The place of the module with the memory among the sections.
    place: usize,
    module: Vec<Section<'a>>,
    /// The pages that the memory begins with.
    pub pages: u64,
    segments: Vec<(u64, &'a [u8])>,
}

/// A range of a memory, from `begin` to its end, in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub begin: u64,
    pub bytes: Vec<u8>,
}

impl<'a> Parts<'a> {
    /// Takes a component apart. Returns `None` if not exactly one of its core modules has data, or
    /// that does not have one memory with a place in it for each segment.
    pub(super) fn of(component: &'a [u8]) -> Option<Self> {
        let sections = sections(component)?;
        let mut found = None;
        for (place, (number, content)) in sections.iter().enumerate() {
            if *number == CORE_MODULE {
                let module = self::sections(content)?;
                if module.iter().any(|(number, _)| *number == DATA) {
                    let is_first = found.replace((place, module)).is_none();
                    is_first.then_some(())?;
                }
            }
        }
        let (place, module) = found?;
        let content = |number| module.iter().find(|section| section.0 == number).map(|it| it.1);
        let pages = pages(content(MEMORY)?)?;
        let segments = segments(content(DATA)?)?;
        Some(Parts { sections, place, module, pages, segments })
    }

    /// Returns a digest of all that two programs in one interpreter have in common.
    pub(super) fn code(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let mut add = |(number, content): &Section<'_>| {
            digest.update([*number]);
            digest.update((content.len() as u64).to_le_bytes());
            digest.update(content);
        };
        for (place, section) in self.sections.iter().enumerate() {
            if place == self.place {
                add(&(CORE_MODULE, &[]));
                let is_common = |number| ![MEMORY, DATA, DATA_COUNT].contains(&number);
                self.module.iter().filter(|section| is_common(section.0)).for_each(&mut add);
            } else if section.0 != CUSTOM {
                add(section);
            }
        }
        digest.finalize().into()
    }

    /// Returns the first byte of the data, rounded down to a multiple of [`HOST_PAGE`].
    pub(super) fn begin(&self) -> u64 {
        let begin = self.segments.iter().map(|(offset, _)| *offset).min().unwrap_or_default();
        begin - begin % HOST_PAGE
    }

    /// Returns the memory from `begin` to `pages`. Returns `None` if a segment is not in that.
    pub(super) fn image(&self, begin: u64, pages: u64) -> Option<Image> {
        let size = pages.checked_mul(PAGE)?.checked_sub(begin)?;
        let mut bytes = vec![0; usize::try_from(size).ok()?];
        for (offset, data) in &self.segments {
            let offset = usize::try_from(offset.checked_sub(begin)?).ok()?;
            bytes.get_mut(offset..offset.checked_add(data.len())?)?.copy_from_slice(data);
        }
        Some(Image { begin, bytes })
    }

    /// Returns the component with a memory that begins with `pages`, and with `image` as its
    /// only data if there is one.
    pub(super) fn component(&self, pages: u64, image: Option<&Image>) -> Vec<u8> {
        let mut module = Module::new();
        for (number, content) in &self.module {
            match (*number, image) {
                (MEMORY, _) => {
                    let mut memories = MemorySection::new();
                    memories.memory(MemoryType {
                        minimum: pages,
                        maximum: None,
                        memory64: false,
                        shared: false,
                        page_size_log2: None,
                    });
                    module.section(&memories);
                }
                (DATA_COUNT, Some(_)) => {
                    module.section(&DataCountSection { count: 1 });
                }
                (DATA, Some(image)) => {
                    let mut data = DataSection::new();
                    let begin = u32::try_from(image.begin).unwrap_or_default();
                    let begin = ConstExpr::i32_const(begin.cast_signed());
                    data.active(0, &begin, image.bytes.iter().copied());
                    module.section(&data);
                }
                (id, _) => {
                    module.section(&RawSection { id, data: content });
                }
            }
        }
        let module = module.finish();
        let mut component = Component::new();
        for (place, (id, content)) in self.sections.iter().enumerate() {
            let data = if place == self.place { &module } else { *content };
            component.section(&RawSection { id: *id, data });
        }
        component.finish()
    }
}

/// Returns the sections of a component or of a core module.
fn sections(binary: &[u8]) -> Option<Vec<Section<'_>>> {
    let mut reader = BinaryReader::new(binary.get(Module::HEADER.len()..)?, 0);
    let mut sections = Vec::new();
    while !reader.eof() {
        let number = reader.read_u8().ok()?;
        let size = reader.read_var_u32().ok()?;
        sections.push((number, reader.read_bytes(usize::try_from(size).ok()?).ok()?));
    }
    Some(sections)
}

/// Returns the pages that a memory begins with, which is the only one and has no maximum.
fn pages(section: &[u8]) -> Option<u64> {
    let mut memories = MemorySectionReader::new(BinaryReader::new(section, 0)).ok()?.into_iter();
    let (memory, rest) = (memories.next()?.ok()?, memories.next());
    let plain = wasmparser::MemoryType {
        memory64: false,
        shared: false,
        initial: memory.initial,
        maximum: None,
        page_size_log2: None,
    };
    (memory == plain && rest.is_none()).then_some(memory.initial)
}

/// Returns the places and contents of all data, each of which has its place in memory.
fn segments(section: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut segments = Vec::new();
    for data in DataSectionReader::new(BinaryReader::new(section, 0)).ok()? {
        let data = data.ok()?;
        let DataKind::Active { memory_index: 0, offset_expr } = data.kind else { return None };
        let mut operators = offset_expr.get_operators_reader();
        let (Operator::I32Const { value }, Operator::End) =
            (operators.read().ok()?, operators.read().ok()?)
        else {
            return None;
        };
        segments.push((u64::from(value.cast_unsigned()), data.data));
    }
    Some(segments)
}
