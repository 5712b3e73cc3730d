//! Cluster addresses and the lease: they pass while it runs, whoever is stopped.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::thread;

use rustix::process::{Signal, geteuid};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use stead_model::order::{GuardOrder, GuardReport};
use stead_model::wire::guard::{AddressUndo, MonitorToGuard, NodeToGuard, Thing};
use stead_model::{LeaseNumber, Span, Time};
use stead_netlink::{AddressSpec, Passage, Route, addresses_pass, encode_delete_address};

use crate::stories::Story;
use crate::world::{World, eventually, now, send_signal};

pub(crate) const ALL: &[Story] = &[
    ("addresses_of_a_stopped_guard_fall_silent", addresses_of_a_stopped_guard_fall_silent),
    ("a_hard_stop_silences_addresses", a_hard_stop_silences_addresses),
    ("a_flushed_rule_set_is_built_again", a_flushed_rule_set_is_built_again),
    ("a_new_guard_removes_what_a_dead_one_left", a_new_guard_removes_what_a_dead_one_left),
    ("without_rights_addresses_are_served_all_the_same", without_rights),
];

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));
const LONG: Span = Span::from_secs(600);

/// A net namespace of the story's own.
struct Net(File);

impl Net {
    fn new() -> Option<Self> {
        if !geteuid().is_root() {
            println!("skipped: only root makes a net namespace here");
            return None;
        }
        let made = thread::spawn(|| {
            // SAFETY: only the net namespace of this thread changes.
            #[expect(unsafe_code, reason = "unshare has no safe form")]
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
            Route::open().unwrap().set_up("lo").unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        Some(Self(made.join().unwrap()))
    }

    fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(self.0.as_fd(), kind).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }

    /// A guard that works in here.
    fn guard(&self) -> World {
        let mut command = Command::new("nsenter");
        let path = format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd());
        command.arg(format!("--net={path}")).arg(std::env::current_exe().unwrap());
        World::start_with(command, |_| {})
    }

    fn spec(&self) -> AddressSpec {
        let index = self.run(|| Route::open().unwrap().link("lo").unwrap().index);
        AddressSpec::cluster(index, ADDRESS)
    }

    /// Asks for the address as a monitor does and adds it; gives a socket that hears there.
    fn serve(&self, world: &mut World, lease: u64) -> UdpSocket {
        let spec = self.spec();
        let what = spec.to_string();
        let undo = AddressUndo { what, address: ADDRESS, request: encode_delete_address(&spec) };
        world.admit_thing("address", lease, Thing::Address(undo)).unwrap();
        let socket = self.run(|| {
            Route::open().unwrap().add_address(&spec).unwrap();
            UdpSocket::bind((ADDRESS, 0)).unwrap()
        });
        socket.set_nonblocking(true).unwrap();
        socket
    }

    fn has_address(&self) -> bool {
        let entries = self.run(|| Route::open().unwrap().addresses().unwrap());
        entries.iter().any(|entry| entry.address == ADDRESS)
    }

    /// Whether a datagram to the address arrives.
    fn passes(&self, socket: &UdpSocket) -> bool {
        let target = socket.local_addr().unwrap();
        self.run(|| {
            let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            // Without the address there is no way to it.
            drop(client.send_to(b"?", target));
        });
        // Loopback delivers before the send returns.
        socket.recv(&mut [0; 8]).is_ok()
    }
}

/// The last moment at which a datagram that passed was sent, until none passes any more.
fn last_passed(net: &Net, socket: &UdpSocket) -> Time {
    let mut last = Time(0);
    eventually("the address is silent", || {
        let sent = now();
        let passes = net.passes(socket);
        if passes {
            last = sent;
        }
        !passes
    });
    last
}

/// As on a frozen node: nobody acts, the kernel does.
fn addresses_of_a_stopped_guard_fall_silent() {
    let Some(net) = Net::new() else { return };
    let mut world = net.guard();
    world.lease(1, LONG);
    let socket = net.serve(&mut world, 1);
    assert!(net.passes(&socket));
    let until = world.lease(2, Span::from_millis(400));
    assert!(net.passes(&socket));
    send_signal(world.guard.id().cast_signed(), Signal::STOP);
    let last = last_passed(&net, &socket);
    assert!(last <= until, "it passed {} after the lease", last.since(until));
    assert!(net.has_address(), "somebody acted");
    // Late by more than it tells.
    eventually("time passes", || now() >= until + Span::from_millis(60));
    send_signal(world.guard.id().cast_signed(), Signal::CONT);
    let text = world.notice("guard-stalled");
    assert!(text.contains(" late"), "{text}");
    world.report(|r| *r == GuardReport::HardStopDone { lease: LeaseNumber(2) });
    assert!(!net.has_address());
    assert!(net.run(|| Passage::open().unwrap().addresses().unwrap()).is_empty());
}

fn a_hard_stop_silences_addresses() {
    let Some(net) = Net::new() else { return };
    let mut world = net.guard();
    world.lease(1, LONG);
    let socket = net.serve(&mut world, 1);
    assert!(net.passes(&socket) && net.run(addresses_pass));
    let order = GuardOrder::HardStop { why: "test".into() };
    world.node.send(&NodeToGuard::Order(order));
    world.report(|r| matches!(r, GuardReport::HardStopBegan { .. }));
    assert!(!net.run(addresses_pass) && !net.passes(&socket));
    world.report(|r| *r == GuardReport::HardStopDone { lease: LeaseNumber(1) });
    // A newer lease serves again, with an address that is admitted again.
    world.monitor.reborn();
    world.monitor_hello();
    world.lease(2, LONG);
    assert!(!net.run(addresses_pass), "open without an address");
    let socket = net.serve(&mut world, 2);
    assert!(net.passes(&socket));
}

fn a_flushed_rule_set_is_built_again() {
    let Some(net) = Net::new() else { return };
    let mut world = net.guard();
    world.lease(1, LONG);
    let socket = net.serve(&mut world, 1);
    net.run(|| Passage::open().unwrap().clear().unwrap());
    assert!(net.run(|| Passage::open().unwrap().addresses().unwrap()).is_empty());
    let until = world.lease(2, Span::from_millis(300));
    assert!(net.passes(&socket));
    let (codes, _) = world.node_hello();
    assert!(!codes.iter().any(|code| code == "addresses-not-tied"), "{codes:?}");
    send_signal(world.guard.id().cast_signed(), Signal::STOP);
    assert!(last_passed(&net, &socket) <= until);
    send_signal(world.guard.id().cast_signed(), Signal::CONT);
}

fn a_new_guard_removes_what_a_dead_one_left() {
    let Some(net) = Net::new() else { return };
    let mut world = net.guard();
    world.lease(1, LONG);
    net.serve(&mut world, 1);
    world.guard.kill();
    assert!(net.has_address());
    let mut world = net.guard();
    assert!(!net.has_address());
    // And a guard that ends leaves nothing of its own.
    world.lease(1, LONG);
    net.serve(&mut world, 1);
    send_signal(world.guard.id().cast_signed(), Signal::TERM);
    assert!(world.guard.wait().success());
    assert!(!net.has_address());
    assert!(net.run(addresses_pass), "its tables are still there");
}

fn without_rights() {
    const NOBODY: u32 = 65534;
    if !geteuid().is_root() {
        println!("skipped: this user is root in no namespace here");
        return;
    }
    let mut world = World::start_as(NOBODY);
    let (codes, _) = world.node_hello();
    assert!(codes.iter().any(|code| code == "addresses-not-tied"), "{codes:?}");
    world.lease(1, LONG);
    let undo = AddressUndo { what: "it".into(), address: ADDRESS, request: vec![0; 16] };
    let instance = world.admit_thing("address", 1, Thing::Address(undo)).unwrap().0;
    world.lease(2, LONG);
    world.monitor.send(&MonitorToGuard::Released { instance });
    eventually("it is released", || world.status().admitted.is_empty());
}
