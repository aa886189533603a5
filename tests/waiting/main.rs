//! `async-tasks.md`, `async-shared.md`, `async-select.md`: what each program of `waiting`
//! prints, and what the compiler says of those that it refuses.

mod answers;

use std::process::{Command, Stdio};
use std::time::Duration;

use tests::{Process, assert_recorded, example, root, run};

/// Runs a program to its end, and compares what it prints.
fn assert_prints(name: &str) {
    let ended = run(name, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_recorded(&format!("waiting/recorded/{name}.txt"), &ended.stdout);
}

/// Lets the compiler refuse a program, and compares what it says up to this text.
fn assert_refused(name: &str, end: &str) {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .env("CARGO_TERM_COLOR", "never")
        .args(["run", "--quiet", "--package", "waiting", "--features", "wrong"])
        .args(["--example", name])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(101), "it does not compile");
    let said = String::from_utf8(output.stderr).unwrap();
    let (said, _) = said.split_once(end).unwrap_or_else(|| panic!("{said}"));
    assert_recorded(&format!("waiting/recorded/{name}.txt"), said);
}

#[test]
fn two_that_wait_at_once_need_no_more_time_than_the_longer_one() {
    assert_prints("wait_await");
}

#[test]
fn a_sleep_of_the_thread_holds_up_everybody_on_it() {
    assert_prints("wait_block");
}

#[test]
fn a_task_fails_alone_and_ends_with_main() {
    assert_prints("wait_spawn");
}

#[test]
fn a_task_may_not_borrow_from_the_function_that_starts_it() {
    assert_refused("wait_borrow", "   = note: async blocks");
}

#[test]
fn a_dropped_future_goes_no_further_and_a_task_does() {
    assert_prints("wait_drop");
}

#[test]
fn a_sum_in_two_steps_loses_what_comes_between() {
    assert_prints("wait_lost");
}

#[test]
fn a_task_may_not_hold_a_lock_while_it_waits() {
    assert_refused("wait_held", "note: required by");
}

#[tokio::test]
async fn a_lock_held_over_an_await_stops_its_whole_thread() {
    let mut command = example("wait_stuck");
    command.stdout(Stdio::piped());
    let mut stuck = Process::spawn(command);
    let mut printed = String::new();
    for _ in 0..3 {
        printed += &(stuck.line().await + "\n");
    }
    assert_recorded("waiting/recorded/wait_stuck.txt", &printed);
    // Its sleep is over after a tenth of that.
    let more = tokio::time::timeout(Duration::from_secs(1), stuck.line());
    assert!(more.await.is_err(), "nothing goes on");
}

#[test]
fn a_full_channel_lets_its_sender_wait() {
    assert_prints("wait_channel");
}

#[test]
fn a_watch_has_the_newest_value_alone() {
    assert_prints("wait_watch");
}

#[test]
fn a_notification_between_look_and_wait_is_lost_unless_asked_for_before() {
    assert_prints("wait_notify");
}

#[test]
fn whatever_comes_first_is_selected() {
    assert_prints("wait_select");
}

#[test]
fn what_a_dropped_future_has_half_read_is_lost() {
    assert_prints("wait_half");
}

#[test]
fn a_stream_does_nothing_until_it_is_asked() {
    assert_prints("wait_unfold");
}

#[test]
fn a_guard_outside_of_the_stream_is_dropped_before_the_first_event() {
    assert_prints("wait_guard");
}
