//! What this process may ask of the kernel from now on, whatever gets hold of it through a source: a seccomp filter for all of
//! its threads.

use std::io;

use libc::{
    AF_NETLINK, AF_UNIX, BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, EAFNOSUPPORT, EPERM,
    PR_SET_NO_NEW_PRIVS, SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_SET_MODE_FILTER,
    SYS_bpf, SYS_io_uring_setup, SYS_kcmp, SYS_perf_event_open, SYS_pidfd_getfd, SYS_process_vm_readv,
    SYS_process_vm_writev, SYS_ptrace, SYS_seccomp, SYS_socket, SYS_userfaultfd, sock_filter, sock_fprog,
};

/// The kernel's name of this architecture (`linux/audit.h`), by which the numbers below are meant.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Calls of x86-64's x32 have this bit; the numbers below it are others.
const OTHER_NUMBERS: u32 = 0x4000_0000;

/// Where a filter finds what it looks at (`struct seccomp_data`): the call's number, the architecture, the first argument's low half.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// Looks into other processes, which may have our user and other secrets; and ways around this filter.
const NEVER: [i64; 9] = [
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_pidfd_getfd,
    SYS_kcmp,
    SYS_io_uring_setup,
    SYS_userfaultfd,
    SYS_perf_event_open,
    SYS_bpf,
];

/// From now on no thread of this process looks into another process; without `network` none has sockets but local ones.
pub(crate) fn confine(network: bool) -> io::Result<()> {
    let filter = filter(network);
    let length = u16::try_from(filter.len()).map_err(io::Error::other)?;
    let program = sock_fprog {
        len: length,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: both calls take plain numbers, but for the program, which outlives the call, has the length that it says, and is
    // only read by the kernel.
    unsafe {
        if libc::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        let program: *const sock_fprog = &raw const program;
        match libc::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, program) {
            0 => Ok(()),
            -1 => Err(io::Error::last_os_error()),
            thread => Err(io::Error::other(format!("thread {thread} has a filter of its own"))),
        }
    }
}

fn filter(network: bool) -> Vec<sock_filter> {
    let allow = ret(SECCOMP_RET_ALLOW);
    let refuse = |errno: i32| ret(SECCOMP_RET_ERRNO | errno.unsigned_abs());
    // Each condition steps over the one answer that follows it, where it does not hold.
    let mut filter = vec![load(ARCH), if_equal(ARCHITECTURE, 1, 0), refuse(EPERM), load(NUMBER)];
    filter.extend([if_at_least(OTHER_NUMBERS, 0, 1), refuse(EPERM)]);
    for number in NEVER.into_iter().filter_map(|number| u32::try_from(number).ok()) {
        filter.extend([if_equal(number, 0, 1), refuse(EPERM)]);
    }
    if !network {
        let socket = u32::try_from(SYS_socket).unwrap_or(u32::MAX);
        filter.extend([if_equal(socket, 1, 0), allow, load(FIRST_ARGUMENT)]);
        for family in [AF_UNIX, AF_NETLINK] {
            filter.extend([if_equal(family.unsigned_abs(), 0, 1), allow]);
        }
        filter.push(refuse(EAFNOSUPPORT));
    }
    filter.push(allow);
    filter
}

fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0)
}

fn ret(answer: u32) -> sock_filter {
    statement(BPF_RET | BPF_K, answer, 0, 0)
}

fn if_equal(value: u32, then: u8, otherwise: u8) -> sock_filter {
    statement(BPF_JMP | BPF_JEQ | BPF_K, value, then, otherwise)
}

fn if_at_least(value: u32, then: u8, otherwise: u8) -> sock_filter {
    statement(BPF_JMP | BPF_JGE | BPF_K, value, then, otherwise)
}

fn statement(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    let code = u16::try_from(code).unwrap_or(0);
    sock_filter { code, jt, jf, k }
}
