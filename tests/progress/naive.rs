//! Work inside of the request that asks for it.

use std::convert::Infallible;
use std::sync::Mutex;

use salvo::prelude::*;
use tests::{serve, within};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

/// A handler whose work never ends, and owns something.
struct Work {
    started: &'static Notify,
    owned: Mutex<Option<oneshot::Sender<Infallible>>>,
}

#[handler]
impl Work {
    async fn handle(&self, req: &mut Request) {
        req.payload().await.unwrap();
        let _owned = self.owned.lock().unwrap().take();
        self.started.notify_one();
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn work_inside_a_request_stops_when_its_client_leaves() {
    static STARTED: Notify = Notify::const_new();
    let (owned, dropped) = oneshot::channel();
    let work = Work { started: &STARTED, owned: Mutex::new(Some(owned)) };
    let url = serve(Router::new().post(work)).await;
    let mut client = TcpStream::connect(&url[7..]).await.unwrap();
    let post = b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n10";
    client.write_all(post).await.unwrap();
    within("the work", STARTED.notified()).await;
    drop(client);
    assert!(within("the end of the work", dropped).await.is_err(), "it was dropped");
}
