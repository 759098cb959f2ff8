//! How glibc's allocator goes about memory.
//!
//! A pass over thousands of Services makes a few large things and drops the ones before. Left alone, the allocator learns
//! from that to keep such room for ever, once for every thread: of 10,000 Services 25 MB of 60. Nothing else is
//! done here.
#![expect(unsafe_code, reason = "mallopt has no safe name")]

/// What is as large as this goes back to the system when it is dropped. It is the allocator's own default, which stays
/// one only when it is said.
#[cfg(target_env = "gnu")]
const LARGE: i32 = 128 * 1024;

/// Free room at the end of the heap beyond this goes back, too.
#[cfg(target_env = "gnu")]
const SLACK: i32 = 256 * 1024;

/// Keeps no more memory than is in use, as far as the allocator can be told. To be called once, before there is a second
/// thread.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    for (what, value) in
        [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, SLACK)]
    {
        // SAFETY: mallopt takes two numbers and no pointer, and there is no other thread yet; a refusal leaves things as
        // they were.
        unsafe { libc::mallopt(what, value) };
    }
}
