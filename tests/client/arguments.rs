//! The arguments of the client.

#[cfg(unix)]
use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use tests::{Ended, Process, example};

use crate::client::Client;

#[tokio::test]
async fn bad_arguments_are_one_clear_line() {
    let url = "http://127.0.0.1:1/";
    for args in [
        &[][..],
        &["banana"],
        &["ftp://127.0.0.1/"],
        &["http://"],
        &[url, url],
        &["--josn", url],
        &["--json=yes", url],
        &["--idle", "0", url],
        &["--idle", "-1", url],
        &["--idle", "soon", url],
        &["--max-attempts", "0", url],
        &["--max-event", "1e6", url],
        &["--last-event-id", "a\nb", url],
        &["-H", "no colon secret", url],
        &["-H", "a b: secret", url],
        &["-H", "a: secret\nb", url],
        &["-H"],
    ] {
        let Ended { code, stdout, stderr } = Client::start(args).ended().await;
        assert_eq!((code, &*stdout), (Some(1), ""), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
        assert!(stderr.contains("--help"), "{args:?}: {stderr}");
        assert!(!stderr.contains("secret"), "{args:?}: {stderr}");
    }
}

/// A password may stand in any argument, in a wrong place, too.
#[tokio::test]
async fn no_complaint_about_the_arguments_shows_one() {
    const SECRET: &str = "http://ann:secret@127.0.0.1:1/";
    for args in [
        &["ftp://ann:secret@127.0.0.1/"][..],
        &["http://ann:secret@"],
        &["http:///ann:secret@"],
        &["http://ann:secret@127.0.0.1:99999/"],
        &["http://ann:secret@[::1/"],
        &["http://ann:secret@a b/"],
        &["ann:secret@127.0.0.1"],
        &["//ann:secret@127.0.0.1/"],
        &["secret"],
        &["", SECRET],
        &[SECRET, SECRET],
        &["--json", SECRET, "secret"],
        &["--http://ann:secret@127.0.0.1/"],
        &["--json=http://ann:secret@127.0.0.1/"],
        &["--idle", SECRET],
        &["--idle=secret", SECRET],
        &["--max-event", SECRET],
        &["--max-attempts", SECRET],
        &["--last-event-id", "secret\n", SECRET],
        &["-H", "secret", SECRET],
        &["-H", "Bearer secret: a", SECRET],
        &["-H", "Authorization: secret\nb", SECRET],
    ] {
        let Ended { code, stdout, stderr } = Client::start(args).ended().await;
        let showed = format!("{args:?}: {stdout}{stderr}");
        assert_eq!(code, Some(1), "{showed}");
        assert!(!showed.split_once("]: ").unwrap().1.contains("secret"), "{showed}");
        assert_eq!(stderr.lines().count(), 1, "{showed}");
    }
    #[cfg(unix)]
    for option in [&[][..], &["--json"], &["-H"], &["--idle"]] {
        let mut command = example("client");
        command.args(option).arg(OsStr::from_bytes(b"http://ann:secret@\xff/"));
        let Ended { code, stderr, .. } = Process::spawn(command).ended().await;
        assert_eq!(code, Some(1), "{stderr}");
        assert!(!stderr.contains("secret"), "{stderr}");
    }
    // A slip of the keyboard is still named.
    let ended = Client::start(&["--josn"]).ended().await;
    assert!(ended.stderr.contains("--josn"), "{ended:?}");
}

#[tokio::test]
async fn help_names_the_options_and_the_exit_codes() {
    for flag in ["--help", "-h"] {
        let Ended { code, stdout, stderr } = Client::start(&[flag]).ended().await;
        assert_eq!((code, &*stderr), (Some(0), ""));
        for part in [
            "--json",
            "--last-event-id ID",
            "-H, --header",
            "--idle SECONDS",
            "--max-event BYTES",
            "--max-attempts N",
            "no more than a day",
            "HTTP_PROXY",
            "NO_PROXY",
            "431",
            "    0  ",
            "    1  ",
            "    2  ",
            "    3  ",
            "    4  ",
        ] {
            assert!(stdout.contains(part), "{part}");
        }
    }
}
