//! An agent that only talks, to look at the console with: `fake-agent 127.0.0.1:7600 5000`; the token is `fake-token`.

#[path = "../tests/fake/mod.rs"]
mod fake;

use pilothouse_shared::wire::Role;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7600".into());
    let total = arguments.next().map_or(64, |total| total.parse().expect("a number of shards"));
    let (address, serving) = fake::serve(address.parse().expect("an address"), total, Role::Admin).await;
    println!("{total} made-up shards at {address}, token {}", fake::TOKEN);
    serving.await.expect("it serves until it is stopped");
}
