//! A disk that is full, on a small file system of its own.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;

use super::*;

/// A file system in memory of `mib` MiB, gone when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    #[expect(unsafe_code, reason = "the standard library does not mount")]
    fn mount(mib: u32) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = CString::new(folder.path().as_os_str().as_bytes())?;
        let options = CString::new(format!("size={mib}m"))?;
        // SAFETY: all are texts that end in a zero byte and outlive the call.
        let failed = unsafe {
            libc::mount(c"tmpfs".as_ptr(), path.as_ptr(), c"tmpfs".as_ptr(), 0, options.as_ptr().cast()) != 0
        };
        if failed { Err(io::Error::last_os_error()) } else { Ok(Self(folder)) }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes until nothing fits, and tells the file.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("ballast");
        let mut file = fs::File::create(&path).unwrap();
        while io::Write::write(&mut file, &[7; 4_096]).is_ok_and(|count| count > 0) {}
        path
    }
}

impl Drop for SmallDisk {
    #[expect(unsafe_code, reason = "the standard library does not unmount")]
    fn drop(&mut self) {
        let path = CString::new(self.path().as_os_str().as_bytes()).unwrap();
        // SAFETY: the path ends in a zero byte and outlives the call.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
    }
}

/// None where this process may not mount, which is told.
fn small_disk(mib: u32) -> Option<SmallDisk> {
    let mounted = SmallDisk::mount(mib);
    if let Err(err) = &mounted {
        println!("SKIPPED: a full disk: cannot mount a small file system: {err}");
    }
    mounted.ok()
}

#[test]
fn below_the_reserve_nothing_is_written() {
    let Some(disk) = small_disk(160) else { return };
    let spool = open_with(disk.path(), SpoolLimits { reserve_bytes: 40 << 20, ..limits() });
    append(&spool, vec![message(0, 0)]);
    let ballast = disk.fill();
    let refused = wait(spool.append(sink(), vec![message(0, 1)])).unwrap_err();
    assert!(matches!(refused, SpoolTrouble::DiskFull { .. }), "{refused}");
    let told = spool.status(sink()).trouble.unwrap();
    assert!(told.starts_with("disk full: 0 MiB free in ") && told.ends_with(", 40 MiB wanted"), "{told}");
    assert_eq!(seqs(&spool, 0), [0]);

    fs::remove_file(ballast).unwrap();
    until(&spool, "noticed by itself", |status| status.trouble.is_none());
    assert_eq!(append(&spool, vec![message(0, 1)]), [Placed::At(1)]);
    assert_eq!(seqs(&spool, 0), [0, 1]);
}

/// Without a reserve the writes themselves fail, and the database with them.
#[test]
fn failing_writes_lose_nothing() {
    let Some(disk) = small_disk(96) else { return };
    let spool = open(disk.path());
    let mut confirmed = 0;
    let mut failures = 0;
    let mut ballast = None;
    for round in 0.. {
        let records = (confirmed..confirmed + 16).map(|seq| record(0, seq, "MESSAGE_CREATE", 4_000));
        match wait(spool.append(sink(), records.collect())) {
            Ok(placed) => confirmed += placed.len() as u64,
            Err(trouble) => {
                assert!(matches!(trouble, SpoolTrouble::Disk { .. }), "{trouble}");
                failures += 1;
                std::thread::sleep(Duration::from_millis(100));
                if failures == 15 {
                    assert!(spool.status(sink()).trouble.is_some());
                    fs::remove_file(ballast.take().unwrap()).unwrap();
                }
            }
        }
        if round == 50 {
            ballast = Some(disk.fill());
        }
        if failures >= 15 && confirmed >= 2_000 {
            break;
        }
        assert!(round < 3_000, "{confirmed} confirmed, {failures} failed: {:?}", spool.status(sink()));
    }
    assert!(seqs(&spool, 0).into_iter().eq(0..confirmed));
    drop(spool);
    let spool = open(disk.path());
    assert!(spool.set_aside().is_none());
    assert!(seqs(&spool, 0).into_iter().eq(0..confirmed));
}
