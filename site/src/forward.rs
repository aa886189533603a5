//! Forwards requests to a process whose address changes whenever it starts again.

use std::io;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Body, Client};
use salvo::http::HeaderMap;
use salvo::http::body::Body as _;
use salvo::prelude::*;
use tokio::sync::watch;
use tokio::time::timeout;

/// Header fields that belong to one connection, and not to the message (RFC 9110, section
/// 7.6.1).
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Sends requests on to the process, and its answers back.
pub struct Forward {
    name: String,
    patience: Duration,
    client: Client,
    url: watch::Receiver<Option<String>>,
}

impl Forward {
    /// Forwards requests below `/live/{name}`. `url` is the address of the process, `None`
    /// while there is none: a request waits for it for as long as `patience`.
    pub fn new(
        name: &str,
        url: watch::Receiver<Option<String>>,
        patience: Duration,
    ) -> io::Result<Self> {
        // A proxy in the environment, and a redirect, are the browser's affair.
        let client = Client::builder().no_proxy().redirect(Policy::none()).build();
        let client = client.map_err(io::Error::other)?;
        Ok(Self { name: name.to_string(), patience, client, url })
    }
}

#[handler]
impl Forward {
    async fn handle(
        &self,
        req: &mut Request,
        res: &mut Response,
    ) -> Result<(), StatusError> {
        let path = req.uri().path_and_query().map(|path| path.as_str().to_string());
        let path = path.unwrap_or_default();
        // The process knows nothing of the path that it is mounted under.
        let path = path.strip_prefix(&format!("/live/{}", self.name));
        let path = path.ok_or_else(StatusError::not_found)?;
        let mut url = self.url.clone();
        let url = timeout(self.patience, url.wait_for(Option::is_some)).await;
        let url = url.ok().and_then(|url| url.ok()?.clone());
        let url = url.ok_or_else(|| not_there(&self.name))?;
        let url = format!("{url}{path}");

        // `Host` goes along: the program compares it with `Origin`.
        let headers = end_to_end(req.headers());
        let mut request =
            self.client.request(req.method().clone(), url).headers(headers);
        let body = req.take_body();
        if !body.is_end_stream() {
            request = request.body(Body::wrap(body));
        }
        let answer = request.send().await.map_err(|_| {
            let why =
                format!("the process of {} ended before it answered", self.name);
            StatusError::bad_gateway().brief(why)
        })?;
        res.status_code(answer.status());
        res.headers_mut().extend(end_to_end(answer.headers()));
        // Where the process is killed, this fails, and the reader's stream is cut, too.
        res.stream(answer.bytes_stream());
        Ok(())
    }
}

/// The answer while the process does not start.
pub fn not_there(name: &str) -> StatusError {
    let why = format!("the process of {name} does not start");
    StatusError::service_unavailable().brief(why)
}

/// The header fields without those of the connection.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    HOP_BY_HOP.iter().for_each(|name| drop(headers.remove(*name)));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields_of_one_connection_stay_behind() {
        let mut headers = HeaderMap::new();
        for name in ["host", "last-event-id", "connection", "transfer-encoding"] {
            headers.insert(name, "x".parse().unwrap());
        }
        let headers = end_to_end(&headers);
        let names: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["host", "last-event-id"]);
    }
}
