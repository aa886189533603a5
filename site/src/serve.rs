//! `cargo book`: serves the book with its programs, builds it again when a source
//! changes, and tells open pages through Server-Sent Events.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, fs};

use anyhow::{Context, Result, anyhow};
use notify_debouncer_full::notify::RecursiveMode;
use notify_debouncer_full::{DebounceEventResult, new_debouncer};
use salvo::catcher::Catcher;
use salvo::conn::tcp::TcpAcceptor;
use salvo::http::HeaderValue;
use salvo::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use salvo::prelude::*;
use salvo::serve_static::StaticDir;
use salvo::sse::{SseEvent, SseKeepAlive};
use salvo_compression::{Compression, CompressionLevel};
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;

use crate::book::Book;
use crate::compiled::Compiled;
use crate::postprocess::Live;
use crate::{build, check, programs, workshop};

/// The folder of the served pages, with a folder for each port: two servers of one book
/// must not write over each other's pages.
const DEST: &str = "target/book-served";
/// An editor that saves a file writes several times within this time.
const SETTLE: Duration = Duration::from_millis(150);
/// The sources of the pages.
const SOURCES: [&str; 4] = ["src", "theme", "examples", "book.toml"];

#[tokio::main]
pub async fn run(root: &Path) -> Result<()> {
    let addr = env::var("BOOK_ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let listener = tokio::net::TcpListener::bind(&addr).await.map_err(|error| {
        anyhow!("cannot listen on {addr}: {error}; try BOOK_ADDR=127.0.0.1:0")
    })?;
    let addr = listener.local_addr()?;

    let dest = root.join(DEST).join(addr.port().to_string());
    let (builds, _) = watch::channel(String::new());
    let (states, _) = watch::channel("{}".into());
    let site = Site { root: root.to_path_buf(), addr, dest, builds, states };
    site.build()?;
    let _watching = site.clone().watch()?;
    let _working = workshop::open(root, site.states.clone())?;
    let acceptor = TcpAcceptor::try_from(listener)?;
    println!("listening on http://{addr}");
    let not_found = NotFound(site.dest.join("404.html"));
    let service = Service::new(site.router().await?);
    let service = service.catcher(Catcher::default().hoop(not_found));
    Ok(Server::new(acceptor).try_serve(service).await?)
}

#[derive(Clone)]
struct Site {
    root: PathBuf,
    addr: SocketAddr,
    dest: PathBuf,
    /// Names the build that is served now.
    builds: watch::Sender<String>,
    states: workshop::States,
}

impl Site {
    async fn router(&self) -> Result<Router> {
        let pages = || StaticDir::new(self.dest.clone()).defaults("index.html");
        // As small as a static host's, not as fast as can be.
        let compression = Compression::new()
            .enable_gzip(CompressionLevel::Precise(6))
            .min_length(512);
        Ok(Router::new()
            .push(programs::router(&self.root).await?)
            .push(Router::with_path("live/reload").get(News(self.clone())))
            .push(
                Router::with_path("live/exercises")
                    .get(Exercises(self.states.clone())),
            )
            .push(Router::with_path("live/reload.js").get(reload_script))
            .push(
                Router::with_path("{**path}")
                    .hoop(cache)
                    .hoop(compression)
                    .get(pages())
                    .head(pages()),
            ))
    }

    /// Builds the pages; where that fails, the last good ones stay.
    fn build(&self) -> Result<()> {
        let book = Book::load(&self.root)?;
        let id =
            SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis().to_string();
        let origin = format!("http://{}/", self.addr);
        let live = Live { origin, build: id.clone() };
        println!("{}", build::build(&book, &self.dest, Some(&live))?);
        for problem in check::sources(&book)? {
            eprintln!("{problem}");
        }
        self.builds.send_replace(id);
        Ok(())
    }

    /// Builds again when a source changes, for as long as the returned guard lives.
    fn watch(self) -> Result<impl Sized> {
        let sources: Vec<_> =
            SOURCES.iter().map(|name| self.root.join(name)).collect();
        let compiled = Compiled::read(&self.root, programs::MOUNTED)?;
        let changed = move |events: DebounceEventResult| match events {
            Err(errors) => eprintln!("error: cannot watch the sources: {errors:?}"),
            // A build reads its sources, which is an event, too.
            Ok(events) if events.iter().all(|event| event.kind.is_access()) => {}
            Ok(events) => {
                if let Err(error) = self.build() {
                    eprintln!("error: {error:#}");
                }
                let paths = events
                    .iter()
                    .filter(|event| !event.kind.is_access())
                    .flat_map(|event| &event.paths);
                for name in compiled.changed(paths.map(PathBuf::as_path)) {
                    println!(
                        "{name} changed: start `cargo book` again to run it live"
                    );
                }
            }
        };
        let mut debouncer = new_debouncer(SETTLE, None, changed)?;
        for source in &sources {
            debouncer
                .watch(source, RecursiveMode::Recursive)
                .with_context(|| format!("cannot watch {}", source.display()))?;
        }
        Ok(debouncer)
    }
}

/// The stream behind the reload: `build` names the build that is served now, and
/// `exercises` says how the reader's exercises stand.
struct News(Site);

#[handler]
impl News {
    async fn handle(&self, res: &mut Response) {
        let event = |name: &'static str| {
            move |text: String| {
                Ok::<_, Infallible>(SseEvent::default().name(name).text(text))
            }
        };
        let builds = WatchStream::new(self.0.builds.subscribe()).map(event("build"));
        let states = WatchStream::new(self.0.states.subscribe());
        let events = builds.merge(states.map(event("exercises")));
        res.headers_mut()
            .insert("x-accel-buffering", HeaderValue::from_static("no"));
        SseKeepAlive::new(events).stream(res);
    }
}

/// How the reader's exercises stand, for a page that has just come.
struct Exercises(workshop::States);

#[handler]
impl Exercises {
    async fn handle(&self, res: &mut Response) {
        res.headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        res.render(Text::Json(self.0.borrow().clone()));
    }
}

#[handler]
async fn reload_script(res: &mut Response) {
    res.render(Text::Js(include_str!("reload.js")));
}

/// Files with a hash in their name, or in their folder's, never change, but for scripts.
/// Everything else is asked for again.
#[handler]
async fn cache(
    req: &mut Request,
    res: &mut Response,
    depot: &mut Depot,
    ctrl: &mut FlowCtrl,
) {
    let path = req.uri().path();
    let hashed = lazy_regex::regex_is_match!(r"-[0-9a-f]{8}[./]", path);
    // mdBook takes the hash of a script before it fills in the names of those that it imports.
    let imports = lazy_regex::regex_is_match!(r"-[0-9a-f]{8}\.js$", path);
    let value = if hashed && !imports {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    ctrl.call_next(req, depot, res).await;
    res.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(value));
}

/// Shows the book's own page, this file, for an address that leads nowhere.
struct NotFound(PathBuf);

#[handler]
impl NotFound {
    async fn handle(&self, req: &Request, res: &mut Response, ctrl: &mut FlowCtrl) {
        let under_live = req.uri().path().starts_with("/live/");
        if res.status_code != Some(StatusCode::NOT_FOUND) || under_live {
            return;
        }
        if let Ok(page) = fs::read_to_string(&self.0) {
            let html = HeaderValue::from_static("text/html; charset=utf-8");
            res.headers_mut().insert(CONTENT_TYPE, html);
            res.body(page);
            ctrl.skip_rest();
        }
    }
}
