//! The arguments of the client.

use tests::Ended;

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
