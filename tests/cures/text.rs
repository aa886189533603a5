//! Text that arrives whole: letters in two chunks, and tokens with spaces and line breaks.

use std::process::Stdio;

use serde_json::json;
use tests::scripted::{Server, chunked};
use tests::{Browser, Process, Program, root, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Letters of one, two, three and four bytes.
const TEXT: &str = "data: a è € 🦀\n\n";

#[tokio::test]
async fn letters_in_pieces_are_whole_again_in_rust() {
    let server = Server::start().await;
    let client = Process::start("cure_letters", &[&server.url("/")]);
    server.answer(chunked(TEXT.as_bytes(), 1)).await;
    let ended = client.ended().await;
    assert_eq!((ended.code, &*ended.stdout), (Some(0), TEXT), "{}", ended.stderr);
}

#[tokio::test]
async fn a_line_without_an_end_does_not_fill_the_memory() {
    let server = Server::start().await;
    let client = Process::start("cure_letters", &[&server.url("/")]);
    let mut asked = server.asked().await;
    asked.stream(vec![b'x'; (1 << 20) + 1]).await;
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("a line is too long"), "{}", ended.stderr);
}

#[tokio::test]
#[ignore = "needs python3"]
async fn letters_in_pieces_are_whole_again_in_python() {
    let mut python = tokio::process::Command::new("python3")
        .arg(root().join("examples/cures/letters.py"))
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python3 is installed");
    let mut stdin = python.stdin.take().unwrap();
    let mut stdout = python.stdout.take().unwrap();
    let mut text = String::new();
    let letters = "è€🦀";
    // A letter comes with the first byte of the next one, whose rest waits until it is out.
    for (at, letter) in letters.char_indices() {
        let end = letters.len().min(at + letter.len_utf8() + 1);
        let start = if at == 0 { 0 } else { at + 1 };
        stdin.write_all(&letters.as_bytes()[start..end]).await.unwrap();
        let mut bytes = vec![0; letter.len_utf8()];
        within("a letter", stdout.read_exact(&mut bytes)).await.unwrap();
        text += str::from_utf8(&bytes).expect("it is whole");
    }
    drop(stdin);
    assert_eq!(text, letters);
    assert!(within("the end", python.wait()).await.unwrap().success());
}

#[tokio::test]
#[ignore = "needs chromedriver, and firefox-esr"]
async fn letters_in_pieces_are_whole_again_in_a_page() {
    let cure = std::fs::read_to_string(root().join("examples/cures/letters.js"));
    let cure = cure.unwrap().replace("export ", "");
    for browser in Browser::both().await {
        let text = json!(TEXT);
        let pieces = format!(
            "new Response(new ReadableStream({{
              start(stream) {{
                const bytes = new TextEncoder().encode({text});
                for (const byte of bytes) stream.enqueue(new Uint8Array([byte]));
                stream.close();
              }},
            }}))"
        );
        let read = format!("read({pieces}, (part) => {{ window.heard += part; }})");
        let script = format!("{cure} window.heard = ''; {read};");
        browser.eval(&format!("(() => {{ {script} }})()")).await;
        browser.until(&format!("heard === {text}")).await;
    }
}

#[tokio::test]
#[ignore = "needs chromedriver, and firefox-esr"]
async fn tokens_as_json_arrive_with_their_spaces_and_line_breaks() {
    let tokens = Program::start("cure_json").await;
    for browser in Browser::both().await {
        browser.open(&format!("{}/page", tokens.url)).await;
        let hear = "(event) => { window.text += JSON.parse(event.data); }";
        let start = format!("new EventSource('/').onmessage = {hear}");
        browser.eval(&format!("(window.text = '', {start}, 0)")).await;
        let whole = json!("if x {\n    y;\r\n}");
        browser.until(&format!("text === {whole}")).await;
    }
}
