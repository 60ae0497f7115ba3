//! The types of `wasi:filesystem/types`.

use wasmtime::component::{ComponentType, Lift, Lower};

use crate::host::wasi::clocks::Datetime;

/// `descriptor-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(super) enum DescriptorType {
    #[component(name = "unknown")]
    Unknown,
    #[component(name = "block-device")]
    BlockDevice,
    #[component(name = "character-device")]
    CharacterDevice,
    #[component(name = "directory")]
    Directory,
    #[component(name = "fifo")]
    Fifo,
    #[component(name = "symbolic-link")]
    SymbolicLink,
    #[component(name = "regular-file")]
    RegularFile,
    #[component(name = "socket")]
    Socket,
}

wasmtime::component::flags! {
    DescriptorFlags {
        #[component(name = "read")]
        const READ;
        #[component(name = "write")]
        const WRITE;
        #[component(name = "file-integrity-sync")]
        const FILE_INTEGRITY_SYNC;
        #[component(name = "data-integrity-sync")]
        const DATA_INTEGRITY_SYNC;
        #[component(name = "requested-write-sync")]
        const REQUESTED_WRITE_SYNC;
        #[component(name = "mutate-directory")]
        const MUTATE_DIRECTORY;
    }
}

wasmtime::component::flags! {
    PathFlags {
        #[component(name = "symlink-follow")]
        const SYMLINK_FOLLOW;
    }
}

wasmtime::component::flags! {
    OpenFlags {
        #[component(name = "create")]
        const CREATE;
        #[component(name = "directory")]
        const DIRECTORY;
        #[component(name = "exclusive")]
        const EXCLUSIVE;
        #[component(name = "truncate")]
        const TRUNCATE;
    }
}

/// `descriptor-stat`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct DescriptorStat {
    #[component(name = "type")]
    pub descriptor_type: DescriptorType,
    #[component(name = "link-count")]
    pub link_count: u64,
    pub size: u64,
    #[component(name = "data-access-timestamp")]
    pub data_access_timestamp: Option<Datetime>,
    #[component(name = "data-modification-timestamp")]
    pub data_modification_timestamp: Option<Datetime>,
    #[component(name = "status-change-timestamp")]
    pub status_change_timestamp: Option<Datetime>,
}

/// `new-timestamp`.
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(variant)]
pub(super) enum NewTimestamp {
    #[component(name = "no-change")]
    NoChange,
    #[component(name = "now")]
    Now,
    #[component(name = "timestamp")]
    Timestamp(Datetime),
}

/// `directory-entry`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct DirectoryEntry {
    #[component(name = "type")]
    pub descriptor_type: DescriptorType,
    pub name: String,
}

/// `advice`. The host never returns one.
#[allow(dead_code)]
#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub(super) enum Advice {
    #[component(name = "normal")]
    Normal,
    #[component(name = "sequential")]
    Sequential,
    #[component(name = "random")]
    Random,
    #[component(name = "will-need")]
    WillNeed,
    #[component(name = "dont-need")]
    DontNeed,
    #[component(name = "no-reuse")]
    NoReuse,
}

/// `metadata-hash-value`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct MetadataHashValue {
    pub lower: u64,
    pub upper: u64,
}
