//! The module in React, Vue and Svelte, and fragments of HTML by SSE.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tests::{Browser, Program, root, until, within};
use tokio::process::Command;
use tokio::sync::OnceCell;

use origin::{Bytes, Origin};

mod datastar;
mod htmx;
mod origin;

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
    // The same with the defaults of htmx.
    let htmx = fs::read_to_string(dist.join("htmx.html")).unwrap();
    let (start, rest) = htmx.split_once(" hx-status").unwrap();
    let (_, end) = rest.split_once("delay:2s\"").unwrap();
    fs::write(dist.join("bare.html"), format!("{start}{end}")).unwrap();
    // The same with the defaults of Datastar, and with short waits.
    let (start, rest) = datastar.split_once(",\n    { retry").unwrap();
    let (_, end) = rest.split_once('}').unwrap();
    for (name, options) in [
        ("defaults", ""),
        ("hasty", ", { retry: 'always', retryInterval: 10, retryMaxWait: 20 }"),
    ] {
        let page = dist.join(name).with_extension("html");
        fs::write(page, format!("{start}{options}{end}")).unwrap();
    }
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

/// Runs in each page before its own scripts, and keeps what is reported as an error.
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
    let source = json!({ "source": ERRORS });
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", source).await;
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
        browser.back().await;
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
    browser.back().await;
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
