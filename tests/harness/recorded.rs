//! Recordings below `examples/`: each is compared with the program as it is now, and is
//! written anew with `RECORD=1` in the environment.

use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use reqwest::Response;
use serde_json::{Value, json};

use crate::binaries::root;
use crate::program::Program;
use crate::wait::within;

/// A recording below `examples/`. With `RECORD=1`, this text is written there first.
fn recording(file: &str, text: &str) -> String {
    let file = root().join("examples").join(file);
    if env::var_os("RECORD").is_some() {
        fs::write(&file, text).unwrap();
    }
    fs::read_to_string(&file).unwrap_or_else(|_| panic!("RECORD=1 writes {file:?}"))
}

/// Runs the commands of a recorded session, and returns what they print now. In each pair
/// of `replacements`, the first text is replaced in the commands by the second. One shell
/// runs all commands.
pub fn session(file: &str, replacements: &[(&str, &str)]) -> String {
    const END: &str = "\u{1e}";
    let recorded = fs::read_to_string(root().join("examples").join(file)).unwrap();
    let commands: Vec<_> =
        recorded.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    let script = commands.join(&format!("\nprintf '{END}'\n"));
    let script = replacements
        .iter()
        .fold(script, |script, (from, to)| script.replace(from, to));
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut session = String::new();
    for (command, printed) in commands.iter().zip(printed.split(END)) {
        session += &format!("$ {command}\n{printed}");
        if !session.ends_with('\n') {
            session.push('\n');
        }
    }
    session
}

/// Compares a text with its recording.
pub fn assert_recorded(file: &str, text: &str) {
    assert_eq!(text, recording(file, text), "RECORD=1 records it anew");
}

/// Compares the page of a program with the picture of it that the book has, save for numbers,
/// and for what its lists and its drawing show: that is another one each time.
pub fn assert_picture(file: &str, page: &str) {
    let file = root().join(file);
    if env::var_os("RECORD").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, page).unwrap();
    }
    let picture = fs::read_to_string(&file)
        .unwrap_or_else(|_| panic!("RECORD=1 writes {file:?}"));
    assert_eq!(skeleton(page), skeleton(&picture), "RECORD=1 takes it anew");
}

/// A page without the numbers in it, its lists and its drawing.
fn skeleton(page: &str) -> String {
    let mut kept = String::new();
    let mut rest = page;
    while let Some(at) =
        ["<ol ", "<svg "].iter().filter_map(|tag| rest.find(tag)).min()
    {
        kept += &rest[..at];
        let end = if rest[at..].starts_with("<ol") { "</ol>" } else { "</svg>" };
        let close = rest[at..].find(end).expect("a list or a drawing ends");
        rest = &rest[at + close..];
    }
    (kept + rest).replace(|c: char| c.is_ascii_digit(), "")
}

/// Compares a text with its recording, save for the numbers in it.
pub fn assert_text_but_numbers(file: &str, text: &str) {
    let words = |text: &str| {
        text.split(|c: char| c.is_ascii_digit())
            .filter(|word| !word.is_empty())
            .map(str::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        words(text),
        words(&recording(file, text)),
        "RECORD=1 records it anew"
    );
}

impl Program {
    /// Runs the commands of a recorded session (its lines that begin with `$ `), and
    /// compares what they print. With `RECORD=1`, that is the new recording instead.
    pub fn assert_session(&self, file: &str) {
        assert_recorded(file, &self.session(file));
    }

    /// Runs the commands of a recorded session, and returns what they print now.
    pub fn session(&self, file: &str) -> String {
        session(file, &[("http://127.0.0.1:8698", &self.url)])
    }

    /// Compares the first chunks of a stream's body, as they arrive, with the recording.
    pub async fn assert_transcript(&self, name: &str, path: &str, chunks: usize) {
        let mut recording = Recording::of(self.get(path).await);
        for _ in 0..chunks {
            recording.chunk().await;
        }
        recording.assert(name);
    }
}

/// A stream's body, chunk by chunk as it arrives.
pub struct Recording {
    body: Response,
    start: Instant,
    /// When each chunk arrived, in milliseconds, and its text.
    chunks: Vec<(u64, String)>,
}

impl Recording {
    /// Begins to record the body of this response.
    pub fn of(body: Response) -> Self {
        assert_eq!(body.status(), 200);
        Self { body, start: Instant::now(), chunks: Vec::new() }
    }

    /// Waits for the next chunk.
    pub async fn chunk(&mut self) -> &str {
        let chunk = within("a chunk", self.body.chunk()).await.unwrap().unwrap();
        let ms = self.start.elapsed().as_millis() as u64;
        self.chunks.push((ms, String::from_utf8(chunk.to_vec()).unwrap()));
        &self.chunks.last().unwrap().1
    }

    /// Replaces a text that is different in each run by one that stays the same.
    pub fn mask(&mut self, random: &str, fixed: &str) {
        for (_, text) in &mut self.chunks {
            *text = text.replace(random, fixed);
        }
    }

    /// Compares the chunks, not their times, with the program's `transcript.jsonl`. With
    /// `RECORD=1` in the environment, they are the new recording instead.
    pub fn assert(&self, name: &str) {
        let line = |(ms, text): &(u64, String)| {
            format!("{}\n", json!({ "ms": ms, "text": text }))
        };
        let file = format!("{name}/recorded/transcript.jsonl");
        let recorded =
            recording(&file, &self.chunks.iter().map(line).collect::<String>());
        let recorded: Vec<String> = recorded
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|line| line["text"].as_str().unwrap().to_string())
            .collect();
        let chunks: Vec<_> =
            self.chunks.iter().map(|(_, text)| text.clone()).collect();
        assert_eq!(chunks, recorded, "RECORD=1 records it anew");
    }
}
