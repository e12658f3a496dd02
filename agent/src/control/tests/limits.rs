//! What is too slow, too much or too large costs whoever sends it, and nobody else.

use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::*;

/// Connects from an address of the machine's own, such as 127.0.0.2.
async fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("loopback has many addresses");
    socket.connect(to).await.expect("it listens")
}

/// Whether the other side has closed it.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let read = timeout(Duration::from_millis(20), stream.read(&mut [0; 64])).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

impl Rig {
    async fn is_well(&self, from: [u8; 4]) {
        let stream = connect_from(from, self.address).await;
        let head = format!("GET /v1/status HTTP/1.1\r\nAuthorization: Bearer {TOKEN}");
        let answer = timeout(Duration::from_secs(5), self.ask_through(stream, &head, "")).await;
        assert_eq!(answer.expect("answered, though others are slow").0, 200);
    }
}

#[tokio::test]
async fn slow_requests_of_one_address_do_not_keep_others_out() {
    let rig = Rig::new(1).await;
    let mut slow = Vec::new();
    for _ in 0..300 {
        let mut stream = connect_from([127, 0, 0, 1], rig.address).await;
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localh").await;
        slow.push(stream);
    }
    rig.is_well([127, 0, 0, 2]).await;
    let mut open = 0;
    for stream in &mut slow {
        open += usize::from(!is_closed(stream).await);
    }
    assert!((1..=128).contains(&open), "{open} of 300 have a place");
    drop(slow);
    tokio::time::sleep(Duration::from_millis(200)).await;
    rig.is_well([127, 0, 0, 1]).await;
}

/// As many as have all places together.
#[tokio::test]
async fn slow_requests_of_many_addresses_do_not_keep_others_out() {
    let rig = Rig::new(1).await;
    let mut console = rig.console().await;
    let mut slow = Vec::new();
    for n in 0..600_u16 {
        let mut stream = connect_from([127, 0, 0, 2 + (n / 100) as u8], rig.address).await;
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localh").await;
        slow.push(stream);
    }
    rig.is_well([127, 0, 0, 1]).await;
    rig.is_well([127, 0, 0, 2]).await;
    console.send(&ToAgent::command(7, "explain 0")).await;
    assert!(matches!(console.next().await, FromAgent::Result { id: 7, ok: true, .. }), "a console stays");
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_others_go_on() {
    let rig = Rig::new(4).await;
    let mut console = rig.console().await;
    let long = format!("GET /v1/status HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\nX: {}", "x".repeat(20_000));
    let (status, body) = rig.ask(&long, "").await;
    assert!(status == 431 && body.contains("16384"), "{status} {body}");
    assert_eq!(rig.command(&format!("{{\"line\":\"{}\"}}", "x".repeat(70_000))).await.0, 413);
    let deep = format!("send 3 {{\"op\":4,\"d\":{}{}}}", "[".repeat(1_500), "]".repeat(1_500));
    let (status, answer) = rig.command(&serde_json::json!({ "line": deep }).to_string()).await;
    let text = answer["text"].as_str().expect("a text");
    assert!(status == 400 && text.contains("recursion limit"), "{status} {text}");
    let ignored = format!("{{\"line\":\"status\",\"x\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000));
    assert_eq!(rig.command(&ignored).await.0, 200);

    let mut greedy = rig.console().await;
    let large = ToAgent::command(1, "x".repeat(64 * 1024));
    greedy.send(&large).await;
    let ended = timeout(Duration::from_secs(5), async { while let Some(Ok(_)) = greedy.0.next().await {} });
    ended.await.expect("it is let go");
    console.send(&ToAgent::command(7, "explain 3")).await;
    assert!(matches!(console.next().await, FromAgent::Result { id: 7, ok: true, .. }));
}

#[tokio::test]
async fn a_head_without_an_end_is_cut_off() {
    let rig = Rig::new(1).await;
    let mut stream = TcpStream::connect(rig.address).await.expect("it listens");
    let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n").await;
    let mut sent = 0;
    while sent < 64 << 20 && stream.write_all(&[b'x'; 8 << 10]).await.is_ok() {
        sent += 8 << 10;
    }
    // What fits into the sockets' buffers on both sides comes on top.
    assert!(sent < 32 << 20, "{sent} bytes of a head were taken");
    rig.is_well([127, 0, 0, 1]).await;
}
