//! A page in the middle of the book: it gives a new number to every chapter behind it, and
//! whoever puts it there mends what `cargo book check` names, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lazy_regex::regex::Regex;
use tests::{copy_book, root, run_book};

use crate::{add, edit};

/// Every number behind "chapter" or "chapters" in these texts, in order.
fn numbers(files: &[PathBuf]) -> Vec<u32> {
    let mention = Regex::new(r"(?i)\b(?:chapters?|capitol[oi])\s+\[?(\d+)").unwrap();
    let of = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        let text = text.replace("\n//!", "\n");
        let numbers =
            mention.captures_iter(&text).map(|found| found[1].parse().unwrap());
        numbers.collect::<Vec<u32>>()
    };
    files.iter().flat_map(of).collect()
}

/// The pages, the texts about the book, and the programs and tests.
fn texts(book: &Path) -> Vec<PathBuf> {
    let names = ["-name", "*.md", "-o", "-name", "*.rs"];
    let listed = Command::new("find").arg(book).args(names).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let mut files: Vec<_> = listed.lines().map(PathBuf::from).collect();
    // An exercise's version of a program has the header of the program.
    let exercises = book.join("exercises");
    files.retain(|file| {
        !file.ends_with("between.md")
            && !file.ends_with("CHANGELOG.md")
            && !file.starts_with(&exercises)
    });
    files.sort();
    files
}

/// Writes the right number where `check` says that one is wrong.
fn mend(book: &Path, problem: &str) {
    let link = r"^(.*):(\d+): this link says chapter ([\d.]+), and (\S+) is chapter ([\d.]+)$";
    let header = r"^(.*):(\d+): the header names chapter ([\d., ]+); \w+ is shown in ([\d., ]+)$";
    let link = Regex::new(link).unwrap();
    let header = Regex::new(header).unwrap();
    let Some(place) = link.captures(problem).or(header.captures(problem)) else {
        panic!("nothing to follow: {problem}");
    };
    let file = book.join(&place[1]);
    let text = fs::read_to_string(&file).unwrap();
    let mut lines: Vec<String> = text.split('\n').map(String::from).collect();
    let line = &mut lines[place[2].parse::<usize>().unwrap() - 1];
    if let Some(right) = place.get(5) {
        let wrong = format!(r"\b{}(\]\([^)]*{})", &place[3], &place[4]);
        let right = format!("{}${{1}}", right.as_str());
        *line = Regex::new(&wrong).unwrap().replace(line, right).into_owned();
    } else {
        let numbers = |list: &str| -> Vec<String> {
            let mut numbers: Vec<_> = list.split(", ").map(String::from).collect();
            numbers.sort_by_key(|n| {
                n.split('.').next().unwrap().parse::<u32>().unwrap()
            });
            numbers
        };
        for (wrong, right) in numbers(&place[3]).iter().zip(numbers(&place[4])).rev()
        {
            let wrong = wrong.replace('.', r"\.");
            let wrong = Regex::new(&format!(r"\b{wrong}\b")).unwrap();
            *line = wrong.replace(line, right).into_owned();
        }
    }
    fs::write(file, lines.join("\n")).unwrap();
}

/// A chapter that has what each chapter has.
const CHAPTER: &str = "# In between

<div class=\"lesson\">

**You will** read it.

</div>

## Change it {#change-it}

### One {#one}

### Two {#two}

### Three {#three}

### Four {#four}

## You can now {#you-can-now}
";

#[test]
fn whoever_puts_a_page_in_the_middle_is_told_of_every_number_that_it_makes_wrong() {
    let folder = copy_book();
    let book = folder.path();
    for name in
        ["tests", "README.md", "ARCHITECTURE.md", "STYLE.md", "CONTRIBUTING.md"]
    {
        let copied =
            Command::new("cp").arg("-r").arg(root().join(name)).arg(book).status();
        assert!(copied.unwrap().success());
    }
    let texts = texts(book);
    let before = numbers(&texts);
    assert!(before.iter().filter(|number| **number > 1).count() > 100);

    add(book, "src/en/between.md", CHAPTER);
    let second = "- [The first stream](tick.md)";
    edit(
        book,
        "src/en/SUMMARY.md",
        second,
        &format!("- [In between](between.md)\n{second}"),
    );
    let told = run_book(book, &["check"]);
    assert_eq!(told.code, Some(1));
    // A header's number that is none any more is named once more, with the right one.
    let is_told_twice = |line: &str| {
        line.starts_with("examples/") && line.contains("SUMMARY.md has no chapter")
    };
    let problems = told.stdout.lines().filter(|line| line.contains(" chapter "));
    let problems = problems.filter(|line| !is_told_twice(line));
    problems.for_each(|problem| mend(book, problem));

    let after = run_book(book, &["check"]);
    assert_eq!(after.code, Some(0), "{}", after.stdout);
    let moved: Vec<_> = before
        .iter()
        .map(|number| if *number > 1 { number + 1 } else { 1 })
        .collect();
    assert_eq!(numbers(&texts), moved);
}
