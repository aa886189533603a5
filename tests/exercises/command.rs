//! `cargo book exercise`, as a reader types it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use exercises::course::Course;
use exercises::{folder, source};
use tempfile::TempDir;
use tests::{Ended, book, copy_book};

/// A reader with a copy of the book, whose crates are compiled.
struct Reader {
    book: TempDir,
    /// Two readers would have their programs of the same name in one place.
    _alone: MutexGuard<'static, ()>,
}

impl Reader {
    fn new() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Self { book: copy_book(), _alone: alone }
    }

    /// Types `cargo book exercise` and these arguments.
    fn types(&self, arguments: &[&str]) -> Ended {
        let mut command = book(self.book.path());
        command
            .arg("exercise")
            .args(arguments)
            .env("LC_ALL", "C")
            .output()
            .unwrap()
            .into()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.book.path().join("try").join(name)
    }

    /// Changes a text in a file of an exercise.
    fn edits(&self, name: &str, from: &str, to: &str) {
        let file = self.file(name);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(file, text.replace(from, to)).unwrap();
    }
}

fn assert_has(ended: &Ended, code: i32, texts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    for text in texts {
        assert!(ended.stdout.contains(text), "no {text:?} in {}", ended.stdout);
    }
}

#[test]
fn a_reader_writes_is_told_what_is_wrong_and_is_done() {
    let reader = Reader::new();
    let name = "tick-from-seven";
    let row = |state: &str| format!("{state:5}  {name}");
    assert_has(&reader.types(&[]), 0, &[&row("to do")]);
    let made = reader.types(&[name]);
    assert_has(
        &made,
        0,
        &["Start at seven", "try/tick-from-seven/main.rs", "--check"],
    );
    let wrong = reader.types(&[name, "--check"]);
    let told = ["not yet", "The first event is not 7.", "data: 1", "data: 7"];
    assert_has(&wrong, 1, &told);
    assert_has(&reader.types(&[]), 0, &[&row("tried")]);
    reader.edits("tick-from-seven/main.rs", "n = 0_u64", "n = 6_u64");
    assert_has(&reader.types(&[name, "--check"]), 0, &["tick-from-seven: done"]);
    assert_has(&reader.types(&[]), 0, &[&row("done")]);
}

#[test]
fn what_a_reader_has_written_is_overwritten_by_a_reset_alone() {
    let reader = Reader::new();
    let file = "tick-from-seven/main.rs";
    reader.types(&["tick-from-seven"]);
    reader.edits(file, "n = 0_u64", "n = 5_u64");
    let again = reader.types(&["tick-from-seven"]);
    assert_has(&again, 0, &["is there already"]);
    let text = || fs::read_to_string(reader.file(file)).unwrap();
    assert!(text().contains("n = 5_u64"));
    assert_has(&reader.types(&["tick-from-seven", "--reset"]), 0, &["Write in:"]);
    assert!(text().contains("n = 0_u64"));
}

#[test]
fn a_reader_is_told_of_each_file_in_which_the_answer_is() {
    let reader = Reader::new();
    for (name, files) in [
        ("wire-decode-each-chunk", "parse.rs"),
        ("chat-nickname", "main.rs, try/chat-nickname/room.rs"),
    ] {
        let line = format!("Write in: try/{name}/{files}\n");
        assert_has(&reader.types(&[name]), 0, &[&line]);
    }
}

#[test]
fn the_solution_is_the_difference_from_what_is_written_to_the_answer() {
    let reader = Reader::new();
    let name = "tick-each-reader";
    let early = reader.types(&[name, "--solution"]);
    assert_has(&early, 0, &["You have not checked it yet", "-    static COUNT"]);
    reader.types(&[name]);
    reader.edits("tick-each-reader/main.rs", "COUNT", "NUMBERS");
    let shown = reader.types(&[name, "--solution"]).stdout;
    let (_, difference) = shown.split_once("\n\n").unwrap();
    let own = folder::read(&reader.file(name), name).unwrap();
    let course = Course::load(reader.book.path()).unwrap();
    let end = course.end(course.find(name).unwrap()).unwrap();
    assert_eq!(source::patched(&own, difference).unwrap(), end);
}

#[test]
fn a_program_that_does_not_compile_is_shown_with_the_first_error() {
    let reader = Reader::new();
    reader.types(&["tick-from-seven"]);
    reader.edits("tick-from-seven/main.rs", "let mut n = 0_u64", "let n = zero");
    let shown = reader.types(&["tick-from-seven", "--check"]);
    assert_has(
        &shown,
        1,
        &["does not compile", "cannot find value `zero`", "main.rs:"],
    );
}

#[test]
fn a_program_that_ends_at_once_is_shown_with_its_last_words() {
    let reader = Reader::new();
    reader.types(&["tick-from-seven"]);
    let file = "tick-from-seven/main.rs";
    reader.edits(file, "println!(\"listening on", "panic!(\"no words: ");
    let shown = reader.types(&["tick-from-seven", "--check"]);
    assert_has(&shown, 1, &["ended before it listened", "no words: "]);
}

#[test]
fn the_words_are_those_of_the_environment_or_of_an_option() {
    let reader = Reader::new();
    let listed = reader.types(&["--lang", "it"]);
    assert_has(&listed, 0, &["da fare  tick-from-seven", "Conta da sette"]);
    let mut command = book(reader.book.path());
    command.arg("exercise").env_remove("LC_ALL").env_remove("LC_MESSAGES");
    let environment = command.env("LANG", "it_IT.UTF-8").output().unwrap();
    assert_eq!(Ended::from(environment).stdout, listed.stdout);
    let other = reader.types(&["--lang", "tlh"]);
    assert_has(&other, 0, &["to do  tick-from-seven"]);
}

#[test]
fn a_name_that_is_none_is_answered_with_the_nearest() {
    let reader = Reader::new();
    let ended = reader.types(&["tick-from-sevne"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("`tick-from-seven`"), "{ended:?}");
    let half = reader.types(&["tick-frm"]);
    assert!(half.stderr.contains("the nearest are `tick-from-"), "{half:?}");
    let unmade = reader.types(&["tick-from-seven", "--check"]);
    assert_eq!(unmade.code, Some(1));
    assert!(
        unmade.stderr.contains("cargo book exercise tick-from-seven"),
        "{unmade:?}"
    );
}

/// A server in Python: each reader gets numbers, from the one that it is told.
const PYTHON: &str = r#"
import http.server, sys, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            for n in range(int(sys.argv[1]), 100):
                self.wfile.write(f"data: {n}\n\n".encode())
                time.sleep(0.2)
        except OSError:
            pass
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

/// Python, which is killed when the test is over.
struct Python(std::process::Child);

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
#[ignore = "needs python3"]
fn a_server_in_another_language_is_checked_at_its_address() {
    let reader = Reader::new();
    for (first, code) in [("1", 1), ("7", 0)] {
        let mut command = Command::new("python3");
        command.args(["-c", PYTHON, first]).stdout(Stdio::piped());
        let mut python = Python(command.spawn().unwrap());
        let mut line = String::new();
        let stdout = python.0.stdout.as_mut().unwrap();
        let mut lines = std::io::BufReader::new(stdout);
        std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
        let url = format!("http://127.0.0.1:{}", line.trim());
        let checked = reader.types(&["tick-from-seven", "--url", &url]);
        assert_has(&checked, code, &["tick-from-seven"]);
    }
    assert!(
        !Path::new(&reader.file("tick-from-seven")).exists(),
        "it needs no folder"
    );
}
