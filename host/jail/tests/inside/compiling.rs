//! What compiling needs, and what a compiler may have at the most.

use std::io::{Read, Write, pipe};
use std::net::UdpSocket;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use socketserver_jail::{Descriptors, Jail};

use super::Place;

type Done = Result<(), i32>;

/// From one pipe to another, as standard input and output are.
pub fn compile(place: Place) -> Done {
    let ((mut component, mut sends), (mut receives, mut code)) = (pipe().unwrap(), pipe().unwrap());
    sends.write_all(b"component").unwrap();
    drop(sends);
    place.enter();
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

pub fn send(place: Place) -> Done {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(socket.local_addr().unwrap()).unwrap();
    place.enter();
    socket.send(b"data").map(drop).map_err(|error| error.raw_os_error().unwrap())
}

const GIBIBYTE: usize = 1 << 30;

fn reserve(bytes: usize) -> Result<(), i32> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: it is new memory.
    let reserved =
        unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::empty(), flags) };
    reserved.map(drop).map_err(rustix::io::Errno::raw_os_error)
}

pub fn memory_has_a_limit(place: Place) -> Done {
    let jail = Jail { address_space: Some(2 * GIBIBYTE as u64), ..place.jail() };
    place.enter_as(&jail, &Descriptors::All);
    reserve(GIBIBYTE).unwrap();
    assert_eq!(reserve(GIBIBYTE), Err(libc::ENOMEM));
    Ok(())
}

pub fn use_cpu_time(place: Place) -> Done {
    let jail = Jail { cpu_seconds: Some(1), ..place.jail() };
    place.enter_as(&jail, &Descriptors::All);
    if !place.jailed {
        return Ok(());
    }
    loop {
        std::hint::spin_loop();
    }
}
