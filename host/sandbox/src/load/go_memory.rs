//! Room for the adapter in the memory of a program in Go.
//!
//! The adapter for WASI's first preview keeps its state and its stack in two pages of the program's
//! memory. It takes them from `cabi_realloc`, or with `memory.grow` if the program does not export
//! that. Go's allocator assumes that nothing else makes the memory grow (`sbrk` in Go's
//! `runtime/mem_sbrk.go`), and would use these pages, too. So the program gets a `cabi_realloc`, whose
//! pages are between the static data and the heap. The heap begins where the table
//! `runtime.firstmoduledata` says that the static data end.

use wasm_encoder::{
    BlockType, ConstExpr, Encode, ExportKind, Function, GlobalType, MemoryType, Module, RawSection,
    SectionId, ValType,
};
use wasmparser::{BinaryReader, DataKind, Operator, Parser, Payload, TypeRef};

/// The function that the adapter calls.
const REALLOC: &str = "cabi_realloc";
/// The custom section that Go's linker writes.
const BUILD_ID: &str = "go:buildid";
/// The size of a WebAssembly page, in bytes.
const PAGE: u32 = 64 << 10;
/// The pages of the adapter, with one for the alignment.
const PAGES: u32 = 3;
/// The largest static data that are read, in bytes.
const MAX_DATA: usize = 256 << 20;
/// The table's fields from `noptrdata` to `end`: the beginning and the end of each kind of data.
const FIELDS: usize = 11;
/// The field `enoptrbss`, which is the last before the counters of coverage.
const END_OF_DATA: usize = 7;

/// The facts about a program that its new version needs.
#[derive(Default)]
struct Facts {
    is_go: bool,
    has_realloc: bool,
    types: u32,
    functions: u32,
    globals: u32,
    memory: Option<wasmparser::MemoryType>,
    /// The static data, from the address 0.
    data: Vec<u8>,
}

/// Returns the program with a `cabi_realloc`; `None` if it is not in Go, has one, or has no such
/// table.
pub(super) fn with_room(module: &[u8]) -> Option<Vec<u8>> {
    let facts = Facts::read(module)?;
    let memory = facts.memory.filter(|_| facts.is_go && !facts.has_realloc)?;
    let table = facts.table()?;
    let end = word(&facts.data, table + FIELDS - 1)?;
    let end = u32::try_from(end)
        .ok()
        .filter(|end| u64::from(*end) <= memory.initial * u64::from(PAGE))?;
    let memory = MemoryType {
        minimum: memory.initial + u64::from(PAGES),
        maximum: memory.maximum,
        memory64: false,
        shared: false,
        page_size_log2: None,
    };
    let end_of_room = end.checked_add(PAGES * PAGE)?;
    let mut changed = Module::new();
    let mut seen = 0;
    for payload in Parser::new(0).parse_all(module) {
        let Some((id, range)) = payload.ok()?.as_section() else { continue };
        let data = &module[range];
        let entry = match id {
            id if id == SectionId::Type as u8 => {
                let mut entry = vec![0x60];
                [ValType::I32; 4][..].encode(&mut entry);
                [ValType::I32; 1][..].encode(&mut entry);
                entry
            }
            id if id == SectionId::Function as u8 => encoded(&facts.types),
            id if id == SectionId::Global as u8 => {
                let mut entry = Vec::new();
                GlobalType { val_type: ValType::I32, mutable: true, shared: false }
                    .encode(&mut entry);
                ConstExpr::i32_const(end.cast_signed()).encode(&mut entry);
                entry
            }
            id if id == SectionId::Export as u8 => {
                let mut entry = encoded(REALLOC);
                ExportKind::Func.encode(&mut entry);
                facts.functions.encode(&mut entry);
                entry
            }
            id if id == SectionId::Code as u8 => encoded(&realloc(facts.globals, end_of_room)),
            id if id == SectionId::Data as u8 => {
                let mut entry = encoded(&0_u32);
                let field = i32::try_from((table + FIELDS - 1) * size_of::<u64>()).ok()?;
                ConstExpr::i32_const(field).encode(&mut entry);
                u64::from(end_of_room).to_le_bytes()[..].encode(&mut entry);
                entry
            }
            id if id == SectionId::Memory as u8 => {
                let mut memories = wasm_encoder::MemorySection::new();
                memories.memory(memory);
                changed.section(&memories);
                seen += 1;
                continue;
            }
            // The number of segments would be another.
            id if id == SectionId::DataCount as u8 => return None,
            _ => {
                changed.section(&RawSection { id, data });
                continue;
            }
        };
        let data = with_entry(data, &entry)?;
        changed.section(&RawSection { id, data: &data });
        seen += 1;
    }
    (seen == 7).then(|| changed.finish())
}

impl Facts {
    /// Reads the facts; `None` if the module is not valid, or not as Go's linker writes modules.
    fn read(module: &[u8]) -> Option<Self> {
        let mut facts = Facts::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload.ok()? {
                Payload::CustomSection(section) => facts.is_go |= section.name() == BUILD_ID,
                Payload::TypeSection(section) => facts.types = section.count(),
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let TypeRef::Func(_) = import.ok()?.ty else { return None };
                        facts.functions += 1;
                    }
                }
                Payload::FunctionSection(section) => {
                    facts.functions = facts.functions.checked_add(section.count())?;
                }
                Payload::MemorySection(section) => {
                    let mut memories = section.into_iter();
                    facts.memory = memories.next()?.ok();
                    if memories.next().is_some() {
                        return None;
                    }
                }
                Payload::GlobalSection(section) => facts.globals = section.count(),
                Payload::ExportSection(exports) => {
                    for export in exports {
                        facts.has_realloc |= export.ok()?.name == REALLOC;
                    }
                }
                Payload::DataSection(section) if facts.is_go => {
                    for data in section {
                        let data = data.ok()?;
                        facts.add(&data)?;
                    }
                }
                _ => {}
            }
        }
        Some(facts)
    }

    fn add(&mut self, segment: &wasmparser::Data<'_>) -> Option<()> {
        let DataKind::Active { memory_index: 0, offset_expr } = &segment.kind else { return None };
        let Ok(Operator::I32Const { value }) = offset_expr.get_operators_reader().read() else {
            return None;
        };
        let begin = value.cast_unsigned() as usize;
        let end = begin.checked_add(segment.data.len()).filter(|end| *end <= MAX_DATA)?;
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        self.data[begin..end].copy_from_slice(segment.data);
        Some(())
    }

    /// Returns the place of the field `noptrdata` of the table, counted in words; `None` if there is
    /// none, or are several that could be it.
    fn table(&self) -> Option<usize> {
        let words: Vec<u64> = self.data.chunks_exact(size_of::<u64>()).map(le).collect();
        let size = self.data.len() as u64;
        let is_table = |fields: &[u64]| {
            let noptrdata = fields[0];
            let bss = fields[4];
            fields.is_sorted()
                && (1..size).contains(&noptrdata)
                // The data of a program in Go are never empty.
                && noptrdata < fields[3]
                && bss < fields[5]
                // The static data in the file end before those that begin as zeros.
                && bss >= size.saturating_sub(size_of::<u64>() as u64)
                && fields[END_OF_DATA] == fields[FIELDS - 1]
        };
        let mut tables = words.windows(FIELDS).enumerate().filter(|(_, fields)| is_table(fields));
        let (place, _) = tables.next()?;
        tables.next().is_none().then_some(place)
    }
}

/// Returns `cabi_realloc`: it gives the room away, and traps when there is none left. `next` is the
/// global with the address of what is left.
fn realloc(next: u32, end: u32) -> Function {
    // The parameters: the old block and its size, which are 0, the alignment and the size.
    let (align, size, block) = (2, 3, 4);
    let mut function = Function::new([(1, ValType::I32)]);
    function
        .instructions()
        .global_get(next)
        .local_get(align)
        .i32_add()
        .i32_const(1)
        .i32_sub()
        .i32_const(0)
        .local_get(align)
        .i32_sub()
        .i32_and()
        .local_tee(block)
        .local_get(size)
        .i32_add()
        .global_set(next)
        .global_get(next)
        .i32_const(end.cast_signed())
        .i32_gt_u()
        .if_(BlockType::Empty)
        .unreachable()
        .end()
        .local_get(block)
        .end();
    function
}

/// Returns a section with one more entry at its end.
fn with_entry(section: &[u8], entry: &[u8]) -> Option<Vec<u8>> {
    let mut reader = BinaryReader::new(section, 0);
    let count = reader.read_var_u32().ok()?.checked_add(1)?;
    let mut changed = encoded(&count);
    changed.extend_from_slice(&section[reader.original_position()..]);
    changed.extend_from_slice(entry);
    Some(changed)
}

fn encoded<T: Encode + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    bytes
}

fn le(word: &[u8]) -> u64 {
    word.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn word(data: &[u8], place: usize) -> Option<u64> {
    let begin = place * size_of::<u64>();
    data.get(begin..begin + size_of::<u64>()).map(le)
}

#[cfg(test)]
mod tests {
    use wasmtime::{Engine, Instance, Memory, Store, TypedFunc};

    use super::*;

    /// The end of the static data, which begin at 4096.
    const END: u64 = 5000;
    type Realloc = TypedFunc<(u32, u32, u32, u32), u32>;

    /// Returns a program as Go's linker writes it, with the table at 4096, and `fields`.
    fn program(section: &str, table: &[u64], fields: &str) -> Vec<u8> {
        let bytes = table.iter().flat_map(|field| field.to_le_bytes());
        let table = bytes.fold(String::new(), |text, byte| format!("{text}\\{byte:02x}"));
        let text = format!(
            r#"(module
                (@custom "{section}" (before first) "id")
                (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
                (memory (export "memory") 1)
                (global (mut i32) (i32.const 7))
                (func (export "_start") (call 0 (i32.const 0)))
                {fields}
                (data (i32.const 4096) "{table}"))"#
        );
        wat::parse_str(text).unwrap()
    }

    /// The table, behind one other word.
    fn table() -> [u64; FIELDS + 1] {
        [1, 4100, 4300, 4300, 4400, 4400, 4500, 4500, END, END, END, END]
    }

    fn instance(module: &[u8]) -> (Store<()>, Instance) {
        let engine = Engine::default();
        let module = wasmtime::Module::new(&engine, module).unwrap();
        let mut store = Store::new(&engine, ());
        let exit = wasmtime::Func::wrap(&mut store, |_: i32| {});
        let instance = Instance::new(&mut store, &module, &[exit.into()]).unwrap();
        (store, instance)
    }

    #[test]
    fn the_room_is_between_the_data_and_the_heap_and_is_given_away_once() {
        let changed = with_room(&program(BUILD_ID, &table(), "")).unwrap();
        let (mut store, instance) = instance(&changed);
        let memory: Memory = instance.get_memory(&mut store, "memory").unwrap();
        assert_eq!(memory.size(&store), 1 + u64::from(PAGES));
        let field = 4096 + FIELDS * 8;
        let end = le(&memory.data(&store)[field..field + 8]);
        assert_eq!(end, END + u64::from(PAGES * PAGE));
        let realloc: Realloc = instance.get_typed_func(&mut store, REALLOC).unwrap();
        let mut last_end = u32::try_from(END).unwrap();
        for _ in 0..2 {
            let block = realloc.call(&mut store, (0, 0, 16, PAGE)).unwrap();
            assert!(block.is_multiple_of(16) && block >= last_end);
            last_end = block + PAGE;
            assert!(u64::from(last_end) <= end);
        }
        realloc.call(&mut store, (0, 0, 16, 2 * PAGE)).unwrap_err();
        instance.get_typed_func::<(), ()>(&mut store, "_start").unwrap().call(store, ()).unwrap();
    }

    #[test]
    fn other_programs_are_left_as_they_are() {
        let mut unsorted = table();
        unsorted.swap(2, 3);
        unsorted[2] += 1;
        let mut beyond = table();
        beyond[8..].fill(1 << 20);
        let realloc = r#"(func (export "cabi_realloc"))"#;
        for (section, table, fields) in [
            ("other", table(), ""),
            (BUILD_ID, table(), realloc),
            (BUILD_ID, unsorted, ""),
            (BUILD_ID, beyond, ""),
            (BUILD_ID, [0; FIELDS + 1], ""),
            (BUILD_ID, table(), r#"(data "passive")"#),
        ] {
            assert!(with_room(&program(section, &table, fields)).is_none(), "{table:?} {fields}");
        }
        assert!(with_room(b"\0asm\x01\0\0\0\x01").is_none());
    }
}
