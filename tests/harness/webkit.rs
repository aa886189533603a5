//! WebKitGTK's MiniBrowser, driven through WebDriver. It has no headless mode, so it draws on
//! a display that is in memory only.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use thirtyfour::{Capabilities, WebDriver};

use crate::wait::{started, until};

/// Starts a display and a driver, in a group of their own, and a browser.
pub async fn start() -> (Vec<Child>, WebDriver) {
    let mut display = Command::new("Xvfb")
        .args(["-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "1280x900x24"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("Xvfb (Debian: xvfb) is installed");
    let mut number = String::new();
    let mut said = BufReader::new(display.stdout.take().unwrap());
    said.read_line(&mut number).expect("Xvfb says which display it is");
    let address = free_address();
    let driver = Command::new("WebKitWebDriver")
        .arg(format!("--port={}", address.port()))
        .env("DISPLAY", format!(":{}", number.trim()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(display.id() as i32)
        .spawn()
        .expect("WebKitWebDriver (Debian: webkit2gtk-driver) is installed");
    let listens = async || TcpStream::connect(address).is_ok();
    until("WebKitWebDriver listens", listens).await;
    let url = format!("http://{address}");
    let browser = started("a browser", WebDriver::new(url, Capabilities::new()));
    let browser = browser.await.expect("WebKitGTK's MiniBrowser starts");
    (vec![display, driver], browser)
}

/// The driver does not choose a port by itself.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
