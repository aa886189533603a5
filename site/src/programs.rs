//! The programs of the book, mounted under `/live/NAME/`: the chapter's panel talks to
//! the very code that the chapter explains.

use salvo::prelude::*;
use salvo::writing::Redirect;

#[allow(dead_code)] // what runs the program by itself
#[path = "../../examples/chat/main.rs"]
mod chat;

#[allow(dead_code)] // what runs the program by itself
#[path = "../../examples/tick/main.rs"]
mod tick;

/// The programs that are mounted, by name, and the text that they were compiled from.
pub const MOUNTED: [(&str, &str); 2] = [
    ("chat", include_str!("../../examples/chat/main.rs")),
    ("tick", include_str!("../../examples/tick/main.rs")),
];

pub fn router() -> Router {
    Router::with_path("live")
        .push(mount("chat", chat::router(chat::Room::new())))
        .push(mount("tick", tick::router()))
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
