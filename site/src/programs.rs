//! The programs of the book, mounted under `/live/NAME/`: the chapter's panel talks to
//! the very code that the chapter explains.

use std::io;

use salvo::prelude::*;
use salvo::writing::Redirect;
use tokio_util::sync::CancellationToken;

#[allow(dead_code)] // what runs the program by itself
#[path = "../../examples/chat/main.rs"]
mod chat;

#[allow(dead_code)] // what runs the program by itself
#[path = "../../examples/faults/main.rs"]
mod faults;

#[allow(dead_code)] // what runs the program by itself
#[path = "../../examples/llm/main.rs"]
mod llm;

#[allow(dead_code)] // what runs the program by itself
#[path = "../../examples/tick/main.rs"]
mod tick;

/// The programs that are mounted, by name, and the text that they were compiled from.
pub const MOUNTED: [(&str, &str); 5] = [
    ("chat", include_str!("../../examples/chat/main.rs")),
    ("faults", include_str!("../../examples/faults/main.rs")),
    ("llm", include_str!("../../examples/llm/main.rs")),
    ("tick", include_str!("../../examples/tick/main.rs")),
    ("wire", include_str!("../../examples/wire/main.rs")),
];

pub async fn router() -> io::Result<Router> {
    let stop = CancellationToken::new();
    let model = llm::Upstream::stand_in(stop.clone()).await?;
    Ok(Router::with_path("live")
        .push(mount("chat", chat::router(chat::Room::new())))
        .push(mount("faults", faults::router()))
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
