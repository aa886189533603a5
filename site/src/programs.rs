//! The programs of the book, mounted under `/live/NAME/`: the chapter's panel talks to the
//! very code that the chapter explains.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use salvo::prelude::*;
use salvo::writing::Redirect;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::supervise;

/// The folder into which `tests/boxes/install` unpacks proxies.
const UNPACKED: &str = "target/boxes";

/// Compiles each program into the book, and mounts it under its name. A program takes one
/// line here, and its dependencies in `site/Cargo.toml`.
macro_rules! programs {
    ($root:ident: $($name:ident: $file:literal => $router:expr;)*) => {
        $(
            // The book leaves out what a program needs to run by itself.
            #[allow(dead_code)]
            #[path = $file]
            mod $name;
        )*

        /// The names of the programs that are mounted.
        pub const MOUNTED: &[&str] = &[$(stringify!($name)),*];

        /// The routes of all programs, below `/live/`.
        pub async fn router($root: &Path) -> io::Result<Router> {
            Ok(Router::with_path("live")$(.push(mount(stringify!($name), $router)))*)
        }
    };
}

programs! {
    root:
    boxes: "../../examples/boxes/main.rs" => boxes::router(Arc::new(Semaphore::new(boxes::MAX_STREAMS)), Some(root.join(UNPACKED)), CancellationToken::new());
    chat: "../../examples/chat/main.rs" => chat::router(chat::Room::new(chat::MAX_USERS));
    faults: "../../examples/faults/main.rs" => faults::router(faults::MAX_OPEN);
    feed: "../../examples/feed/main.rs" => supervise::router("feed", feed::edge::refuse_foreign)?;
    llm: "../../examples/llm/main.rs" => answers().await?;
    page: "../../examples/page/main.rs" => page::router(page::Lines::new(page::MAX_STREAMS));
    progress: "../../examples/progress/main.rs" => progress::router(progress::MAX_READERS, CancellationToken::new());
    tick: "../../examples/tick/main.rs" => tick::router();
    wire: "../../examples/wire/main.rs" => wire::router(wire::MAX_OPEN);
}

/// `llm` with the stand-in for a model in the place of a model server.
async fn answers() -> io::Result<Router> {
    let stop = CancellationToken::new();
    let model = llm::Upstream::stand_in(stop.clone()).await?;
    Ok(llm::router(model, llm::MAX_READERS, stop))
}

/// Runs `feed` in this process, until the process of the book ends.
#[tokio::main]
pub async fn run_feed(folder: PathBuf) -> Result<()> {
    supervise::end_with_the_book(folder);
    feed::run().await.map_err(anyhow::Error::msg)
}

/// Mounts a program under its name. Its page has relative URLs, so the address needs
/// the slash at its end.
fn mount(name: &str, program: Router) -> Router {
    Router::with_path(name).hoop(slash).push(program)
}

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

/// Whether this path, below `live/`, belongs to a program that is mounted there.
pub fn is_mounted(path: &str) -> bool {
    path.split('/').next().is_some_and(|name| MOUNTED.contains(&name))
}
