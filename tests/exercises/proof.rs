//! The proof of all exercises: every version of each is built in one call of Cargo, and
//! checked. `EXERCISE=NAME` leaves out all others.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::{Path, PathBuf};

use exercises::checks::check;
use exercises::course::Course;
use exercises::fault::Fault;
use exercises::source::Files;
use exercises::subject::Subject;
use exercises::{cargo, proof};
use futures_util::{StreamExt, stream};
use tests::root;

/// Checks at a time. They wait more than they compute.
const AT_ONCE: usize = 8;

/// A version of an exercise, and the fault that its check has to find.
struct Version {
    exercise: String,
    /// As in `start`, `end` or `wrong-first`.
    name: String,
    files: Files,
    fault: Option<String>,
    /// A program that its check starts, and that not every machine has.
    needs: Option<String>,
}

/// The versions of all exercises, or of the one that the environment names.
fn versions(course: &Course) -> Vec<Version> {
    let only = env::var("EXERCISE").ok();
    let mut versions = Vec::new();
    for (name, definition) in &course.definitions {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let mut add = |version: &str, files, fault: Option<&String>| {
            versions.push(Version {
                exercise: name.clone(),
                name: version.into(),
                files,
                fault: fault.cloned(),
                needs: definition.needs.clone(),
            });
        };
        let fault = Some(&definition.fault);
        let breaks = definition.breaks();
        let start = course.start(definition).unwrap();
        let end = course.end(definition).unwrap();
        assert_ne!(start, end, "{name} has nothing to do");
        add("start", start, fault.filter(|_| !breaks));
        add("end", end, fault.filter(|_| breaks));
        for (fault, files) in course.wrong(definition).unwrap() {
            add(&format!("wrong-{fault}"), files, Some(&fault));
        }
    }
    assert!(!versions.is_empty(), "no exercise is called {only:?}");
    versions
}

/// Builds all versions, and returns the program of each, which is to be told its name.
async fn build(versions: &[Version], folder: &str) -> BTreeMap<String, PathBuf> {
    let exe = env::current_exe().unwrap();
    let target = exe.ancestors().nth(3).unwrap();
    let files =
        versions.iter().map(|version| (full(version), version.files.clone()));
    let files: BTreeMap<_, _> = files.collect();
    // The features of crates that are compiled already: those of `cargo run --example`, or
    // of the tests of the whole workspace.
    let (like, kinds): (&[_], &[_]) = if tests::IN_WORKSPACE {
        (
            &["examples", "exercises", "site", "tests"],
            &["dependencies", "dev-dependencies"],
        )
    } else {
        (&["examples"], &["dependencies"])
    };
    let folder = target.join(folder);
    let packages = proof::write(&root(), &folder, &files, like, kinds).unwrap();
    let mut command = cargo::command(&folder);
    command
        .arg("--workspace")
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_INCREMENTAL", "0");
    let built = cargo::run(command).await;
    let built = built.unwrap_or_else(|fault| panic!("{}", fault.came));
    let program = |(version, package)| (version, built[&package].clone());
    packages.into_iter().map(program).collect()
}

/// The full name of a version, as in `tick-from-seven--start`.
fn full(version: &Version) -> String {
    format!("{}--{}", version.exercise, version.name)
}

/// The sentence that says what is wrong with a version, if something is.
async fn prove(version: &Version, program: &Path) -> Option<String> {
    let mut subject = Subject::program(program).unwrap();
    subject.set(proof::VERSION, &full(version)).unwrap();
    let found = check(&version.exercise, &mut subject).await.err();
    let name = found.as_ref().map(|fault| &fault.name);
    if name == version.fault.as_ref() {
        return None;
    }
    let exercise = &version.exercise;
    let came = match found {
        None => "nothing is wrong with it".into(),
        Some(Fault { name, came, should }) => {
            format!(
                "{name}: {came:?} came, not {should:?}; stderr: {}",
                subject.stderr()
            )
        }
    };
    let wanted = version.fault.as_deref().unwrap_or("nothing wrong");
    Some(format!(
        "exercises/{exercise}, its {}: not {wanted}, but {came}",
        version.name
    ))
}

#[tokio::test]
async fn every_start_has_the_fault_that_it_says_and_every_answer_has_none() {
    prove_all(None, "exercises").await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn the_same_is_so_where_a_check_starts_a_redis() {
    prove_all(Some("redis-server"), "exercises-redis").await;
}

/// Proves the exercises whose checks need this program, or none.
async fn prove_all(needs: Option<&str>, folder: &str) {
    let course = Course::load(&root()).unwrap();
    let mut versions = versions(&course);
    versions.retain(|version| version.needs.as_deref() == needs);
    if versions.is_empty() {
        return; // `EXERCISE` names another one
    }
    let programs = build(&versions, folder).await;
    let proofs =
        versions.iter().map(|version| prove(version, &programs[&full(version)]));
    let found: Vec<_> =
        stream::iter(proofs).buffer_unordered(AT_ONCE).collect().await;
    let wrong: Vec<_> = found.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A check that no wrong answer fails says nothing.
#[test]
fn every_fault_is_shown_by_a_version() {
    let course = Course::load(&root()).unwrap();
    let versions = versions(&course);
    let mut unseen = Vec::new();
    for (name, definition) in &course.definitions {
        let own = versions.iter().filter(|version| &version.exercise == name);
        let shown: BTreeSet<_> = own.filter_map(|own| own.fault.as_ref()).collect();
        let faults = definition.faults.keys();
        let unshown =
            faults.filter(|fault| !shown.contains(fault) && !shown.is_empty());
        unseen.extend(unshown.map(|fault| format!("{name}: {fault}")));
    }
    assert!(unseen.is_empty(), "add wrong-FAULT.diff or .rs for {unseen:#?}");
}

#[test]
fn a_chain_of_exercises_ends_as_the_program_that_it_says() {
    let course = Course::load(&root()).unwrap();
    for (name, definition) in &course.definitions {
        let Some(program) = &definition.ends_as else { continue };
        let mut end = course.end(definition).unwrap();
        let mut program = course.program(program).unwrap();
        // The manifest gains what a step needs, in an order of its own.
        for files in [&mut end, &mut program] {
            files.remove("Cargo.toml");
        }
        assert_eq!(end, program, "{name}");
    }
}
