//! A headless Chromium, driven through WebDriver.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use thirtyfour::{ChromiumLikeCapabilities, DesiredCapabilities, WebDriver};

use crate::{until, within};

/// One browser for one test. Dropping it ends the driver and the browser.
pub struct Browser {
    chromedriver: Child,
    pub driver: WebDriver,
}

impl Browser {
    pub async fn start() -> Self {
        // A group of its own, so that the browser's processes end with the driver.
        let mut chromedriver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver (Debian: chromium-driver) is installed");
        let said = BufReader::new(chromedriver.stdout.take().unwrap());
        let port = said
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, port) = line.split_once("successfully on port ")?;
                Some(port.trim_end_matches('.').to_string())
            })
            .expect("chromedriver names its port");
        let mut wishes = DesiredCapabilities::chrome();
        for argument in [
            "--headless",
            "--no-sandbox", // Chromium's own sandbox does not start for root
            "--disable-gpu",
            "--disable-quic",
            "--disable-background-networking",
            "--window-size=1280,900",
        ] {
            wishes.add_arg(argument).unwrap();
        }
        let url = format!("http://127.0.0.1:{port}");
        let driver = within("a browser", WebDriver::new(url, wishes)).await;
        Self { chromedriver, driver: driver.expect("Chromium starts") }
    }

    pub async fn open(&self, url: &str) {
        within(url, self.driver.goto(url)).await.unwrap();
    }

    /// The value of a JavaScript expression in the page.
    pub async fn eval(&self, expression: &str) -> Value {
        let script = format!("return ({expression})");
        let value = within(expression, self.driver.execute(script, vec![])).await;
        value.unwrap_or_else(|error| panic!("{expression}: {error}")).json().clone()
    }

    /// Waits until an expression is true in the page.
    pub async fn until(&self, expression: &str) {
        until(expression, async || self.eval(expression).await == Value::Bool(true))
            .await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = format!("-{}", self.chromedriver.id());
        drop(Command::new("kill").args(["-9", "--", &group]).status());
        drop(self.chromedriver.wait());
    }
}
