//! The needs of a compiler, and its limits.

use std::io::{Read, Write, pipe};
use std::net::UdpSocket;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socketserver_jail::{Descriptors, Jail};

use super::Setup;

type Done = Result<(), i32>;

/// Copies from one pipe to another, as a compiler does from standard input to standard output.
pub fn compile(setup: Setup) -> Done {
    let ((mut component, mut sends), (mut receives, mut code)) = (pipe().unwrap(), pipe().unwrap());
    sends.write_all(b"component").unwrap();
    drop(sends);
    setup.enter();
    let mut read = Vec::new();
    component.read_to_end(&mut read).unwrap();
    let compiled: Vec<u8> = read.iter().rev().copied().collect();
    code.write_all(&compiled).unwrap();
    drop(code);
    let mut answer = String::new();
    receives.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "tnenopmoc");
    Ok(())
}

pub fn send(setup: Setup) -> Done {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(socket.local_addr().unwrap()).unwrap();
    setup.enter();
    socket.send(b"data").map(drop).map_err(|error| error.raw_os_error().unwrap())
}

const GIBIBYTE: usize = 1 << 30;

fn reserve(bytes: usize) -> Result<(), i32> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: the mapping is new.
    let reserved =
        unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::empty(), flags) };
    reserved.map(drop).map_err(rustix::io::Errno::raw_os_error)
}

pub fn memory_has_a_limit(setup: Setup) -> Done {
    let jail = Jail { address_space: Some(2 * GIBIBYTE as u64), ..setup.jail() };
    setup.enter_as(&jail, &Descriptors::All);
    reserve(GIBIBYTE).unwrap();
    assert_eq!(reserve(GIBIBYTE), Err(libc::ENOMEM));
    Ok(())
}

pub fn use_cpu_time(setup: Setup) -> Done {
    let jail = Jail { cpu_seconds: Some(1), ..setup.jail() };
    setup.enter_as(&jail, &Descriptors::All);
    if !setup.jailed {
        return Ok(());
    }
    loop {
        std::hint::spin_loop();
    }
}

/// Ignores `SIGXCPU` and tries to raise the limit.
pub fn insist_on_cpu_time(setup: Setup) -> Done {
    // SAFETY: the call installs no handler.
    unsafe { libc::signal(libc::SIGXCPU, libc::SIG_IGN) };
    let jail = Jail { cpu_seconds: Some(1), ..setup.jail() };
    setup.enter_as(&jail, &Descriptors::All);
    if !setup.jailed {
        return Ok(());
    }
    let more = setrlimit(Resource::Cpu, Rlimit { current: None, maximum: None });
    assert_eq!(more, Err(rustix::io::Errno::PERM));
    // SAFETY: the call installs no handler.
    assert_ne!(unsafe { libc::signal(libc::SIGXCPU, libc::SIG_IGN) }, libc::SIG_ERR);
    loop {
        std::hint::spin_loop();
    }
}

/// The limits that the server was started with are lower, and stay.
pub fn less_cpu_time(setup: Setup) -> Done {
    setrlimit(Resource::Cpu, Rlimit { current: Some(5), maximum: Some(7) }).unwrap();
    let jail = Jail { cpu_seconds: Some(9), ..setup.jail() };
    setup.enter_as(&jail, &Descriptors::All);
    let limit = getrlimit(Resource::Cpu);
    assert_eq!((limit.current, limit.maximum), (Some(7), Some(7)));
    Ok(())
}

/// More seconds than the kernel can count.
pub fn much_cpu_time(setup: Setup) -> Done {
    let jail = Jail { cpu_seconds: Some(u64::MAX), ..setup.jail() };
    setup.enter_as(&jail, &Descriptors::All);
    for _ in 0..100_000_000 {
        std::hint::spin_loop();
    }
    Ok(())
}
