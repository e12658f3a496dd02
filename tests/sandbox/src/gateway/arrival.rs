//! When bytes arrived at this machine, as its kernel noted: the gateway is one thread and may read them later, which is
//! no fault of the client's.

use std::io;
use std::mem::{size_of_val, zeroed};
use std::os::fd::AsRawFd;
use std::time::{Duration, UNIX_EPOCH};

use tokio::io::Interest;
use tokio::net::TcpStream;

/// A longer wait is a clock that was set.
const LONGEST: Duration = Duration::from_secs(10);

/// Has the kernel note it from now on. One that does not leaves every wait at zero.
#[expect(unsafe_code, reason = "no safe wrapper here sets this option")]
pub(super) fn note(stream: &TcpStream) {
    let on: libc::c_int = 1;
    let size = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the option is a number that outlives the call.
    unsafe {
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, (&raw const on).cast(), size);
    }
}

/// Reads what there is: how many bytes, and how long the last of them has been waiting. No bytes are the end.
pub(super) fn read(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<(usize, Duration)> {
    stream.try_io(Interest::READABLE, || receive(stream, buffer))
}

#[expect(unsafe_code, reason = "no safe wrapper here reads control messages")]
fn receive(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<(usize, Duration)> {
    let mut control = [0_u64; 16];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: the buffers outlive the call and have the sizes told; control messages are read as the kernel's macros
    // walk them, and a time is copied out of one that says to be a time.
    unsafe {
        let mut message: libc::msghdr = zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control));
        let read = libc::recvmsg(stream.as_raw_fd(), &raw mut message, 0);
        let Ok(read) = usize::try_from(read) else { return Err(io::Error::last_os_error()) };
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(found) = header.as_ref() {
            if (found.cmsg_level, found.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
                let at = libc::CMSG_DATA(header).cast::<libc::timespec>().read_unaligned();
                return Ok((read, waited(at)));
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
        Ok((read, Duration::ZERO))
    }
}

fn waited(at: libc::timespec) -> Duration {
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(at.tv_sec), u32::try_from(at.tv_nsec)) else { return Duration::ZERO };
    let waited = (UNIX_EPOCH + Duration::new(seconds, nanos)).elapsed().unwrap_or_default();
    if waited < LONGEST { waited } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_wait_of_bytes_that_nobody_reads_is_known() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connects");
        let (server, _) = listener.accept().await.expect("accepts");
        note(&server);
        // The kernel begins to stamp a moment after the first socket has asked.
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.try_write(b"op 2").expect("writable");
        tokio::time::sleep(Duration::from_millis(60)).await;
        server.readable().await.expect("open");
        let mut buffer = [0; 16];
        let (size, waited) = read(&server, &mut buffer).expect("bytes wait");
        assert_eq!(&buffer[..size], b"op 2");
        assert!(waited >= Duration::from_millis(50), "{waited:?}");
        let again = read(&server, &mut buffer).expect_err("nothing more");
        assert_eq!(again.kind(), io::ErrorKind::WouldBlock);
    }
}
