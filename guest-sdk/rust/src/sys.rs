//! The unsafe code of this crate.

/// Runs the functions of `atexit` and flushes the streams of C's standard library, as
/// the C library does before it ends a program.
#[cfg(target_os = "wasi")]
pub(crate) fn run_c_exit_functions() {
    unsafe extern "C" {
        fn __wasm_call_dtors();
    }
    // SAFETY: wasi-libc, which Rust's library is linked with, has this function for
    // programs whose `main` has returned. As in such a program, the only code that runs
    // afterwards is the code that returns the result of `finish` to the host.
    unsafe { __wasm_call_dtors() };
}

/// An allocator for handlers that live as long as one request.
///
/// Rust's own allocator does not use the memory that an instance starts with: it grows
/// the memory at the first allocation. The host then has to change page tables, and once
/// more when the instance is dropped, which is a third of the cost of a small request.
/// The unused rest of the last page, some 60 KB, is enough for most requests.
#[cfg(all(target_os = "unknown", feature = "allocator"))]
mod allocator {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    const PAGE: usize = 65536;

    unsafe extern "C" {
        /// The end of the program's data, which the linker defines.
        static __heap_base: u8;
    }

    /// Allocates from the rest of the first memory pages, then from Rust's own
    /// allocator. Freed memory of the first pages is used again only if it was the last
    /// to be allocated; the rest is freed with the instance.
    struct FirstPages {
        /// The address of the next allocation, or 0 before the first one. An instance
        /// has one thread: the fields are atomic because a `static` must be `Sync`.
        next: AtomicUsize,
        end: AtomicUsize,
    }

    #[global_allocator]
    static ALLOCATOR: FirstPages =
        FirstPages { next: AtomicUsize::new(0), end: AtomicUsize::new(0) };

    impl FirstPages {
        /// Returns the address of the next allocation.
        fn next(&self) -> usize {
            let next = self.next.load(Relaxed);
            if next != 0 {
                return next;
            }
            // Before the first allocation no code can have grown the memory.
            self.end.store(core::arch::wasm32::memory_size(0) * PAGE, Relaxed);
            let base = (&raw const __heap_base).addr();
            self.next.store(base, Relaxed);
            base
        }

        fn contains(&self, block: *mut u8) -> bool {
            block.addr() < self.end.load(Relaxed)
        }

        fn is_last(&self, block: *mut u8, size: usize) -> bool {
            self.next.load(Relaxed) == block.addr() + size
        }
    }

    // SAFETY: a block lies between the end of the program's data and the end of the
    // first pages, where nothing else is. Blocks do not overlap, because `next` only
    // moves back over a block that was freed. All other calls go to `System`.
    unsafe impl GlobalAlloc for FirstPages {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let block = self.next().next_multiple_of(layout.align());
            match block.checked_add(layout.size()) {
                Some(next) if next <= self.end.load(Relaxed) => {
                    self.next.store(next, Relaxed);
                    std::ptr::with_exposed_provenance_mut(block)
                }
                // SAFETY: the layout is the caller's, unchanged.
                _ => unsafe { System.alloc(layout) },
            }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            if !self.contains(block) {
                // SAFETY: a block outside of the first pages is from `System`.
                unsafe { System.dealloc(block, layout) };
            } else if self.is_last(block, layout.size()) {
                self.next.store(block.addr(), Relaxed);
            }
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            if !self.contains(block) {
                // SAFETY: as in `dealloc`.
                return unsafe { System.realloc(block, layout, size) };
            }
            if self.is_last(block, layout.size()) {
                match block.addr().checked_add(size) {
                    Some(next) if next <= self.end.load(Relaxed) => {
                        self.next.store(next, Relaxed);
                        return block;
                    }
                    _ => {}
                }
            }
            // SAFETY: the caller guarantees that `size` makes a valid layout.
            let grown =
                unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
            if !grown.is_null() {
                // SAFETY: both blocks are at least as large as the smaller of the two
                // sizes, and the old block still belongs to the caller.
                unsafe {
                    std::ptr::copy_nonoverlapping(block, grown, layout.size().min(size));
                    self.dealloc(block, layout);
                }
            }
            grown
        }
    }
}
