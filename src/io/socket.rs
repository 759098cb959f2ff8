//! Raw sockets, and the one capability that they need.
//!
//! Two packet sockets see the ARP and the neighbour discovery of every interface, present or to come, and a filter
//! in the kernel keeps everything else away; group memberships hang on plain UDP sockets. After [`Sockets::open`]
//! no capability is needed any more. Nothing here looks into a frame.
#![expect(
    unsafe_code,
    reason = "sockaddr_ll, PACKET_IGNORE_OUTGOING, AsyncFd::register and capset have no safe name"
)]

use crate::net::IfIndex;
use anyhow::Context as _;
use nix::sys::socket::LinkAddr;
use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};
use std::{collections::BTreeMap, io, net::Ipv6Addr, os::fd::AsRawFd as _};
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

/// A socket that has something to read.
pub(super) type Ready<'a> = AsyncFdReadyGuard<'a, Socket>;

/// The sockets of layer 2, open and filtered but not yet listened to.
#[derive(Debug)]
pub struct Sockets {
    arp: Socket,
    neighbour: Socket,
}

impl Sockets {
    /// Opens both. Needs `CAP_NET_RAW`, permitted at least, for this call only; no runtime.
    ///
    /// # Errors
    /// The kernel's refusal; a missing capability is named.
    pub fn open() -> anyhow::Result<Self> {
        raise_net_raw();
        let open = |protocol, filter: &[SockFilter]| {
            packet_socket(protocol, filter).map_err(|error| {
                let denied = error.kind() == io::ErrorKind::PermissionDenied;
                let error = anyhow::Error::new(error);
                if !denied {
                    return error.context("open a packet socket");
                }
                error.context(
                    "open a packet socket: CAP_NET_RAW is missing; the container needs it in \
                     securityContext.capabilities.add, and without root the program needs it as a file capability \
                     too (setcap cap_net_raw+p), on a file system that is not mounted nosuid",
                )
            })
        };
        Ok(Self { arp: open(ETH_P_ARP, &arp_filter())?, neighbour: open(ETH_P_IPV6, &neighbour_filter())? })
    }

    /// Both as event sources of the current runtime: ARP, then neighbour discovery.
    pub(super) fn listen(self) -> anyhow::Result<(Packets, Packets)> {
        let packets = |socket: Socket, protocol| -> anyhow::Result<Packets> {
            // SAFETY: `Packets` owns the socket until it drops the registration, hands out no mutable access to
            // it, and `Socket` keeps its descriptor open as long as it lives.
            let fd = unsafe { AsyncFd::register(socket) }.map_err(io::Error::from)?;
            Ok(Packets { fd, protocol })
        };
        let both = (packets(self.arp, ETH_P_ARP), packets(self.neighbour, ETH_P_IPV6));
        Ok((both.0.context("listen for ARP")?, both.1.context("listen for neighbour discovery")?))
    }
}

const ETH_P_ARP: u16 = libc::ETH_P_ARP as u16;
const ETH_P_IPV6: u16 = libc::ETH_P_IPV6 as u16;

/// A packet socket of one ethertype on all interfaces.
#[derive(Debug)]
pub(super) struct Packets {
    fd: AsyncFd<Socket>,
    protocol: u16,
}

impl Packets {
    /// Waits until there is something to read. Cancel-safe.
    pub(super) async fn readable(&self) -> io::Result<Ready<'_>> {
        self.fd.readable().await
    }

    /// Hands at most `limit` frames to `take`, without waiting. What is left keeps [`Self::readable`] ready.
    ///
    /// # Errors
    /// The kernel's, other than "nothing to read".
    pub(super) fn read(
        mut ready: Ready<'_>,
        limit: usize,
        mut take: impl FnMut(IfIndex, &[u8]),
    ) -> io::Result<()> {
        let mut buffer = [0; FRAME];
        for _ in 0..limit {
            let fd = ready.get_inner().as_raw_fd();
            match nix::sys::socket::recvfrom::<LinkAddr>(fd, &mut buffer) {
                Ok((length, Some(from))) => {
                    let index = u32::try_from(from.ifindex()).map(IfIndex);
                    if let (Ok(link), Some(frame)) = (index, buffer.get(..length)) {
                        take(link, frame);
                    }
                }
                Ok((_, None)) | Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => {
                    ready.clear_ready();
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Sends `frame` on `link`, without waiting: a full queue is an error.
    pub(super) fn send(&self, link: IfIndex, frame: &[u8]) -> io::Result<()> {
        self.fd.get_ref().send_to(frame, &link_addr(self.protocol, link)).map(drop)
    }
}

/// Longer than any frame that passes the filters in earnest; what does not fit is cut off, and then malformed.
const FRAME: usize = 2048;

/// Bytes of frames that wait to be read: when a network heals, nodes have a word for each of some thousand addresses,
/// and the kernel counts more than half a kilobyte for each frame.
const RECEIVE: usize = 4 << 20;

fn packet_socket(protocol: u16, filter: &[SockFilter]) -> io::Result<Socket> {
    // Protocol 0 receives nothing: no frame can come in before the filter stands.
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    socket.set_nonblocking(true)?;
    // As much of it as the host allows (net.core.rmem_max). Where there is less, some hundred frames fit.
    socket.set_recv_buffer_size(RECEIVE)?;
    socket.attach_filter(filter)?;
    ignore_outgoing(&socket)?;
    socket.bind(&link_addr(protocol, IfIndex(0)))?;
    Ok(socket)
}

/// The address of `protocol` on `link`; on every interface if that is 0.
fn link_addr(protocol: u16, link: IfIndex) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is plain old data and fits in sockaddr_storage, and all its bit patterns are valid.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = link.0.cast_signed();
    // SAFETY: the storage holds an initialised sockaddr_ll of this length.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}

/// Frames that this node sends do not come back in; Linux 4.20.
fn ignore_outgoing(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the pointer and the length are those of `on`, which outlives the call.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_IGNORE_OUTGOING,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Where the kernel keeps whom a frame is for. A frame of a VLAN that this node has no interface for arrives on the
/// parent without its tag, and is told apart by being for another host.
const PACKET_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();
const OTHER_HOST: u32 = libc::PACKET_OTHERHOST as u32;

/// ARP requests and replies for this host or for all.
fn arp_filter() -> [SockFilter; 7] {
    [
        SockFilter::new(LOAD_WORD, 0, 0, PACKET_TYPE),
        SockFilter::new(IF_EQUAL, 4, 0, OTHER_HOST),
        SockFilter::new(LOAD_HALF, 0, 0, 14 + 6),
        SockFilter::new(IF_EQUAL, 1, 0, 1),
        SockFilter::new(IF_EQUAL, 0, 1, 2),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// Neighbour solicitations and advertisements for this host or for a group.
fn neighbour_filter() -> [SockFilter; 9] {
    [
        SockFilter::new(LOAD_WORD, 0, 0, PACKET_TYPE),
        SockFilter::new(IF_EQUAL, 6, 0, OTHER_HOST),
        SockFilter::new(LOAD_BYTE, 0, 0, 14 + 6),
        SockFilter::new(IF_EQUAL, 0, 4, libc::IPPROTO_ICMPV6.cast_unsigned()),
        SockFilter::new(LOAD_BYTE, 0, 0, 14 + 40),
        SockFilter::new(IF_EQUAL, 1, 0, 135),
        SockFilter::new(IF_EQUAL, 0, 1, 136),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// Memberships in multicast groups: the kernel opens the interface's filter for them and reports them by MLD, which
/// switches that snoop need. Plain sockets, no capability; one socket takes some thousands of groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    holders: Vec<Holder>,
    /// Which holder has the membership.
    joined: BTreeMap<(IfIndex, Ipv6Addr), usize>,
}

/// A socket that memberships hang on.
#[derive(Debug)]
struct Holder {
    socket: Socket,
    /// It took no more, and none has been left since.
    full: bool,
}

impl Groups {
    /// The memberships held, in order.
    pub(super) fn joined(&self) -> impl Iterator<Item = (IfIndex, Ipv6Addr)> {
        self.joined.keys().copied()
    }

    /// Joins `group` on `link`; a group that is joined stays joined.
    pub(super) fn join(&mut self, link: IfIndex, group: Ipv6Addr) -> io::Result<()> {
        if self.joined.contains_key(&(link, group)) {
            return Ok(());
        }
        // Socket memory limits the groups per socket.
        for (index, holder) in self.holders.iter_mut().enumerate().filter(|(_, holder)| !holder.full) {
            match holder.socket.join_multicast_v6(&group, link.0) {
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOBUFS)) => {
                    holder.full = true;
                }
                Err(error) => return Err(error),
                Ok(()) => {
                    self.joined.insert((link, group), index);
                    return Ok(());
                }
            }
        }
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
        socket.join_multicast_v6(&group, link.0)?;
        self.joined.insert((link, group), self.holders.len());
        self.holders.push(Holder { socket, full: false });
        Ok(())
    }

    /// Leaves `group` on `link`. The kernel has nothing to object that would matter: an interface that is gone took
    /// its memberships along.
    pub(super) fn leave(&mut self, link: IfIndex, group: Ipv6Addr) {
        let index = self.joined.remove(&(link, group));
        if let Some(holder) = index.and_then(|index| self.holders.get_mut(index)) {
            drop(holder.socket.leave_multicast_v6(&group, link.0));
            holder.full = false;
        }
        if self.joined.is_empty() {
            self.holders.clear();
        }
    }
}

/// A thread's capabilities, as the kernel takes them (`capset(2)`, version 3): two words of each set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Capabilities {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    thread: libc::c_int,
}

impl CapabilityHeader {
    /// The calling thread.
    const SELF: Self = Self { version: 0x2008_0522, thread: 0 };
}

const NET_RAW: u32 = 1 << 13;

/// Makes a permitted `CAP_NET_RAW` effective in this thread; a file capability `+p` leaves that to the program. What
/// is not permitted shows when the sockets are opened.
fn raise_net_raw() {
    let mut header = CapabilityHeader::SELF;
    let mut sets = [Capabilities::default(); 2];
    // SAFETY: both pointers are to live values of the layout of version 3, two words of sets.
    let code = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    let [low, _] = &mut sets;
    if code == 0 && low.permitted & NET_RAW != 0 && low.effective & NET_RAW == 0 {
        low.effective |= NET_RAW;
        drop(set_capabilities(&sets));
    }
}

/// Gives up every capability of the calling thread for good. Threads started later have none either: call it after
/// [`Sockets::open`] and before the runtime starts its threads.
///
/// # Errors
/// The kernel's refusal, which giving up does not meet.
pub fn give_up_capabilities() -> io::Result<()> {
    set_capabilities(&[Capabilities::default(); 2])
}

fn set_capabilities(sets: &[Capabilities; 2]) -> io::Result<()> {
    let header = CapabilityHeader::SELF;
    // SAFETY: both pointers are to live values of the layout of version 3, two words of sets.
    let code = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
