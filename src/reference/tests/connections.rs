//! What those get who connect too often, or say nothing.

use axum::serve::Listener as _;
use futures_util::FutureExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::super::connections::{Bounded, Bounds};
use super::*;

async fn listener(connections: usize, quiet: Duration) -> Bounded {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Bounded::new(listener, Bounds { connections, quiet })
}

#[tokio::test]
async fn beyond_the_limit_a_connection_waits_for_another_to_end() {
    let mut listener = listener(2, Duration::from_secs(60)).await;
    let addr = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(TcpStream::connect(addr).await.unwrap());
    }
    let (first, _) = listener.accept().await;
    let (_second, _) = listener.accept().await;
    let mut third = std::pin::pin!(listener.accept());
    assert!(third.as_mut().now_or_never().is_none());
    drop(first);
    let (_, from) = third.await;
    assert_eq!(from, clients[2].local_addr().unwrap());
}

#[tokio::test]
async fn a_connection_on_which_nothing_moves_is_closed() {
    let mut listener = listener(1, Duration::from_millis(50)).await;
    let addr = listener.local_addr().unwrap();
    let _silent = TcpStream::connect(addr).await.unwrap();
    let (mut connection, _) = listener.accept().await;
    let ended = connection.read_u8().await.unwrap_err();
    assert_eq!(ended.kind(), std::io::ErrorKind::TimedOut);
}
