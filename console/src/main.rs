//! The program: allocator, crypto provider, panic hook; everything else is the library's.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The first call wins, and there is none before this one.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    pilothouse_console::panic::install();
    pilothouse_console::cli::run()
}
