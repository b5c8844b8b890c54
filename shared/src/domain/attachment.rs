//! Files that belong to tickets: what they may be called, what they may be, and whether they may be read.

super::text_enum! {
    /// Whether a file may be read.
    State {
        /// Nobody looks for malware here.
        Unscanned = "unscanned",
        /// It is looked at; nobody may read it yet.
        Pending = "pending",
        /// Nothing was found.
        Clean = "clean",
        /// Malware was found; nobody may read it.
        Quarantined = "quarantined",
    }
}

/// At most as many bytes to a file.
pub const LARGEST: u64 = 50 * 1024 * 1024;

/// At most as many bytes to a name.
const LONGEST_NAME: usize = 255;

/// How the content of a type is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// By how it begins, as one of these media types.
    Magic(&'static [&'static str]),
    /// It is text in UTF-8, and no script.
    Text,
}

/// A type of file that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileType {
    /// How names of such files end, without the dot.
    pub extension: &'static str,
    /// What it is served as.
    pub media_type: &'static str,
    /// How its content is known.
    pub content: Content,
}

const fn magic(extension: &'static str, media_type: &'static str, is: &'static [&'static str]) -> FileType {
    FileType { extension, media_type, content: Content::Magic(is) }
}

const fn text(extension: &'static str, media_type: &'static str) -> FileType {
    FileType { extension, media_type, content: Content::Text }
}

const WORD: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const SHEET: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
const SLIDES: &str = "application/vnd.openxmlformats-officedocument.presentationml.presentation";
const ZIP: &str = "application/zip";

/// Every type that is taken. Markup that a browser would run, such as HTML and SVG, is none of them.
pub const TYPES: [FileType; 21] = [
    magic("png", "image/png", &["image/png"]),
    magic("jpg", "image/jpeg", &["image/jpeg"]),
    magic("jpeg", "image/jpeg", &["image/jpeg"]),
    magic("gif", "image/gif", &["image/gif"]),
    magic("webp", "image/webp", &["image/webp"]),
    magic("mp4", "video/mp4", &["video/mp4"]),
    magic("pdf", "application/pdf", &["application/pdf"]),
    // An office document is an archive; which of them shows only further inside than is looked.
    magic("zip", ZIP, &[ZIP, WORD, SHEET, SLIDES]),
    magic("docx", WORD, &[ZIP, WORD]),
    magic("xlsx", SHEET, &[ZIP, SHEET]),
    magic("pptx", SLIDES, &[ZIP, SLIDES]),
    magic("gz", "application/gzip", &["application/gzip"]),
    magic("tgz", "application/gzip", &["application/gzip"]),
    text("txt", "text/plain; charset=utf-8"),
    text("log", "text/plain; charset=utf-8"),
    text("md", "text/plain; charset=utf-8"),
    text("csv", "text/csv; charset=utf-8"),
    text("json", "application/json"),
    text("xml", "application/xml"),
    text("yaml", "text/plain; charset=utf-8"),
    text("eml", "message/rfc822"),
];

impl FileType {
    /// The type that a name promises.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let (_, extension) = name.rsplit_once('.')?;
        TYPES.into_iter().find(|known| known.extension.eq_ignore_ascii_case(extension))
    }

    /// Tells whether a file that begins so is of this type. `magic` is the media type that its first bytes stand for;
    /// `whole` tells whether these are all there are.
    #[must_use]
    pub fn fits(&self, beginning: &[u8], magic: Option<&str>, whole: bool) -> bool {
        match self.content {
            Content::Magic(known) => magic.is_some_and(|magic| known.contains(&magic)),
            Content::Text => {
                magic.is_none_or(|magic| magic.starts_with("text/")) && is_text(beginning, whole)
            }
        }
    }
}

/// Tells whether a file that begins so is text: UTF-8 without NUL, and not a script that a system would run.
fn is_text(beginning: &[u8], whole: bool) -> bool {
    let readable = match std::str::from_utf8(beginning) {
        Ok(_) => true,
        // The beginning may end within a character.
        Err(error) => !whole && error.error_len().is_none(),
    };
    let plain = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning);
    readable && !plain.starts_with(b"#!") && !beginning.contains(&0)
}

/// What a file is called here: the last part of the path that its sender gave, without characters that could show it as
/// something else, and cut to 255 bytes before its extension. `None` when nothing is left.
#[must_use]
pub fn plain_name(sent: &str) -> Option<String> {
    // Marks of the direction of writing can make `gpj.exe` of `exe.jpg`.
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let last = sent.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = last.chars().filter(|c| !odd(*c)).collect();
    let name = name.trim().trim_end_matches(['.', ' ']);
    let is_hidden_only = name.trim_matches('.').is_empty();
    if is_hidden_only {
        return None;
    }
    if name.len() <= LONGEST_NAME {
        return Some(name.to_owned());
    }
    let (stem, extension) = name.rsplit_once('.').filter(|(_, end)| end.len() <= 20).unwrap_or((name, ""));
    let room = LONGEST_NAME - extension.len() - 1;
    let stem = &stem[..stem.floor_char_boundary(room)];
    Some(if extension.is_empty() { stem.to_owned() } else { format!("{stem}.{extension}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_a_path() {
        let cases = [
            ("../../etc/passwd.txt", Some("passwd.txt")),
            ("C:\\Users\\me\\shot.png", Some("shot.png")),
            ("a\r\nSet-Cookie: x.txt", Some("aSet-Cookie: x.txt")),
            ("\u{202e}gnp.exe", Some("gnp.exe")),
            (" spaced .txt. ", Some("spaced .txt")),
            ("..", None),
            ("../..", None),
            ("dir/", None),
            ("\0\u{1}", None),
            ("", None),
        ];
        for (sent, name) in cases {
            assert_eq!(plain_name(sent).as_deref(), name, "{sent:?}");
        }
        let long = plain_name(&format!("{}.png", "ü".repeat(300))).unwrap();
        assert!(long.len() <= 255 && long.ends_with("ü.png"), "{long}");
    }

    #[test]
    fn a_file_must_be_what_its_name_says() {
        let png = FileType::of("SHOT.PNG").unwrap();
        assert!(png.fits(b"\x89PNG", Some("image/png"), true));
        assert!(!png.fits(b"MZ", Some("application/vnd.microsoft.portable-executable"), true));
        assert!(!png.fits(b"hello", None, true));
        let log = FileType::of("server.log").unwrap();
        assert!(log.fits("grüß".as_bytes(), None, true));
        assert!(log.fits(&"grü".as_bytes()[..3], None, false), "cut within a character");
        for bad in [
            &b"\x7fELF\x02\x01\x01\0"[..],
            b"MZ\x90\0",
            b"#!/bin/sh",
            b"\xef\xbb\xbf#!x",
            b"\xfe\xed\xfa\xce",
        ] {
            assert!(!log.fits(bad, None, true), "{bad:?}");
        }
        assert!(!log.fits(b"%PDF-1.7", Some("application/pdf"), true));
        assert!(
            ["x.exe", "x.html", "x.svg", "x.sh", "x", "png"].iter().all(|name| FileType::of(name).is_none())
        );
    }
}
