//! The module in React, Vue and Svelte, and fragments of HTML by SSE.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, future, stream};
use salvo::conn::ConnCtrl;
use salvo::prelude::*;
use salvo::serve_static::StaticDir;
use tests::{Browser, Program, pause, root, serve, until, within};
use tokio::process::Command;
use tokio::sync::{OnceCell, watch};

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
    let datastar = datastar.replace(CDN, "");
    fs::write(dist.join("datastar.html"), &datastar).unwrap();
    let (start, rest) = datastar.split_once(",\n    { retry").unwrap();
    let (_, end) = rest.split_once('}').unwrap();
    fs::write(dist.join("defaults.html"), format!("{start}{end}")).unwrap();
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

/// What a request for events gets.
#[derive(Clone, Copy)]
enum Answer {
    Status(u16),
    /// A stream of so many numbers, after the last one that the request names. It stays
    /// open.
    Numbers(u32),
    /// A stream of these bytes. It stays open.
    Bytes(&'static str),
}
use Answer::{Bytes, Numbers, Status};

/// What happens to the streams that are open.
#[derive(Clone, Copy)]
enum Fate {
    End,
    Cut,
}
use Fate::{Cut, End};

/// A server of the pages whose answers to requests for events a test decides.
struct Origin {
    url: String,
    events: Arc<Events>,
}

struct Events {
    answer: Mutex<Answer>,
    fate: watch::Sender<Option<Fate>>,
    asked: Mutex<Vec<Asked>>,
    open: AtomicUsize,
}

#[derive(Clone, Debug)]
struct Asked {
    at: Instant,
    last: String,
}

impl Origin {
    async fn start(answer: Answer) -> Self {
        let events = Arc::new(Events {
            answer: Mutex::new(answer),
            fate: watch::Sender::default(),
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

    /// Answers so from now on, and lets the open streams end so.
    fn then(&self, fate: Fate, answer: Answer) {
        *self.events.answer.lock().unwrap() = answer;
        self.events.fate.send(Some(fate)).unwrap();
    }

    /// Answers so from now on.
    fn answers(&self, answer: Answer) {
        *self.events.answer.lock().unwrap() = answer;
    }

    fn page(&self, name: &str) -> String {
        format!("{}/frameworks/{name}.html", self.url)
    }

    fn asked(&self) -> Vec<Asked> {
        self.events.asked.lock().unwrap().clone()
    }

    async fn has_open(&self, count: usize) {
        let open = || self.events.open.load(Ordering::SeqCst);
        until(&format!("{count} open"), async || open() == count).await;
    }

    /// Waits until it was asked so often, and returns the last of these requests.
    async fn asked_times(&self, times: usize) -> Asked {
        let what = format!("{times} requests");
        until(&what, async || self.asked().len() >= times).await;
        self.asked().swap_remove(times - 1)
    }
}

#[derive(Clone)]
struct Goal(Arc<Events>);

#[handler]
impl Goal {
    async fn handle(&self, req: &Request, res: &mut Response, conn: &mut ConnCtrl) {
        let last = req.header::<String>("last-event-id");
        let last = last.or_else(|| req.query("after")).unwrap_or_default();
        let asked = Asked { at: Instant::now(), last: last.clone() };
        self.0.asked.lock().unwrap().push(asked);
        let answer = *self.0.answer.lock().unwrap();
        let bytes = match answer {
            Status(status) => {
                let status = StatusCode::from_u16(status).unwrap();
                res.status_code(status);
                if status != StatusCode::NO_CONTENT {
                    res.render(Text::Html("<h1>Not what you want</h1>"));
                }
                return;
            }
            Numbers(count) => {
                let last: u32 = last.parse().unwrap_or(0);
                let path = req.uri().path();
                (last + 1..=last + count).map(|number| event(path, number)).collect()
            }
            Bytes(bytes) => bytes.to_string(),
        };
        let mut fate = self.0.fate.subscribe();
        fate.mark_unchanged();
        let conn = conn.clone();
        let open = Open::new(&self.0);
        let rest = stream::once(async move {
            let open = open;
            fate.changed().await.unwrap();
            let fate = *fate.borrow();
            if let Some(Cut) = fate {
                conn.abort();
                future::pending::<()>().await;
            }
            drop(open);
            Ok::<_, std::io::Error>(String::new())
        });
        res.add_header("content-type", "text/event-stream", true).unwrap();
        res.stream(stream::iter([Ok(bytes)]).chain(rest));
    }
}

/// A number as an event, in the form that the page of this path wants.
fn event(path: &str, number: u32) -> String {
    let data = match path {
        "/fragments/htmx" => format!("data: <li>{number}</li>"),
        "/fragments/datastar" => format!(
            "event: datastar-patch-elements\ndata: selector #numbers\n\
             data: mode append\ndata: elements <li>{number}</li>"
        ),
        _ => format!("event: number\ndata: {number}"),
    };
    format!("{data}\nid: {number}\n\n")
}

/// Counts a connection for as long as it is open.
struct Open(Arc<Events>);

impl Open {
    fn new(events: &Arc<Events>) -> Self {
        events.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(events))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What the browser keeps of what a page, or a library, reports as an error.
const ERRORS: &str = "
    window.errors = [];
    for (const level of ['error', 'warn']) {
      const report = console[level];
      console[level] = (...words) => { errors.push(words.join(' ')); report(...words); };
    }
    addEventListener('error', ({ message }) => errors.push(message));
    addEventListener('unhandledrejection', ({ reason }) => errors.push(`${reason}`));
";

async fn browser() -> Browser {
    let browser = Browser::start().await;
    browser.run_first(ERRORS).await;
    browser
}

/// The numbers that a page shows, as JavaScript.
const NUMBERS: &str =
    "[...document.querySelectorAll('#numbers li')].map((li) => li.textContent)";

async fn shows(browser: &Browser, numbers: &str) {
    browser.until(&format!("{NUMBERS}.join() == '{numbers}'")).await;
}

/// Asserts that nothing is wrong in the page. htmx writes each lost connection down.
async fn reports_nothing(browser: &Browser) {
    let ours =
        "errors.filter((error) => !error.startsWith('htmx: htmx:sse:error')).join()";
    assert_eq!(browser.eval(ours).await, "");
}

/// How long a test watches that something does not happen.
const WATCH: Duration = Duration::from_millis(1_500);

/// The program `page`, with the built pages, and a browser.
async fn program() -> (Program, Browser) {
    let folder = built().await.to_str().unwrap();
    let program = Program::start_with("page", &[("FRAMEWORKS", folder)]).await;
    (program, browser().await)
}

/// Waits until a line of the program has so many connections.
async fn has_open(program: &Program, line: &str, count: usize) {
    let path = format!("/lines/{line}");
    let open = format!("\"open\":{count}");
    let has = async || {
        let answer = program.get(&path).await.text().await.unwrap();
        answer.contains(&open)
    };
    until(&format!("{line} has {count} connections"), has).await;
}

async fn act(program: &Program, line: &str, act: &str) {
    let request = program.request("POST", &format!("/lines/{line}/{act}"));
    assert_eq!(program.send(request).await.status(), 204);
}

/// Waits until the page shows so many more numbers, and asserts that each follows the last.
async fn counts_on(browser: &Browser, more: usize) {
    let count = browser.eval(&format!("{NUMBERS}.length")).await.as_u64().unwrap();
    let count = count as usize + more;
    browser.until(&format!("{NUMBERS}.length >= {count}")).await;
    let numbers = browser.eval(&format!("{NUMBERS}.map(Number)")).await;
    let numbers: Vec<u64> =
        numbers.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    let each_follows = numbers.is_sorted_by(|one, next| one + 1 == *next);
    assert!(each_follows, "{numbers:?}");
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn a_component_in_react_vue_or_svelte_has_one_connection_and_misses_nothing() {
    let (program, browser) = program().await;
    for page in ["react", "vue", "svelte"] {
        browser.open(&format!("{}/frameworks/{page}.html", program.url)).await;
        counts_on(&browser, 2).await;
        has_open(&program, page, 1).await;
        act(&program, page, "kill").await;
        counts_on(&browser, 3).await;
        has_open(&program, page, 1).await;
        browser.open("about:blank").await; // the browser keeps the page for a way back
        has_open(&program, page, 0).await;
        browser.eval("history.back()").await;
        browser.until(&format!("{NUMBERS}.length >= 5")).await;
        counts_on(&browser, 2).await;

        // Another URL is another connection, and shows nothing of the first.
        browser.eval("document.querySelector('#other').click()").await;
        has_open(&program, page, 0).await;
        has_open(&program, "other", 1).await;
        counts_on(&browser, 2).await;
        browser.eval("document.querySelector('#none').click()").await;
        has_open(&program, "other", 0).await;
        reports_nothing(&browser).await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn an_effect_without_a_cleanup_has_two_connections_in_strict_mode() {
    let (program, browser) = program().await;
    browser.open(&format!("{}/frameworks/naive.html", program.url)).await;
    has_open(&program, "naive", 2).await;
    let twice = "((all) => all.length > 3 && all.every((one) => all.filter((other) => other == one).length == 2))";
    browser.until(&format!("{twice}({NUMBERS})")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn fragments_in_htmx_come_over_one_connection_until_the_end() {
    fragments_come_over_one_connection_until_the_end("htmx").await;
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn fragments_in_datastar_come_over_one_connection_until_the_end() {
    fragments_come_over_one_connection_until_the_end("datastar").await;
}

async fn fragments_come_over_one_connection_until_the_end(page: &str) {
    let (program, browser) = program().await;
    browser.open(&format!("{}/frameworks/{page}.html", program.url)).await;
    counts_on(&browser, 2).await;
    has_open(&program, page, 1).await;
    act(&program, page, "kill").await;
    counts_on(&browser, 3).await;
    has_open(&program, page, 1).await;

    // Both libraries close what nobody sees.
    let tab = browser.tab().await;
    browser.new_tab().await;
    has_open(&program, page, 0).await;
    browser.to_tab(tab).await;
    counts_on(&browser, 2).await;
    browser.open("about:blank").await;
    has_open(&program, page, 0).await;
    browser.eval("history.back()").await;
    browser.until(&format!("{NUMBERS}.length >= 7")).await;
    counts_on(&browser, 2).await;

    act(&program, page, "end").await;
    has_open(&program, page, 0).await;
    reports_nothing(&browser).await;
}

#[tokio::test]
async fn the_name_of_a_line_is_text_in_a_fragment() {
    let program = Program::start("page").await;
    let line = "line=%3Cscript%3E%22%0Amode%20remove";
    for path in ["/fragments/htmx", "/fragments/datastar"] {
        let event = program.events(&format!("{path}?{line}")).await.data().await;
        let fragment = "<li title=\"&#60;script&#62;&#34;&#10;mode remove\">";
        assert!(event.lines().last().unwrap().contains(fragment), "{event}");
    }
}

#[tokio::test]
async fn the_page_of_a_framework_says_how_to_build_it() {
    let program = Program::start_with("page", &[("FRAMEWORKS", "nowhere")]).await;
    let answer = program.get("/frameworks/react.html").await;
    assert_eq!(answer.status(), 404);
    assert!(answer.text().await.unwrap().contains("npm run build"));
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn a_script_in_a_fragment_runs() {
    let browser = browser().await;
    for (page, bytes) in [
        ("htmx", "data: <script>window.ran = true</script>\n\n"),
        (
            "datastar",
            "event: datastar-patch-elements\ndata: selector #numbers\ndata: mode append\n\
             data: elements <script>window.ran = true</script>\n\n",
        ),
    ] {
        let origin = Origin::start(Bytes(bytes)).await;
        browser.open(&origin.page(page)).await;
        browser.until("window.ran == true").await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn htmx_shows_an_error_that_is_its_first_answer_and_never_asks_again() {
    let browser = browser().await;
    for status in [404, 502] {
        let origin = Origin::start(Status(status)).await;
        browser.open(&origin.page("htmx")).await;
        let shown = "document.querySelector('#numbers h1')?.textContent";
        browser.until(&format!("{shown} == 'Not what you want'")).await;
        origin.answers(Numbers(3));
        browser.never(&format!("{NUMBERS}.length > 0"), WATCH).await;
        assert_eq!(origin.asked().len(), 1);
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn htmx_goes_on_after_its_last_event_and_does_not_know_the_end_204() {
    let browser = browser().await;
    let origin = Origin::start(Numbers(3)).await;
    browser.open(&origin.page("htmx")).await;
    shows(&browser, "1,2,3").await;
    origin.then(Cut, Status(502));
    assert_eq!(origin.asked_times(2).await.last, "3");
    origin.asked_times(3).await;
    origin.answers(Numbers(3));
    shows(&browser, "1,2,3,4,5,6").await;
    origin.has_open(1).await;

    // Each 204 is a success, after which it waits for half a second, more or less.
    let before = origin.asked().len();
    origin.then(End, Status(204));
    let first = origin.asked_times(before + 1).await;
    let fourth = origin.asked_times(before + 4).await;
    let took = fourth.at - first.at;
    assert!(took < Duration::from_secs(3), "{took:?}");

    // 404 is a reason to wait longer, not to stop.
    let before = origin.asked().len();
    origin.answers(Status(404));
    origin.asked_times(before + 3).await;
    origin.answers(Numbers(1));
    shows(&browser, "1,2,3,4,5,6,7").await;
    reports_nothing(&browser).await;
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn htmx_closes_what_another_script_removed_with_the_next_event() {
    let browser = browser().await;
    let origin = Origin::start(Numbers(3)).await;
    browser.open(&origin.page("htmx")).await;
    shows(&browser, "1,2,3").await;
    browser
        .eval("(window.list = document.querySelector('#numbers')).remove()")
        .await;
    pause(WATCH).await;
    origin.has_open(1).await;
    browser.open(&origin.page("htmx")).await;
    origin.has_open(1).await;
    browser
        .eval("htmx.swap({ target: '#numbers', swap: 'delete', text: '' })")
        .await;
    origin.has_open(0).await;
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn datastar_with_its_defaults_ends_with_a_stream_or_an_error() {
    let browser = browser().await;
    for (fate, answer) in [(None, Status(502)), (Some(End), Numbers(3))] {
        let origin = Origin::start(answer).await;
        browser.open(&origin.page("defaults")).await;
        let first = origin.asked_times(1).await;
        assert_eq!(first.last, "");
        match fate {
            Some(fate) => {
                shows(&browser, "1,2,3").await;
                origin.then(fate, Numbers(3));
            }
            None => origin.answers(Numbers(3)),
        }
        browser.never(&format!("{NUMBERS}.length > 3"), WATCH).await;
        assert_eq!(origin.asked().len(), 1);
    }
    // A cut is another matter. So is an element that goes: its stream stays.
    let origin = Origin::start(Numbers(3)).await;
    browser.open(&origin.page("defaults")).await;
    shows(&browser, "1,2,3").await;
    origin.then(Cut, Numbers(3));
    shows(&browser, "1,2,3,4,5,6").await;
    browser.eval("document.querySelector('#numbers').remove()").await;
    pause(WATCH).await;
    origin.has_open(1).await;
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn datastar_comes_back_if_it_is_told_to_and_knows_the_end_204() {
    let browser = browser().await;
    let origin = Origin::start(Status(502)).await;
    browser.open(&origin.page("datastar")).await;
    origin.asked_times(2).await;
    origin.answers(Numbers(3));
    shows(&browser, "1,2,3").await;
    origin.then(End, Status(404));
    let before = origin.asked().len();
    assert_eq!(origin.asked_times(before + 1).await.last, "3");
    origin.asked_times(before + 2).await;
    origin.answers(Numbers(3));
    shows(&browser, "1,2,3,4,5,6").await;
    origin.has_open(1).await;
    reports_nothing(&browser).await;

    let before = origin.asked().len();
    origin.then(End, Status(204));
    origin.asked_times(before + 1).await;
    origin.answers(Numbers(3));
    browser.never(&format!("{NUMBERS}.length > 6"), WATCH).await;
    assert_eq!(origin.asked().len(), before + 1);

    let origin = Origin::start(Numbers(3)).await;
    browser.open(&origin.page("datastar")).await;
    shows(&browser, "1,2,3").await;
    browser.eval("document.querySelector('#numbers').remove()").await;
    origin.has_open(0).await;
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn datastar_loses_an_event_that_is_cut_behind_its_id_and_htmx_does_not() {
    let browser = browser().await;
    for (page, bytes, last, numbers) in [
        ("datastar", "id: 1\nevent: datastar-patch-elements\n", "1", "2,3"),
        ("htmx", "data: <li>0</li>\n\nid: 1\ndata: <li>1</li>\n", "", "0,1,2"),
    ] {
        let origin = Origin::start(Bytes(bytes)).await;
        browser.open(&origin.page(page)).await;
        origin.has_open(1).await;
        if page == "htmx" {
            shows(&browser, "0").await;
        } else {
            pause(WATCH / 3).await; // until it has read the line
        }
        origin.then(Cut, Numbers(2));
        assert_eq!(origin.asked_times(2).await.last, last);
        shows(&browser, numbers).await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, and the frameworks: tests/sdk/install"]
async fn datastar_has_two_connections_if_it_is_hidden_and_shown_while_it_waits() {
    let browser = browser().await;
    let origin = Origin::start(Bytes("retry: 3000\n\n")).await;
    browser.open(&origin.page("datastar")).await;
    origin.has_open(1).await;
    pause(WATCH / 3).await; // until it has read the line
    origin.then(Cut, Numbers(3));
    origin.has_open(0).await;
    let tab = browser.tab().await;
    browser.new_tab().await;
    browser.to_tab(tab).await;
    origin.has_open(2).await; // it waited, and then it also came back
}
