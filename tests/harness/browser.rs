//! Headless browsers: Chromium and WebKitGTK, driven through WebDriver, and Firefox.

use std::io::{BufRead, BufReader};
use std::mem::ManuallyDrop;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use thirtyfour::{
    By, CapabilitiesHelper, ChromiumLikeCapabilities, DesiredCapabilities,
    WebDriver, WindowHandle,
};

use tokio::sync::Mutex;

use crate::firefox::Firefox;
use crate::wait::{started, until, within};
use crate::webkit;

/// One browser starts at a time: several at once, from a disk that has not been read yet,
/// take longer than a test waits.
static STARTING: Mutex<()> = Mutex::const_new(());

/// One browser for one test. Dropping it ends the driver and the browser.
pub struct Browser(Engine);

enum Engine {
    Chromium(Driven),
    Firefox(Box<Firefox>),
    WebKit(Driven),
}

/// A browser that a driver drives.
struct Driven {
    /// The first of them leads the group of all.
    processes: Vec<Child>,
    /// Not dropped: it would ask a driver to quit that is gone already, and wait.
    driver: ManuallyDrop<WebDriver>,
    version: String,
}

impl Browser {
    /// Starts Chromium.
    pub async fn start() -> Self {
        Self::start_with(&["--disable-quic"]).await
    }

    /// Starts Chromium, which asks this address, as in `https://127.0.0.1:40123`, over HTTP/3,
    /// and takes the certificate with the key of this hash.
    pub async fn over_http_3(url: &str, hash: &str) -> Self {
        let addr = url.strip_prefix("https://").expect("an address with TLS");
        Self::start_with(&[
            &format!("--origin-to-force-quic-on={addr}"),
            &format!("--ignore-certificate-errors-spki-list={hash}"),
        ])
        .await
    }

    async fn start_with(arguments: &[&str]) -> Self {
        let starting = STARTING.lock().await;
        let chromium = start_chromium(arguments).await;
        drop(starting);
        Self(Engine::Chromium(chromium))
    }

    /// Starts Firefox. It knows the words `open`, `eval`, `until`, `never`,
    /// and those for tabs.
    pub async fn firefox() -> Self {
        let starting = STARTING.lock().await;
        let firefox = Firefox::start().await;
        drop(starting);
        Self(Engine::Firefox(Box::new(firefox)))
    }

    /// Starts WebKitGTK's MiniBrowser. It knows the same words as Firefox. It is not Safari:
    /// the engine is the same, and what talks to the network is not.
    pub async fn webkit() -> Self {
        let starting = STARTING.lock().await;
        let (processes, driver) = webkit::start().await;
        drop(starting);
        Self(Engine::WebKit(Driven::new(processes, driver)))
    }

    /// Starts Chromium and Firefox, for a story that is the same in both.
    pub async fn both() -> [Self; 2] {
        [Self::start().await, Self::firefox().await]
    }

    /// Starts Chromium, Firefox and WebKitGTK.
    pub async fn all() -> [Self; 3] {
        [Self::start().await, Self::firefox().await, Self::webkit().await]
    }

    pub fn name(&self) -> &'static str {
        match &self.0 {
            Engine::Chromium(_) => "Chromium",
            Engine::Firefox(_) => "Firefox",
            Engine::WebKit(_) => "WebKitGTK",
        }
    }

    pub fn version(&self) -> &str {
        match &self.0 {
            Engine::Chromium(driven) | Engine::WebKit(driven) => &driven.version,
            Engine::Firefox(firefox) => &firefox.version,
        }
    }

    fn chromium(&self) -> &WebDriver {
        match &self.0 {
            Engine::Chromium(chromium) => &chromium.driver,
            _ => panic!("the harness does this in Chromium only"),
        }
    }

    pub async fn open(&self, url: &str) {
        match &self.0 {
            Engine::Chromium(driven) | Engine::WebKit(driven) => {
                within(url, driven.driver.goto(url)).await.unwrap();
            }
            Engine::Firefox(firefox) => firefox.open(url).await,
        }
    }

    /// The value of a JavaScript expression in the page.
    pub async fn eval(&self, expression: &str) -> Value {
        match &self.0 {
            Engine::Chromium(driven) | Engine::WebKit(driven) => {
                driven.eval(expression).await
            }
            Engine::Firefox(firefox) => firefox.eval(expression).await,
        }
    }

    /// Watches for this long that an expression does not become true in the page.
    pub async fn never(&self, expression: &str, watch: Duration) {
        let becomes = self.until(expression);
        let became = tokio::time::timeout(watch, becomes).await;
        assert!(became.is_err(), "{} became true: {expression}", self.name());
    }

    /// The tab that is in front.
    pub async fn tab(&self) -> WindowHandle {
        match &self.0 {
            Engine::Chromium(driven) | Engine::WebKit(driven) => {
                within("a tab", driven.driver.window()).await.unwrap()
            }
            Engine::Firefox(firefox) => firefox.tab().await.into(),
        }
    }

    /// Opens a tab, and goes to it.
    pub async fn new_tab(&self) -> WindowHandle {
        match &self.0 {
            Engine::Chromium(driven) | Engine::WebKit(driven) => {
                let tab = within("a tab", driven.driver.new_tab()).await.unwrap();
                self.to_tab(tab.clone()).await;
                tab
            }
            Engine::Firefox(firefox) => firefox.new_tab().await.into(),
        }
    }

    pub async fn to_tab(&self, tab: WindowHandle) {
        match &self.0 {
            Engine::Chromium(driven) | Engine::WebKit(driven) => {
                let switch = driven.driver.switch_to_window(tab);
                within("a tab", switch).await.unwrap();
            }
            Engine::Firefox(firefox) => firefox.to_tab(&tab.to_string()).await,
        }
    }

    /// Closes the tab that is in front. [`Self::to_tab`] says which one follows.
    pub async fn close_tab(&self) {
        match &self.0 {
            Engine::Chromium(driven) | Engine::WebKit(driven) => {
                within("a tab", driven.driver.close_window()).await.unwrap();
            }
            Engine::Firefox(firefox) => firefox.close_tab().await,
        }
    }

    /// Goes back to the page before, which the browser may have kept.
    pub async fn back(&self) {
        match &self.0 {
            Engine::Chromium(driven) | Engine::WebKit(driven) => {
                within("the page before", driven.driver.back()).await.unwrap();
            }
            Engine::Firefox(firefox) => firefox.back().await,
        }
    }

    /// A command of the DevTools protocol, to the tab that is in front.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let devtools = self.chromium().cdp();
        within(command, devtools.send_raw(command, parameters)).await.unwrap()
    }

    /// Crashes the process of the tab that is in front. Nothing answers there any more.
    pub async fn crash_tab(&self) {
        let devtools = self.chromium().cdp();
        let crash = devtools.send_raw("Page.crash", json!({}));
        let answer = within("Page.crash", crash).await;
        assert!(answer.is_err(), "the tab is there: {answer:?}");
    }

    /// Opens a window, goes to it, and says how to go back.
    pub async fn new_window(&self) -> WindowHandle {
        let first = within("a window", self.chromium().window()).await.unwrap();
        let second = within("a window", self.chromium().new_window()).await.unwrap();
        self.to_tab(second).await;
        first
    }

    /// Types on the keyboard, with the focus on an element.
    pub async fn type_into(&self, selector: &str, text: &str) {
        let element = self.chromium().find(By::Css(selector));
        let element = within(selector, element).await.unwrap();
        within(selector, element.send_keys(text)).await.unwrap();
    }

    /// Sets the size of the page, in CSS pixels.
    pub async fn resize(&self, width: u32, height: u32) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": true,
        });
        let set = "Emulation.setDeviceMetricsOverride";
        within(set, self.chromium().cdp().send_raw(set, size)).await.unwrap();
    }

    /// Shows the page as on paper.
    pub async fn on_paper(&self) {
        let set = "Emulation.setEmulatedMedia";
        let paper = json!({ "media": "print" });
        within(set, self.chromium().cdp().send_raw(set, paper)).await.unwrap();
    }

    /// Waits until an expression is true in the page.
    pub async fn until(&self, expression: &str) {
        let what = format!("{}, {expression}", self.name());
        until(&what, async || self.eval(expression).await == Value::Bool(true))
            .await;
    }
}

async fn start_chromium(arguments: &[&str]) -> Driven {
    // It looks for a port that is free for IPv4, and ends if IPv6 has it in use.
    let (chromedriver, port) = (0..10)
        .find_map(|_| start_driver())
        .expect("chromedriver (Debian: chromium-driver) names its port");
    let mut wishes = DesiredCapabilities::chrome();
    wishes.accept_insecure_certs(true).unwrap(); // a test signs its own
    let usual = [
        "--headless",
        "--no-sandbox", // Chromium's own sandbox does not start for root
        "--disable-gpu",
        "--disable-background-networking",
        "--window-size=1280,900",
    ];
    for argument in usual.iter().chain(arguments) {
        wishes.add_arg(argument).unwrap();
    }
    let url = format!("http://127.0.0.1:{port}");
    let driver = started("a browser", WebDriver::new(url, wishes)).await;
    Driven::new(vec![chromedriver], driver.expect("Chromium starts"))
}

/// Starts ChromeDriver, and says on which port it listens, unless it ends at once.
fn start_driver() -> Option<(Child, String)> {
    // A group of its own, so that the browser's processes end with the driver.
    let mut chromedriver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("chromedriver (Debian: chromium-driver) is installed");
    let said = BufReader::new(chromedriver.stdout.take().unwrap());
    let port = said.lines().map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once("successfully on port ")?;
        Some(port.trim_end_matches('.').to_string())
    });
    match port {
        Some(port) => Some((chromedriver, port)),
        None => {
            drop(chromedriver.wait());
            None
        }
    }
}

impl Driven {
    fn new(processes: Vec<Child>, driver: WebDriver) -> Self {
        let version = driver.capabilities().get("browserVersion");
        let version = version.and_then(Value::as_str).expect("its version").into();
        Self { processes, driver: ManuallyDrop::new(driver), version }
    }

    async fn eval(&self, expression: &str) -> Value {
        let script = format!("return ({expression})");
        let value = within(expression, self.driver.execute(script, vec![])).await;
        value.unwrap_or_else(|error| panic!("{expression}: {error}")).json().clone()
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        let group = format!("-{}", self.processes[0].id());
        drop(Command::new("kill").args(["-9", "--", &group]).status());
        for process in &mut self.processes {
            drop(process.wait());
        }
    }
}
