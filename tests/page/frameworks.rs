//! The module in React, Vue and Svelte, and fragments of HTML by SSE.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, future, stream};
use salvo::prelude::*;
use salvo::serve_static::StaticDir;
use tests::{Browser, pause, root, serve, until, within};
use tokio::process::Command;
use tokio::sync::OnceCell;

/// Where `datastar.html` finds Datastar. The tests serve the same file themselves.
const CDN: &str =
    "https://cdn.jsdelivr.net/gh/starfederation/datastar@1.0.2/bundles/";

/// Builds the pages with the packages that `tests/sdk/install` installed, once for all
/// tests, and returns their folder.
async fn built() -> &'static Path {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    BUILT.get_or_init(build).await
}

async fn build() -> PathBuf {
    let page = root().join("examples/page");
    let copy = root().join("target/sdk/page");
    fs::copy(page.join("stream.js"), copy.join("stream.js")).unwrap();
    copy_files(&page.join("frameworks"), &copy.join("frameworks"));
    let mut npm = Command::new("npm");
    npm.args(["run", "--silent", "build"]).current_dir(copy.join("frameworks"));
    npm.stdout(Stdio::null()).kill_on_drop(true);
    let built = within("npm run build", npm.status()).await.unwrap();
    assert!(built.success(), "tests/sdk/install was run");
    let dist = copy.join("frameworks/dist");
    fs::copy(root().join("target/sdk/datastar.js"), dist.join("datastar.js"))
        .unwrap();
    let datastar = fs::read_to_string(dist.join("datastar.html")).unwrap();
    assert!(datastar.contains(CDN));
    fs::write(dist.join("datastar.html"), datastar.replace(CDN, "")).unwrap();
    dist
}

/// Copies a folder without what npm has put there.
fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        if entry.path().is_dir() {
            if name != "node_modules" && name != "dist" {
                copy_files(&entry.path(), &to.join(name));
            }
        } else {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

/// An answer to a request for events.
#[derive(Clone, Copy)]
enum Answer {
    Status(u16),
    /// As many numbers, after the one that the request has as its last.
    Numbers(u32, Then),
    /// These bytes.
    Bytes(&'static str, Then),
}
use Answer::{Bytes, Numbers, Status};

/// What follows the bytes of a stream.
#[derive(Clone, Copy)]
enum Then {
    Stay,
    End,
    Cut,
}
use Then::{Cut, End, Stay};

/// A server of the pages that answers their requests for events as a test says. The last
/// answer is given again and again.
struct Origin {
    url: String,
    events: Arc<Events>,
}

struct Events {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<Asked>>,
    open: AtomicUsize,
}

#[derive(Clone, Debug)]
struct Asked {
    at: Instant,
    last: String,
}

impl Origin {
    async fn start(answers: &[Answer]) -> Self {
        let events = Arc::new(Events {
            answers: Mutex::new(answers.iter().copied().collect()),
            asked: Mutex::default(),
            open: AtomicUsize::new(0),
        });
        let goal = Goal(Arc::clone(&events));
        let pages = StaticDir::new([built().await.to_str().unwrap()]);
        let router = Router::new()
            .push(Router::with_path("frameworks/{*path}").get(pages))
            .push(Router::with_path("{*path}").get(goal));
        Self { url: serve(router).await, events }
    }

    fn page(&self, name: &str) -> String {
        format!("{}/frameworks/{name}.html", self.url)
    }

    fn asked(&self) -> Vec<Asked> {
        self.events.asked.lock().unwrap().clone()
    }

    fn open(&self) -> usize {
        self.events.open.load(Ordering::SeqCst)
    }

    async fn has_open(&self, count: usize) {
        let what = format!("{count} connections are open");
        until(&what, async || self.open() == count).await;
    }

    async fn was_asked(&self, times: usize) {
        let what = format!("{times} requests");
        until(&what, async || self.asked().len() >= times).await;
    }
}

#[derive(Clone)]
struct Goal(Arc<Events>);

#[handler]
impl Goal {
    async fn handle(&self, req: &Request, res: &mut Response) {
        let last = req.header::<String>("last-event-id");
        let last = last.or_else(|| req.query("after")).unwrap_or_default();
        let asked = Asked { at: Instant::now(), last: last.clone() };
        self.0.asked.lock().unwrap().push(asked);
        let answer = {
            let mut answers = self.0.answers.lock().unwrap();
            let answer = *answers.front().expect("an answer");
            if answers.len() > 1 {
                answers.pop_front();
            }
            answer
        };
        let (bytes, then) = match answer {
            Status(status) => {
                let status = StatusCode::from_u16(status).unwrap();
                res.status_code(status);
                if status != StatusCode::NO_CONTENT {
                    res.render(Text::Html("<h1>Bad Gateway</h1>"));
                }
                return;
            }
            Numbers(count, then) => {
                let last: u32 = last.parse().unwrap_or(0);
                let path = req.uri().path();
                let numbers = last + 1..=last + count;
                (numbers.map(|number| event(path, number)).collect(), then)
            }
            Bytes(bytes, then) => (bytes.to_string(), then),
        };
        self.0.open.fetch_add(1, Ordering::SeqCst);
        let open = Open(Arc::clone(&self.0));
        let bytes = stream::iter([Ok::<_, io::Error>(bytes)]);
        let rest = stream::once(async move {
            let open = open;
            match then {
                Stay => future::pending().await,
                End => drop(open),
                Cut => return Err(io::Error::other("cut")),
            }
            Ok(String::new())
        });
        res.add_header("content-type", "text/event-stream", true).unwrap();
        res.stream(bytes.chain(rest));
    }
}

/// A number as an event, in the form in which the page at this path wants it.
fn event(path: &str, number: u32) -> String {
    match path {
        "/fragments/htmx" => format!("data: <li>{number}</li>\nid: {number}\n\n"),
        "/fragments/datastar" => format!(
            "event: datastar-patch-elements\ndata: selector #numbers\n\
             data: mode append\ndata: elements <li>{number}</li>\nid: {number}\n\n"
        ),
        _ => format!("event: number\ndata: {number}\nid: {number}\n\n"),
    }
}

/// Counts a connection for as long as it is open.
struct Open(Arc<Events>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The numbers that a page shows, as JavaScript.
const NUMBERS: &str = "[...document.querySelectorAll('#numbers li')].map((li) => li.textContent).join()";

/// Keeps what a page or a library reports as an error.
const ERRORS: &str = "
    window.errors = [];
    const { error, warn } = console;
    console.error = (...words) => { errors.push(words.join(' ')); error(...words); };
    console.warn = (...words) => { errors.push(words.join(' ')); warn(...words); };
    addEventListener('error', ({ message }) => errors.push(message));
    addEventListener('unhandledrejection', ({ reason }) => errors.push(`${reason}`));
";

async fn browser() -> Browser {
    let browser = Browser::start().await;
    browser.run_first(ERRORS).await;
    browser
}

async fn numbers(browser: &Browser) -> String {
    browser.eval(NUMBERS).await.as_str().unwrap().to_string()
}

async fn errors(browser: &Browser) -> String {
    browser.eval("errors.join('\\n')").await.as_str().unwrap().to_string()
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn probe() {
    let browser = browser().await;
    for (name, answers) in [
        ("502 first", &[Status(502), Numbers(3, Stay)][..]),
        ("404 first", &[Status(404), Numbers(3, Stay)]),
        ("204 first", &[Status(204), Numbers(3, Stay)]),
        ("cut", &[Numbers(3, Cut), Numbers(3, Stay)]),
        ("end", &[Numbers(3, End), Numbers(3, Stay)]),
        ("cut, 502", &[Numbers(3, Cut), Status(502), Status(502), Numbers(3, Stay)]),
        ("cut, 404", &[Numbers(3, Cut), Status(404)]),
        ("cut, 204", &[Numbers(3, Cut), Status(204)]),
        ("html", &[Numbers(3, Cut), Status(200)]),
        (
            "script",
            &[Bytes(
                "data: <script>window.ran = 1</script>\nid: 1\n\nevent: datastar-patch-elements\ndata: selector #numbers\ndata: mode append\ndata: elements <script>window.ran=1</script>\nid: 2\n\n",
                Stay,
            )],
        ),
        (
            "cut behind id",
            &[Bytes("id: 1\ndata: <li>1</li>\n", Cut), Numbers(3, Stay)],
        ),
    ] {
        for page in ["react", "vue", "svelte", "htmx", "datastar"] {
            let origin = Origin::start(answers).await;
            browser.open(&origin.page(page)).await;
            origin.was_asked(1).await;
            pause(Duration::from_secs(6)).await;
            let asked = origin.asked();
            let asked: Vec<_> = asked
                .iter()
                .map(|it| (it.at - asked[0].at, it.last.clone()))
                .collect();
            let ran = browser.eval("window.ran").await;
            let state =
                browser.eval("document.querySelector('#state')?.textContent").await;
            println!(
                "{name} {page}: open {} {:?} {} {ran} {state}\n   {asked:?}",
                origin.open(),
                numbers(&browser).await,
                errors(&browser).await
            );
            println!(
                "{}",
                browser
                    .eval(
                        "document.querySelector('#numbers').outerHTML.slice(0, 300)"
                    )
                    .await
            );
        }
    }
}
