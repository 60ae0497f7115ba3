//! An allocator for handlers that live as long as one request.
//!
//! Rust's own allocator takes no notice of the memory that an instance begins
//! with, and grows it at the first allocation. For the host that is a change
//! of its page tables, and another when the instance is dropped: a third of
//! what a small request costs. What is left of the last page, some 60 KB, is
//! enough for most requests.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const PAGE: usize = 65536;

unsafe extern "C" {
    /// Where the linker says that the data of the program ends.
    static __heap_base: u8;
}

/// Gives out what is left of the first memory pages, then what Rust's own
/// allocator gives. What is freed is used again only if it was the last to be
/// given out; the rest comes back with the end of the instance.
struct FirstPages {
    /// Where the next allocation begins; 0 at first. An instance has one
    /// thread: these are atomic for the sake of the compiler alone.
    next: AtomicUsize,
    end: AtomicUsize,
}

#[global_allocator]
static ALLOCATOR: FirstPages = FirstPages { next: AtomicUsize::new(0), end: AtomicUsize::new(0) };

impl FirstPages {
    fn begin(&self) -> usize {
        let next = self.next.load(Relaxed);
        if next != 0 {
            return next;
        }
        // At the first allocation of all: no other could have grown it yet.
        self.end.store(core::arch::wasm32::memory_size(0) * PAGE, Relaxed);
        let base = (&raw const __heap_base).addr();
        self.next.store(base, Relaxed);
        base
    }

    fn holds(&self, place: *mut u8) -> bool {
        place.addr() < self.end.load(Relaxed)
    }

    fn is_last(&self, place: *mut u8, size: usize) -> bool {
        self.next.load(Relaxed) == place.addr() + size
    }
}

// SAFETY: what is given out lies between the end of the program's data and the
// end of its first pages, where nothing else is, and the parts do not overlap,
// because `next` only goes back over what was given back. Everything else is
// left to `System`.
unsafe impl GlobalAlloc for FirstPages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let place = self.begin().next_multiple_of(layout.align());
        match place.checked_add(layout.size()) {
            Some(next) if next <= self.end.load(Relaxed) => {
                self.next.store(next, Relaxed);
                std::ptr::with_exposed_provenance_mut(place)
            }
            // SAFETY: the caller's layout, unchanged.
            _ => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if !self.holds(place) {
            // SAFETY: it is not of the first pages, so it is of `System`.
            unsafe { System.dealloc(place, layout) };
        } else if self.is_last(place, layout.size()) {
            self.next.store(place.addr(), Relaxed);
        }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !self.holds(place) {
            // SAFETY: as in `dealloc`.
            return unsafe { System.realloc(place, layout, size) };
        }
        if self.is_last(place, layout.size()) {
            match place.addr().checked_add(size) {
                Some(next) if next <= self.end.load(Relaxed) => {
                    self.next.store(next, Relaxed);
                    return place;
                }
                _ => {}
            }
        }
        // SAFETY: the caller sees to it that `size` makes a layout.
        let grown = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !grown.is_null() {
            // SAFETY: both are as large as the smaller of the two sizes, and
            // the old one is still the caller's.
            unsafe {
                std::ptr::copy_nonoverlapping(place, grown, layout.size().min(size));
                self.dealloc(place, layout);
            }
        }
        grown
    }
}
