//! The programs of the book, mounted under `/live/NAME/`: the chapter's panel talks to
//! the very code that the chapter explains. `feed` runs as a process of its own: see `child`.

use std::io;

use salvo::prelude::*;
use salvo::writing::Redirect;
use tokio_util::sync::CancellationToken;

use crate::child;

#[allow(dead_code)] // what runs the program by itself
#[path = "../../examples/chat/main.rs"]
mod chat;

#[allow(dead_code)] // what runs the program by itself
#[path = "../../examples/faults/main.rs"]
mod faults;

#[allow(dead_code)] // what runs the program by itself
#[path = "../../examples/feed/main.rs"]
pub mod feed;

#[allow(dead_code)] // what runs the program by itself
#[path = "../../examples/llm/main.rs"]
mod llm;

#[allow(dead_code)] // what runs the program by itself
#[path = "../../examples/tick/main.rs"]
mod tick;

/// A program's name, and the files that it was compiled from.
pub type Compiled = (&'static str, &'static [(&'static str, &'static str)]);

macro_rules! compiled {
    ($name:literal: $($file:literal)*) => {
        ($name, &[$(($file, include_str!(concat!("../../examples/", $name, "/", $file)))),*])
    };
}

/// The programs that are mounted.
pub const MOUNTED: [Compiled; 6] = [
    compiled!("chat": "main.rs" "index.html"),
    compiled!("faults": "main.rs" "index.html"),
    compiled!("feed": "main.rs" "http.rs" "reader.rs" "log.rs" "store.rs" "disk.rs" "log_file.rs" "redis_streams.rs" "redis_connections.rs" "index.html"),
    compiled!("llm": "main.rs" "answer.rs" "upstream.rs" "parser.rs" "model.rs" "index.html" "model.html"),
    compiled!("tick": "main.rs" "index.html"),
    compiled!("wire": "main.rs" "index.html"),
];

pub async fn router() -> io::Result<Router> {
    let stop = CancellationToken::new();
    let model = llm::Upstream::stand_in(stop.clone()).await?;
    Ok(Router::with_path("live")
        .push(mount("chat", chat::router(chat::Room::new())))
        .push(mount("faults", faults::router()))
        .push(mount("feed", child::router("feed")?))
        .push(mount("llm", llm::router(model, stop)))
        .push(mount("tick", tick::router()))
        .push(mount("wire", wire::router())))
}

/// Mounts a program under its name. Its page has relative URLs, so the address needs
/// the slash at its end.
fn mount(name: &str, program: Router) -> Router {
    Router::with_path(name).hoop(slash).push(program)
}

#[allow(dead_code)] // what runs the program by itself
#[path = "../../examples/wire/main.rs"]
mod wire;

#[handler]
async fn slash(req: &Request, res: &mut Response, ctrl: &mut FlowCtrl) {
    let path = req.uri().path();
    if let Some(name) = path.strip_prefix("/live/")
        && !name.contains('/')
    {
        res.render(Redirect::permanent(format!("/live/{name}/")));
        ctrl.skip_rest();
    }
}
