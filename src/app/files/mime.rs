//! The type of a file by the end of its name.

/// The type that a file's name stands for, as Content-Type writes it; octet-stream when unknown.
/// Text is UTF-8.
pub(super) fn of(name: &str) -> &'static str {
    let file = name.rsplit('/').next().unwrap_or(name);
    let Some((stem, end)) = file.rsplit_once('.') else { return UNKNOWN };
    let known = TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(end));
    known.filter(|_| !stem.is_empty()).map_or(UNKNOWN, |(_, mime)| mime)
}

/// Tells whether files of this type are compressed as they are: nothing is prepared for them.
pub(super) fn is_packed(mime: &str) -> bool {
    let media = ["image/", "audio/", "video/", "font/woff"];
    let packed = ["application/gzip", "application/zip", "application/zstd", "application/x-xz"];
    mime != "image/svg+xml"
        && mime != "image/bmp"
        && (media.iter().any(|start| mime.starts_with(start)) || packed.contains(&mime))
}

const UNKNOWN: &str = "application/octet-stream";

/// The ones that are served most stand first.
const TYPES: [(&str, &str); 52] = [
    ("html", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("gif", "image/gif"),
    ("ico", "image/x-icon"),
    ("bmp", "image/bmp"),
    ("woff2", "font/woff2"),
    ("woff", "font/woff"),
    ("ttf", "font/ttf"),
    ("otf", "font/otf"),
    ("wasm", "application/wasm"),
    ("map", "application/json"),
    ("webmanifest", "application/manifest+json"),
    ("txt", "text/plain; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
    ("log", "text/plain; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("xhtml", "application/xhtml+xml"),
    ("xml", "application/xml"),
    ("rss", "application/rss+xml"),
    ("atom", "application/atom+xml"),
    ("ics", "text/calendar; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("pdf", "application/pdf"),
    ("epub", "application/epub+zip"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg"),
    ("oga", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("wav", "audio/wav"),
    ("flac", "audio/flac"),
    ("m4a", "audio/mp4"),
    ("aac", "audio/aac"),
    ("mp4", "video/mp4"),
    ("m4v", "video/mp4"),
    ("webm", "video/webm"),
    ("ogv", "video/ogg"),
    ("mov", "video/quicktime"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("gz", "application/gzip"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
    ("xz", "application/x-xz"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_name_tells_the_type() {
        assert_eq!(of("a/index.html"), "text/html; charset=utf-8");
        assert_eq!(of("A.JSON"), "application/json");
        assert_eq!(of("a.tar.gz"), "application/gzip");
        for unknown in ["", "README", "a.html/b", "html", ".html", "a.", "a.unheard-of"] {
            assert_eq!(of(unknown), UNKNOWN, "{unknown}");
        }
    }

    #[test]
    fn what_is_packed_has_no_siblings() {
        let packed = TYPES.iter().filter(|(_, mime)| is_packed(mime)).count();

        assert!(is_packed("image/png") && is_packed("font/woff2") && !is_packed("font/ttf"));
        assert!(!is_packed(of("a.svg")) && !is_packed(UNKNOWN));
        assert!(packed > 20 && packed < 30, "{packed}");
    }
}
