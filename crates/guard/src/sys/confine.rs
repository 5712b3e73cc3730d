//! What a child gives up directly before it is executed: its user, capabilities, the right to gain
//! any, most of the file system, and system calls.
//!
//! Between fork and exec: system calls only. What fails leaves the child with more than it should
//! have and alive; it looks at itself and says so.

use std::os::fd::{AsRawFd, BorrowedFd};

/// What is given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confine<'a> {
    /// Its own user, group and further groups.
    pub(crate) user: Option<(u32, u32, &'a [u32])>,
    /// The capabilities it keeps, one bit for each.
    pub(crate) keeps: u64,
    /// Where it may write (a ruleset of Landlock).
    pub(crate) writable: Option<BorrowedFd<'a>>,
    /// Which system calls are refused.
    pub(crate) filters: &'a [seccompiler::BpfProgram],
    /// The highest real-time priority it may ask for.
    pub(crate) priority: u64,
}

impl Confine<'_> {
    /// Gives it up, in this process.
    pub(super) fn enter(&self) {
        let limit = libc::rlimit { rlim_cur: self.priority, rlim_max: self.priority };
        // SAFETY: plain system calls; what they point to lives in the caller's frame.
        unsafe {
            libc::setrlimit(libc::RLIMIT_RTPRIO, &raw const limit);
            for capability in (0..64).filter(|number| self.keeps >> number & 1 == 0) {
                libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
            }
            if let Some((uid, gid, groups)) = self.user {
                libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0);
                libc::setgroups(groups.len(), groups.as_ptr());
                libc::setresgid(gid, gid, gid);
                libc::setresuid(uid, uid, uid);
            }
        }
        self.keep_capabilities();
        // SAFETY: plain system calls; the ruleset is open.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            if let Some(ruleset) = self.writable {
                libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0);
            }
        }
        for filter in self.filters {
            let _ = seccompiler::apply_filter(filter);
        }
    }

    /// Has these capabilities and no others, and the program that is executed, too.
    fn keep_capabilities(&self) {
        /// `_LINUX_CAPABILITY_VERSION_3`; of the process that calls.
        const HEADER: [u32; 2] = [0x2008_0522, 0];
        let (low, high) = (self.keeps as u32, (self.keeps >> 32) as u32);
        // Effective, permitted, inheritable; the lower halves first.
        let sets = [low, low, low, high, high, high];
        // SAFETY: plain system calls on this process; header and sets have the form of capset(2).
        unsafe {
            libc::syscall(libc::SYS_capset, HEADER.as_ptr(), sets.as_ptr());
            for capability in (0..64).filter(|number| self.keeps >> number & 1 == 1) {
                let raise = libc::PR_CAP_AMBIENT_RAISE;
                libc::prctl(libc::PR_CAP_AMBIENT, raise, capability, 0, 0);
            }
        }
    }
}
