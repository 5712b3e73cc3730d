//! Net namespaces for tests: every test gets its own, nothing outside is touched.
//!
//! Without root the test binary runs the one test again inside a user namespace; where neither is
//! possible the test fails and says so.
#![expect(unsafe_code, reason = "entering a user namespace happens between fork and exec")]

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use stead_netlink::Route;

/// A net namespace; gone when the last descriptor, thread and interface in it are.
pub(crate) struct Space(File);

impl Space {
    /// A fresh one with loopback up.
    pub(crate) fn new() -> Self {
        let made = thread::spawn(|| {
            unshare_net().expect("a net namespace");
            Route::open().unwrap().set_up("lo").unwrap();
            File::open("/proc/thread-self/ns/net").expect("the new net namespace")
        });
        Self(made.join().expect("the thread that makes a namespace"))
    }

    /// Runs `work` on a thread inside.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            let kind = Some(LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(self.fd(), kind).expect("setns");
            work()
        };
        thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Runs the body of the test called `name` (with its modules) where it may make namespaces.
pub(crate) fn test(name: &str, body: impl FnOnce()) {
    match thread::spawn(unshare_net).join().expect("the probing thread") {
        Ok(()) => body(),
        Err(errno) => {
            let inside = std::env::var_os(INSIDE).is_some();
            assert!(!inside, "no net namespace even inside a user namespace: {errno}");
            again_in_user_namespace(name);
        }
    }
}

/// Set for the second run, inside the user namespace.
const INSIDE: &str = "STEAD_TEST_IN_USER_NAMESPACE";

fn unshare_net() -> rustix::io::Result<()> {
    // SAFETY: only the net namespace of this thread changes; no memory or descriptor is unshared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
}

fn again_in_user_namespace(name: &str) {
    let uid_map = format!("0 {} 1", rustix::process::getuid().as_raw());
    let gid_map = format!("0 {} 1", rustix::process::getgid().as_raw());
    let mut command = Command::new(std::env::current_exe().expect("the test binary"));
    command.args(["--exact", name, "--nocapture", "--test-threads", "1"]).env(INSIDE, "1");
    let enter = move || {
        // SAFETY: the forked child has one thread and no memory or descriptor is unshared.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER)? };
        write(c"/proc/self/setgroups", b"deny")?;
        write(c"/proc/self/uid_map", uid_map.as_bytes())?;
        write(c"/proc/self/gid_map", gid_map.as_bytes())
    };
    // SAFETY: `enter` makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(enter) };
    let output = command.output().unwrap_or_else(|error| {
        panic!("neither root nor a user namespace to make net namespaces in: {error}")
    });
    let told = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && told.contains("1 passed");
    assert!(passed, "`{name}` in a user namespace:\n{told}{complaint}");
}

fn write(path: &std::ffi::CStr, content: &[u8]) -> std::io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, content)?;
    Ok(())
}
