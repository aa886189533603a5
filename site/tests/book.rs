//! `cargo book`: what it builds, what it finds, what it serves, and how it helps
//! translators. Every test works on a copy of the book.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tests::{Ended, Program, book, copy_book, root, run_book, until, within};

/// Changes a file of a book.
fn edit(book: &Path, file: &str, from: &str, to: &str) {
    let path = book.join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} does not contain {from}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

fn add(book: &Path, file: &str, text: &str) {
    let path = book.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let old = fs::read_to_string(&path).unwrap_or_default();
    fs::write(path, old + text).unwrap();
}

/// Builds a book into `out` beside it, and gives a page of it.
fn built(book: &Path, page: &str) -> String {
    let ended = run_book(book, &["build", "--dest", "out"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    fs::read_to_string(book.join("out").join(page)).unwrap()
}

/// Makes an Italian page translate the English one as it is now.
fn refresh(book: &Path, page: &str) {
    let ended = run_book(book, &["translate", "it", page]);
    let first = ended.stdout.lines().rfind(|line| line.starts_with("<!--")).unwrap();
    let path = book.join("src/it").join(page);
    let text = fs::read_to_string(&path).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    fs::write(path, format!("{first}\n{rest}")).unwrap();
}

#[test]
fn the_book_has_nothing_to_mend_and_is_complete_in_italian() {
    let ended = run_book(&root(), &["check", "--complete", "it"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.ends_with("nothing to mend\n"), "{}", ended.stdout);
}

/// A mistake in the sources, and what `check` says of it.
struct Mistake {
    name: &'static str,
    make: fn(&Path),
    /// The file, and a text on the line that `check` must name; no text, the last line.
    place: (&'static str, &'static str),
    says: &'static str,
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "an include whose file is missing",
        make: |book| {
            edit(book, "src/en/tick.md", "main.rs:router", "nothing.rs:router")
        },
        place: ("src/en/tick.md", "nothing.rs:router"),
        says: "there is no file ../../examples/tick/nothing.rs",
    },
    Mistake {
        name: "an include whose anchor is missing",
        make: |book| edit(book, "src/en/tick.md", "main.rs:router", "main.rs:route"),
        place: ("src/en/tick.md", "main.rs:route}"),
        says: "has no `ANCHOR: route`",
    },
    Mistake {
        name: "an anchor that has no end",
        make: |book| {
            edit(book, "examples/tick/main.rs", "// ANCHOR_END: router", "//")
        },
        place: ("src/en/tick.md", "main.rs:router"),
        says: "has no `ANCHOR: router`",
    },
    Mistake {
        name: "an include by line numbers",
        make: |book| edit(book, "src/en/tick.md", "main.rs:router", "main.rs:3:7"),
        place: ("src/en/tick.md", "main.rs:3:7"),
        says: "line numbers move",
    },
    Mistake {
        name: "a link to a page that does not exist",
        make: |book| add(book, "src/en/glossary.md", "\n[gone](gone.md)\n"),
        place: ("src/en/glossary.md", "gone.md"),
        says: "gone.md leads nowhere: there is no such page",
    },
    Mistake {
        name: "a link to a heading that does not exist",
        make: |book| add(book, "src/en/glossary.md", "\n[gone](tick.md#gone)\n"),
        place: ("src/en/glossary.md", "#gone"),
        says: "tick.md#gone leads nowhere: the page has no id `gone`",
    },
    Mistake {
        name: "a link to a heading of the same page that does not exist",
        make: |book| add(book, "src/en/glossary.md", "\n[gone](#gone)\n"),
        place: ("src/en/glossary.md", "#gone"),
        says: "#gone leads nowhere",
    },
    Mistake {
        name: "a broken link in a translation",
        make: |book| add(book, "src/it/glossary.md", "\n[persa](persa.md)\n"),
        place: ("src/it/glossary.md", "persa.md"),
        says: "persa.md leads nowhere: there is no such page",
    },
    Mistake {
        name: "a link that works only at the top of a host",
        make: |book| add(book, "src/en/glossary.md", "\n[top](/tick.html)\n"),
        place: ("src/en/glossary.md", "[top]"),
        says: "leaves the book",
    },
    Mistake {
        name: "a link that climbs out of the book",
        make: |book| add(book, "src/en/glossary.md", "\n[out](../tick.md)\n"),
        place: ("src/en/glossary.md", "../tick.md"),
        says: "../tick.md leads nowhere",
    },
    Mistake {
        name: "a picture that does not exist",
        make: |book| add(book, "src/en/glossary.md", "\n![a picture](gone.svg)\n"),
        place: ("src/en/glossary.md", "gone.svg"),
        says: "gone.svg leads nowhere",
    },
    Mistake {
        name: "a panel of a program that is not mounted",
        make: |book| {
            edit(book, "src/en/index.md", "src=\"tick/ticks\"", "src=\"tock/ticks\"")
        },
        place: ("src/en/index.md", "tock"),
        says: "tock/ticks belongs to no program",
    },
    Mistake {
        name: "a translation that includes something else",
        make: |book| edit(book, "src/it/tick.md", "main.rs:router", "main.rs:main"),
        place: ("src/it/tick.md", "rs:main}}\n```\n\n`#[handler]`"),
        says: "the English page {{#include ../../examples/tick/main.rs:router}}",
    },
    Mistake {
        name: "a translation that lacks an include",
        make: |book| {
            let last = "{{#include ../../tests/pages/named.html:listener}}";
            edit(book, "src/it/tick.md", last, "");
        },
        place: ("src/it/tick.md", ""),
        says: "does not include {{#include ../../tests/pages/named.html:listener}}",
    },
    Mistake {
        name: "a translation with a heading too many",
        make: |book| add(book, "src/it/glossary.md", "\n## Altro\n"),
        place: ("src/it/glossary.md", "## Altro"),
        says: "the English page has no such heading",
    },
    Mistake {
        name: "a translation with a heading too few",
        make: |book| edit(book, "src/it/tick.md", "## Due route", "Due route"),
        place: ("src/it/tick.md", ""),
        says: "no heading for the English \"## What to read next\"",
    },
    Mistake {
        name: "a translation with a heading of another level",
        make: |book| edit(book, "src/it/tick.md", "## Due route", "### Due route"),
        place: ("src/it/tick.md", "### Due route"),
        says: "level 3, the English one 2",
    },
    Mistake {
        name: "a heading with an id of its own",
        make: |book| {
            edit(book, "src/it/tick.md", "## Due route", "## Due route {#due}")
        },
        place: ("src/it/tick.md", "{#due}"),
        says: "ids from the English page",
    },
    Mistake {
        name: "a bad first line",
        make: |book| {
            edit(book, "src/it/tick.md", "<!-- translates: ", "<!-- translates ")
        },
        place: ("src/it/tick.md", "<!-- translates"),
        says: "the first line is not `<!-- translates: BLOB -->`",
    },
    Mistake {
        name: "a summary that names a page of its own",
        make: |book| {
            add(book, "src/it/solo.md", "# Solo\n");
            add(book, "src/it/SUMMARY.md", "[Solo](solo.md)\n");
        },
        place: ("src/it/SUMMARY.md", "solo.md"),
        says: "does not name solo.md",
    },
    Mistake {
        name: "a page that no summary names",
        make: |book| add(book, "src/en/lost.md", "# Lost\n"),
        place: ("src/en/lost.md", "# Lost"),
        says: "does not name this page",
    },
    Mistake {
        name: "a word that the interface does not say",
        make: |book| edit(book, "src/it/language.toml", "\"Copy\" =", "\"Copie\" ="),
        place: ("src/it/language.toml", "Copie"),
        says: "does not say \"Copie\"",
    },
];

#[test]
fn check_names_file_and_line_of_every_mistake() {
    for mistake in MISTAKES {
        let folder = copy_book();
        (mistake.make)(folder.path());
        let Ended { code, stdout, stderr } = run_book(folder.path(), &["check"]);
        let (file, text) = mistake.place;
        let source = fs::read_to_string(folder.path().join(file)).unwrap();
        let at =
            if text.is_empty() { source.len() } else { source.find(text).unwrap() };
        let place = format!("{file}:{}: ", source[..at].matches('\n').count() + 1);
        let found = stdout
            .lines()
            .any(|line| line.starts_with(&place) && line.contains(mistake.says));
        assert!(found, "{}:\n{stdout}{stderr}", mistake.name);
        assert_eq!(code, Some(1), "{}", mistake.name);
    }
}

#[test]
fn missing_and_stale_pages_are_listed_and_fatal_where_a_language_must_be_complete() {
    let folder = copy_book();
    fs::remove_file(folder.path().join("src/it/glossary.md")).unwrap();
    edit(
        folder.path(),
        "src/en/tick.md",
        "# The first stream",
        "# The very first stream",
    );
    let listed = run_book(folder.path(), &["check"]);
    assert_eq!(listed.code, Some(0), "{}", listed.stdout);
    assert!(listed.stdout.contains("it: glossary.md is not translated yet"));
    assert!(listed.stdout.contains("it: tick.md translates an older text"));
    let fatal = run_book(folder.path(), &["check", "--complete", "it"]);
    assert_eq!(fatal.code, Some(1));
    assert!(fatal.stdout.ends_with("2 things to mend\n"), "{}", fatal.stdout);
    let unknown = run_book(folder.path(), &["check", "--complete", "xx"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("there is no translation into `xx`"));
}

#[test]
fn every_page_says_its_language_its_title_and_its_other_languages() {
    let folder = copy_book();
    edit(folder.path(), "book.toml", "# site-url", "site-url");
    edit(folder.path(), "book.toml", "# edit-url-template", "edit-url-template");
    let page = built(folder.path(), "it/tick.html");
    let base = "https://example.org/sse/";
    for sign in [
        "<html lang=\"it\" dir=\"ltr\">",
        "<title>Il primo stream - Server-Sent Events in Rust: eventi inviati dal server</title>",
        &format!("<link rel=\"canonical\" href=\"{base}it/tick.html\">"),
        &format!("hreflang=\"en\" href=\"{base}tick.html\">"),
        &format!("hreflang=\"it\" href=\"{base}it/tick.html\">"),
        &format!("hreflang=\"x-default\" href=\"{base}tick.html\">"),
        // The picker, with JavaScript off, keeps the page.
        "<a href=\"../tick.html\" lang=\"en\" hreflang=\"en\">English</a>",
        "<a href=\"../it/tick.html\" lang=\"it\" hreflang=\"it\" aria-current=\"true\">Italiano</a>",
        "<h2 id=\"named-events\"><a class=\"header\" href=\"#named-events\">Eventi con nome</a></h2>",
        "href=\"https://example.org/edit/main/src/it/tick.md\"",
        "aria-label=\"Indice\"",
    ] {
        assert!(page.contains(sign), "no {sign}");
    }
    let english = fs::read_to_string(folder.path().join("out/tick.html")).unwrap();
    assert!(english.contains("https://example.org/edit/main/src/en/tick.md"));
    let start = fs::read_to_string(folder.path().join("out/index.html")).unwrap();
    assert!(start.contains(&format!("<link rel=\"canonical\" href=\"{base}\">")));
}

#[test]
fn without_a_public_address_nothing_is_absolute_and_no_page_can_be_edited() {
    let folder = copy_book();
    let page = built(folder.path(), "it/tick.html");
    assert!(page.contains("hreflang=\"en\" href=\"../tick.html\">"));
    assert!(!page.contains("canonical") && !page.contains("rel=\"edit\""));
}

#[test]
fn without_javascript_a_page_shows_the_text_of_the_recording() {
    let folder = copy_book();
    let page = built(folder.path(), "tick.html");
    assert!(
        page.contains("<pre class=\"recording\"><code>data: 1\n\ndata: 2\n\n"),
        "{page}"
    );
}

#[test]
fn an_untranslated_page_shows_english_under_a_note() {
    let folder = copy_book();
    fs::remove_file(folder.path().join("src/it/tick.md")).unwrap();
    let page = built(folder.path(), "it/tick.html");
    assert!(page.contains("Questa pagina non è ancora tradotta"));
    assert!(page.contains("<main lang=\"en\">"));
    assert!(page.contains("<h1 id=\"the-first-stream\">"));
    // Search engines are told that this is the English page once more.
    assert!(!page.contains("hreflang=\"it\" href=\"../it/tick.html\">\n<link"));

    // A page that a translator has only begun is still English.
    run_book(folder.path(), &["translate", "it", "tick"]);
    assert!(built(folder.path(), "it/tick.html").contains("non è ancora tradotta"));
}

#[test]
fn a_stale_page_is_shown_under_a_note_and_its_translator_sees_what_changed() {
    let folder = copy_book();
    let book = folder.path();
    let git = |arguments: &[&str]| {
        let done =
            Command::new("git").current_dir(book).args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    edit(book, "src/en/tick.md", "# The first stream", "# The very first stream");
    let page = built(book, "it/tick.html");
    assert!(page.contains("La pagina inglese è cambiata"));
    assert!(page.contains("<h1 id=\"the-very-first-stream\">"));
    assert!(page.contains(
        "<a href=\"../tick.html\" lang=\"en\" hreflang=\"en\">English</a></p>"
    ));

    let shown = run_book(book, &["translate", "it", "tick.md"]);
    assert!(shown.stdout.contains("{+very+}"), "{}{}", shown.stdout, shown.stderr);
    refresh(book, "tick.md");
    let current = run_book(book, &["translate", "it", "tick.md"]);
    assert_eq!(current.stdout, "src/it/tick.md is up to date\n");
    assert!(!built(book, "it/tick.html").contains("La pagina inglese"));
}

#[test]
fn a_translator_starts_a_page_with_one_command_and_a_language_too() {
    let folder = copy_book();
    let started = run_book(folder.path(), &["translate", "pt-BR", "src/en/tick.md"]);
    assert_eq!(started.code, Some(0), "{}", started.stderr);
    let text = fs::read_to_string(folder.path().join("src/pt-BR/tick.md")).unwrap();
    let english = fs::read_to_string(folder.path().join("src/en/tick.md")).unwrap();
    assert!(text.starts_with("<!-- translates: ") && text.ends_with(&english));

    let checked = run_book(folder.path(), &["check"]);
    assert_eq!(checked.code, Some(0), "{}", checked.stdout);
    assert!(checked.stdout.contains("pt-BR: tick.md still holds the English text"));
    let page = built(folder.path(), "pt-BR/hello.html");
    assert!(page.contains("<html lang=\"pt-BR\""));
    assert!(page.contains("not translated yet"));

    for (arguments, says) in [
        (
            ["translate", "it", "nothing.md"],
            "there is no page nothing.md; there are index.md",
        ),
        (
            ["translate", "en", "tick.md"],
            "`en` is the language that the others translate",
        ),
        (["translate", "../x", "tick.md"], "`../x` is no language tag"),
    ] {
        let refused = run_book(folder.path(), &arguments);
        assert_eq!(refused.code, Some(1));
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    }
}

#[test]
fn the_404_page_speaks_all_languages_and_refers_to_nothing() {
    let folder = copy_book();
    let page = built(folder.path(), "404.html");
    assert!(page.contains("<section lang=\"en\">\n<h1>There is no such page"));
    assert!(page.contains("<section lang=\"it\">\n<h1>Questa pagina non esiste"));
    assert!(!page.contains("src=") && !page.contains("<link rel=\"stylesheet\""));
    assert!(!folder.path().join("out/it/404.html").exists());
}

#[test]
fn a_build_replaces_a_build_but_no_other_folder() {
    let folder = copy_book();
    built(folder.path(), "index.html");
    built(folder.path(), "index.html");
    let refused = run_book(folder.path(), &["build", "--dest", "src"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("holds something else than a built book"));
    assert!(folder.path().join("src/en/tick.md").exists());
}

#[test]
fn a_build_with_a_broken_include_fails_and_says_where() {
    let folder = copy_book();
    edit(folder.path(), "src/en/tick.md", "main.rs:router", "main.rs:route");
    let ended = run_book(folder.path(), &["build", "--dest", "out"]);
    assert_eq!(ended.code, Some(1));
    let place = "src/en/tick.md:";
    assert!(ended.stderr.starts_with(place), "{}", ended.stderr);
    assert!(ended.stderr.contains("ANCHOR: route"), "{}", ended.stderr);
}

#[test]
fn mistakes_in_settings_are_one_clear_line() {
    for (file, from, to, says) in [
        (
            "book.toml",
            "# site-url = \"https:",
            "site-url = \"sse:",
            "book.toml: site-url",
        ),
        ("src/it/language.toml", "name =", "nome =", "src/it/language.toml"),
    ] {
        let folder = copy_book();
        edit(folder.path(), file, from, to);
        let ended = run_book(folder.path(), &["build"]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
    let nowhere = tempfile::tempdir().unwrap();
    let ended = run_book(nowhere.path(), &["build"]);
    assert!(ended.stderr.starts_with("error: no book.toml in"), "{}", ended.stderr);
}

#[tokio::test]
async fn served_pages_are_compressed_and_streams_are_not() {
    let book = Program::serve_book().await;
    let get = |path| book.request("GET", path).header("accept-encoding", "gzip");
    let page = book.send(get("/tick.html")).await;
    assert_eq!(page.headers()["content-encoding"], "gzip");
    assert_eq!(page.headers()["cache-control"], "no-cache");
    for stream in ["/live/tick/ticks", "/live/reload"] {
        let stream = book.send(get(stream)).await;
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        assert_eq!(stream.headers()["x-accel-buffering"], "no");
        assert!(!stream.headers().contains_key("content-encoding"));
    }
    let html = book.get("/tick.html").await.text().await.unwrap();
    let (_, rest) = html.split_once("css/general-").unwrap();
    let (hash, _) = rest.split_once('"').unwrap();
    let css = book.send(get(&format!("/css/general-{hash}"))).await;
    assert_eq!(css.headers()["content-encoding"], "gzip");
    assert!(css.headers()["cache-control"].to_str().unwrap().contains("immutable"));
}

#[tokio::test]
async fn addresses_that_lead_nowhere_get_the_book_s_404_page() {
    let book = Program::serve_book().await;
    for path in ["/nothing", "/it/nothing.html", "/a/b/c"] {
        let answer = book.get(path).await;
        assert_eq!(answer.status(), 404);
        assert!(answer.text().await.unwrap().contains("Questa pagina non esiste"));
    }
    let posted = book.send(book.request("POST", "/tick.html")).await;
    assert_eq!(posted.status(), 405);
    let head = book.send(book.request("HEAD", "/tick.html")).await;
    assert_eq!(head.status(), 200);
    // A program's own page has relative addresses, so it needs the slash.
    let program = book.get("/live/tick").await;
    assert_eq!(program.url().path(), "/live/tick/");
    assert!(program.text().await.unwrap().contains("<title>tick</title>"));
}

#[tokio::test]
async fn a_new_page_appears_in_every_language_when_it_is_saved() {
    let book = Program::serve_book().await;
    let mut builds = book.events("/live/reload").await;
    let before = builds.next().await.unwrap();
    assert_eq!(before.event, "build");
    add(book.folder(), "src/en/x.md", "# A new page\n");
    edit(
        book.folder(),
        "src/en/SUMMARY.md",
        "[Glossary](glossary.md)",
        "[Glossary](glossary.md)\n[A new page](x.md)",
    );
    for path in ["/x.html", "/it/x.html"] {
        until(path, async || book.get(path).await.status() == 200).await;
        let page = book.get(path).await.text().await.unwrap();
        assert!(page.contains("<h1 id=\"a-new-page\">"));
    }
    assert_ne!(builds.data().await, before.data);
    let other = book.get("/it/tick.html").await.text().await.unwrap();
    assert!(other.contains("<a href=\"x.html\">A new page</a>"));
    // The Italian titles stay.
    assert!(
        other.contains("Il primo stream</a>") && other.contains(">Imparare</li>")
    );
}

#[tokio::test]
async fn a_mistake_while_writing_leaves_the_last_good_pages() {
    let book = Program::serve_book().await;
    edit(book.folder(), "src/it/language.toml", "[words]", "[words");
    until("a word on stderr", async || book.stderr().contains("language.toml"))
        .await;
    assert_eq!(book.get("/tick.html").await.status(), 200);
    edit(book.folder(), "src/it/language.toml", "[words", "[words]");
    edit(book.folder(), "src/en/tick.md", "# The first stream", "# Mended");
    until("the page", async || {
        book.get("/tick.html").await.text().await.unwrap().contains("Mended")
    })
    .await;
}

#[test]
fn a_taken_book_addr_is_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let folder = copy_book();
    let output = book(folder.path()).env("BOOK_ADDR", &addr).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr.contains(&addr) && stderr.contains("BOOK_ADDR=127.0.0.1:0"),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn help_names_the_commands() {
    let help = run_book(&root(), &["--help"]);
    assert_eq!(help.code, Some(0));
    for word in ["build", "check", "translate", "BOOK_ADDR", "127.0.0.1:3000"] {
        assert!(help.stdout.contains(word), "{}", help.stdout);
    }
}

/// What `POST /live/feed/kill` answers in a book.
async fn kill_feed(book: &Program) -> Value {
    let kill = book.request("POST", "/live/feed/kill").header("origin", &book.url);
    let killed = book.send(kill).await;
    assert_eq!(killed.status(), 200);
    killed.json().await.unwrap()
}

async fn write_to_feed(book: &Program, text: &str, key: &str) -> reqwest::Response {
    let note = json!({ "type": "note", "data": text });
    let write = book.request("POST", "/live/feed/events").json(&note);
    let write = write.header("origin", &book.url).header("idempotency-key", key);
    book.send(write).await
}

#[tokio::test]
async fn the_feed_in_the_book_is_killed_for_real_and_loses_nothing() {
    let book = Program::serve_book().await;
    let written = write_to_feed(&book, "one", "k1").await;
    assert_eq!(written.status(), 201);
    let location = written.headers()["location"].to_str().unwrap().to_string();
    let id = location.strip_prefix("events/").unwrap();
    let mut stream = book.get("/live/feed/events?from=start").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut heard = String::new();
    while !heard.contains(&format!("data: one\nid: {id}\n\n")) {
        let chunk = within("an event", stream.chunk()).await.unwrap().unwrap();
        heard += str::from_utf8(&chunk).unwrap();
    }

    let foreign =
        book.request("POST", "/live/feed/kill").header("origin", "http://a");
    assert_eq!(book.send(foreign).await.status(), 403);
    let killed = kill_feed(&book).await;
    assert_ne!(killed["killed"], killed["pid"]);
    let end = async {
        while stream.chunk().await?.is_some() {}
        Ok(())
    };
    let end: reqwest::Result<()> = within("the end of the stream", end).await;
    assert!(end.is_err(), "it was cut, and has not ended");

    // The same key is the same event, and what follows it is what came after it.
    let again = write_to_feed(&book, "one", "k1").await;
    assert_eq!(again.headers()["location"], location);
    assert_eq!(write_to_feed(&book, "other", "k1").await.status(), 422);
    assert_eq!(write_to_feed(&book, "two", "k2").await.status(), 201);
    let back = book.request("GET", "/live/feed/events").header("last-event-id", id);
    assert_eq!(book.events_of(back).await.data().await, "two");

    let again = kill_feed(&book).await;
    assert_eq!(again["killed"], killed["pid"]);
    let event = book.get(&format!("/live/feed/{location}")).await;
    assert_eq!(event.json::<Value>().await.unwrap()["data"], "one");
    assert_eq!(book.get("/live/feed/events/1-0").await.status(), 404);
}

/// The sockets that a process has open.
#[cfg(target_os = "linux")]
fn sockets(pid: &Value) -> usize {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let targets = links.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_leaves_the_feed_in_the_book_leaves_its_process_too() {
    let book = Program::serve_book().await;
    let pid = &kill_feed(&book).await["pid"];
    let none = sockets(pid);
    let mut readers = Vec::new();
    for _ in 0..5 {
        readers.push(book.get("/live/feed/events").await);
    }
    assert_eq!(sockets(pid), none + 5);
    drop(readers);
    until("all have left", async || sockets(pid) == none).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_feed_in_the_book_starts_again_by_itself_and_ends_with_the_book() {
    let mut book = Program::serve_book().await;
    let first = kill_feed(&book).await["pid"].clone();
    assert_eq!(write_to_feed(&book, "one", "k1").await.status(), 201);
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args(["-9", &first.to_string()]).status().unwrap().success());
    until("it is there again", async || {
        book.get("/live/feed/events/1-0").await.status() == 404
    })
    .await;
    let second = kill_feed(&book).await;
    assert_ne!(second["killed"], first);

    // A dead process has no command line, also where nobody has asked yet how it ended.
    let command = format!("/proc/{}/cmdline", second["pid"]);
    let line = fs::read_to_string(&command).unwrap();
    let folder = Path::new(line.trim_end_matches('\0').rsplit('\0').next().unwrap());
    assert!(folder.is_dir());
    book.stop();
    until("it has ended", async || {
        fs::read(&command).unwrap_or_default().is_empty() && !folder.exists()
    })
    .await;
}
