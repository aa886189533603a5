//! A full disk, which is a small one of the test's own.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::tempdir;
use tests::until;

use crate::client::{Feed, Reader, id};

/// A small disk for one folder, unmounted when this is dropped.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(folder: &'a Path, size: &str) -> Self {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        assert!(mount.arg(folder).status().unwrap().success());
        Self(folder)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.0).status());
    }
}

#[tokio::test]
#[ignore = "needs root"]
async fn on_a_full_disk_no_event_is_lost_and_reading_goes_on() {
    let folder = tempdir().unwrap();
    let _disk = SmallDisk::mount(folder.path(), "6m");
    let ballast = folder.path().join("ballast");
    fs::write(&ballast, vec![7; 3 << 20]).unwrap();
    let mut feed = Feed::start(folder.path()).await;
    let mut reader = feed.listen("/events?from=start").await;
    let mut stored = Vec::new();
    let text = "x".repeat(1_000);
    // Posts until there is no room, and returns the answer to the post that found none.
    let fill = async |feed: &Feed, stored: &mut Vec<String>| {
        loop {
            let key = format!("key-{}", stored.len());
            let answer = feed.post_note(&format!("{key} {text}"), Some(&key)).await;
            if answer.status() != 201 {
                break answer;
            }
            stored.push(id(answer).await);
            assert!(stored.len() < 6_000, "6 MB were enough");
        }
    };
    let read_all = async |reader: &mut Reader, stored: &[String]| {
        for id in stored {
            assert_eq!(reader.next().await.id, *id);
        }
        assert_eq!(reader.events, [], "no event that was refused is there");
    };

    let answer = fill(&feed, &mut stored).await;
    assert_eq!(answer.status(), 507);
    let answer = answer.text().await.unwrap();
    assert!(answer.contains("disk is full"), "{answer}");
    assert!(stored.len() > 100, "{}", stored.len());
    read_all(&mut reader, &stored).await;
    for _ in 0..5 {
        assert!(feed.post_note(&text, None).await.status().is_server_error());
        let mut again = feed.listen("/events?from=start").await;
        read_all(&mut again, &stored).await;
        assert!(feed.look(&stored[0]).await.is_some());
    }
    // When there is room again, the program writes on without a restart.
    fs::remove_file(&ballast).unwrap();
    let full = stored.len();
    until("it writes again", async || {
        feed.post_note("room!", Some("room")).await.status() == 201
    })
    .await;
    stored.push(id(feed.post_note("room!", Some("room")).await).await);
    let answer = fill(&feed, &mut stored).await;
    assert_eq!(answer.status(), 507);
    assert!(stored.len() > full + 100, "{full}, {}", stored.len());
    read_all(&mut reader, &stored[full..]).await;
    // Kill it, and start it on the full disk.
    feed.stop();
    feed = Feed::start(folder.path()).await;
    let mut again = feed.listen("/events?from=start").await;
    read_all(&mut again, &stored).await;
}
