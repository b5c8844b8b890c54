//! What a newcomer runs first.

use crate::parts::{Settings, run};
use crate::services::folder;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_shows_a_whole_incident_in_an_empty_folder() {
    let folder = folder();
    let shown = run("dogwatch", &["demo", "--exit-after", "12s"], &Settings::new(), folder.path()).await;
    let story = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(shown.status.code(), Some(0), "{story}{}", String::from_utf8_lossy(&shown.stderr));
    for what in ["created", "warned", "breached", "escalated", "mailed", "http://127.0.0.1:", "password"] {
        assert!(story.contains(what), "{what} is missing in:\n{story}");
    }
    let mails = std::fs::read_dir(folder.path().join("data/mail")).expect("a folder of mails");
    let mut told = Vec::new();
    for mail in mails {
        let path = mail.unwrap().path();
        assert_eq!(path.extension().and_then(|extension| extension.to_str()), Some("eml"));
        let text = std::fs::read_to_string(path).unwrap();
        let to = text.lines().find_map(|line| line.strip_prefix("To: ")).expect("a recipient");
        told.extend(text.contains("X-Dogwatch-Event: sla.breached").then(|| to.to_owned()));
    }
    told.sort_unstable();
    told.dedup();
    assert_eq!(told, ["erik@demo.example", "oncall@demo.example", "rita@demo.example"]);
}
