//! A network at the other end of a long line, on this machine: a namespace of its own, and
//! two TUN devices. Whatever goes from one to the other waits, may get lost, and may pass a
//! NAT that forgets. TCP and QUIC see all of that from end to end.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::sync::mpsc::{self, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};

/// A line as an experiment wants it.
#[derive(Clone, Copy, Default)]
pub struct Line {
    /// How long each packet takes, one way.
    pub delay: Duration,
    /// How many of a hundred packets get lost, in each direction.
    pub loss: u8,
    /// A NAT stands before the server, and forgets a flow without a packet for so long.
    pub forgets: Option<Duration>,
}

/// Packets on their way, in each direction.
const QUEUE: usize = 10_000;

/// A line that is there. This end is in the caller's network. Needs root, or a user who is
/// root in a namespace (`unshare -Urn`).
pub struct Link {
    /// The address of this end.
    pub here: Ipv4Addr,
    /// The address of the other end.
    pub there: Ipv4Addr,
    device: String,
    namespace: File,
    nat: Arc<Nat>,
}

impl Link {
    pub fn new(line: Line) -> Self {
        static COUNT: AtomicU16 = AtomicU16::new(0);
        let number = COUNT.fetch_add(1, Relaxed);
        // Addresses for tests of networks (RFC 2544), four for each link.
        let process = std::process::id() % 128;
        let first = 0xc613_0000 + (process << 9) + 4 * u32::from(number);
        let [here, there] = [first + 1, first + 2].map(Ipv4Addr::from);
        let device = format!("line{}x{number}", std::process::id());
        let near = open(&device, here);
        let far = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("root");
            run("ip link set lo up");
            let device = open("far", there);
            (device, File::open("/proc/thread-self/ns/net").unwrap())
        });
        let (far, namespace) = far.join().expect("a namespace");
        let nat = Arc::new(Nat { forgets: line.forgets, ..Nat::default() });
        let [out, home] = [nat.clone(), nat.clone()];
        let [near_too, far_too] = [&near, &far].map(|end| end.try_clone().unwrap());
        carry(near, far, line, move |packet| out.leave(packet));
        carry(far_too, near_too, line, move |packet| home.arrive(packet));
        Self { here, there, device, namespace, nat }
    }

    /// Does something in the network at the other end, in a thread of its own. What it
    /// opens or starts there stays there.
    pub fn inside<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let namespace = self.namespace.try_clone().unwrap();
        thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            act()
        })
    }

    /// The NAT forgets all flows at once, as when it starts again. It gives each a new port
    /// as soon as a packet comes from this end.
    pub fn forget(&self) {
        self.nat.flows.lock().unwrap().clear();
    }

    /// This end gets another address, as a phone between two networks.
    pub fn move_to(&mut self, here: Ipv4Addr) {
        let device = &self.device;
        self.inside(move || run(&format!("ip route add {here} dev far")))
            .join()
            .unwrap();
        run(&format!("ip addr del {} peer {} dev {device}", self.here, self.there));
        run(&format!("ip addr add {here} peer {} dev {device}", self.there));
        self.here = here;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The devices are gone as soon as nobody carries packets from or to them.
        run(&format!("ip link del {}", self.device));
        let end = || Command::new("ip").args(["link", "del", "far"]).output();
        drop(self.inside(end).join());
    }
}

/// This thread, and what it starts from now on, leave the machine's network for one of their
/// own, so that links there are no change of network for anybody else.
pub fn leave_network() {
    unshare(CloneFlags::CLONE_NEWNET).expect("root");
    run("ip link set lo up");
}

nix::ioctl_write_int!(set_device, b'T', 202);

/// Opens a TUN device with this address.
fn open(name: &str, address: Ipv4Addr) -> File {
    const IFF_TUN: u16 = 1;
    const IFF_NO_PI: u16 = 0x1000;
    let device = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    let device = device.expect("/dev/net/tun");
    let mut request = [0u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    request[16..18].copy_from_slice(&(IFF_TUN | IFF_NO_PI).to_ne_bytes());
    // SAFETY: `struct ifreq` has 40 bytes: the name, and the flags.
    let made = unsafe { set_device(device.as_raw_fd(), request.as_ptr() as u64) };
    made.expect("a TUN device (needs root)");
    let last = address.octets()[3];
    let peer = if last % 4 == 1 { last + 1 } else { last - 1 };
    let [a, b, c, _] = address.octets();
    run(&format!("ip addr add {address} peer {a}.{b}.{c}.{peer} dev {name}"));
    run(&format!("ip link set {name} up"));
    device
}

/// Carries packets from one device to another, until one is gone.
fn carry(
    mut from: File,
    mut to: File,
    line: Line,
    nat: impl Fn(&mut [u8]) -> bool + Send + 'static,
) {
    let (sender, queue) = mpsc::sync_channel::<(Instant, Vec<u8>)>(QUEUE);
    thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        while let Ok(length) = from.read(&mut buffer) {
            let due = Instant::now() + line.delay;
            let mut packet = buffer[..length].to_vec();
            if packet[0] >> 4 != 4 || !nat(&mut packet) {
                continue;
            }
            let is_lost = fastrand::u8(..100) < line.loss;
            // Packets that come where the queue is full get lost, as everywhere.
            let sent = if is_lost { Ok(()) } else { sender.try_send((due, packet)) };
            if let Err(TrySendError::Disconnected(_)) = sent {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (due, packet) in queue {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write(&packet).is_err() {
                break;
            }
        }
    });
}

/// Gives each flow that leaves a port of its own, and lets in only what answers it.
#[derive(Default)]
struct Nat {
    forgets: Option<Duration>,
    flows: Mutex<HashMap<(u8, u16), (u16, Instant)>>,
    last_port: AtomicU16,
}

impl Nat {
    /// Translates a packet that leaves.
    fn leave(&self, packet: &mut [u8]) -> bool {
        let Some(flow) = flow(packet, 0) else { return true };
        let mut flows = self.flows.lock().unwrap();
        let known = flows.get(&flow).filter(|(_, seen)| self.knows(*seen));
        let port = known.map(|(port, _)| *port);
        let port = port.unwrap_or_else(|| {
            20_000 + self.last_port.fetch_add(1, Relaxed) % 40_000
        });
        flows.insert(flow, (port, Instant::now()));
        translate(packet, 0, port);
        true
    }

    /// Translates a packet that arrives, if it is an answer.
    fn arrive(&self, packet: &mut [u8]) -> bool {
        let Some((protocol, outside)) = flow(packet, 2) else { return true };
        let mut flows = self.flows.lock().unwrap();
        let known = flows.iter_mut().find(|((of, _), (port, seen))| {
            *of == protocol && *port == outside && self.knows(*seen)
        });
        let Some(((_, inside), (_, seen))) = known else { return false };
        *seen = Instant::now();
        translate(packet, 2, *inside);
        true
    }

    fn knows(&self, seen: Instant) -> bool {
        self.forgets.is_none_or(|time| seen.elapsed() < time)
    }
}

const TCP: u8 = 6;
const UDP: u8 = 17;

/// The protocol, and the port at this place of its head.
fn flow(packet: &[u8], place: usize) -> Option<(u8, u16)> {
    let at = head(packet) + place;
    let protocol = packet[9];
    let port = u16::from_be_bytes([packet[at], packet[at + 1]]);
    matches!(protocol, TCP | UDP).then_some((protocol, port))
}

/// Where the head of TCP or UDP begins.
fn head(packet: &[u8]) -> usize {
    usize::from(packet[0] & 15) * 4
}

/// Writes another port, and changes the checksum by the difference (RFC 1624).
fn translate(packet: &mut [u8], place: usize, port: u16) {
    let head = head(packet);
    let sum = head + if packet[9] == TCP { 16 } else { 6 };
    let word =
        |packet: &[u8], at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let old = word(packet, head + place);
    let new = u32::from(!word(packet, sum)) + u32::from(!old) + u32::from(port);
    let new = (new & 0xffff) + (new >> 16);
    let new = !((new & 0xffff) + (new >> 16)) as u16;
    packet[sum..sum + 2].copy_from_slice(&new.to_be_bytes());
    packet[head + place..head + place + 2].copy_from_slice(&port.to_be_bytes());
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status();
    assert!(status.expect("ip (Debian: iproute2)").success(), "{command}");
}
