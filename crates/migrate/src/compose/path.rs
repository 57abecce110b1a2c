//! Paths as texts: everything that a Compose file names is named from some directory.

/// A path of a file, seen from a directory: absolute ones stay as they are, in others `.` and `..` are resolved. A leading `~` stays for whoever knows the home directory.
#[must_use]
pub(super) fn join(directory: &str, path: &str) -> String {
    if path.starts_with('/') || path.starts_with('~') {
        return path.to_owned();
    }
    if directory.is_empty() {
        return clean(path);
    }
    clean(&format!("{directory}/{path}"))
}

/// The directory of a file.
#[must_use]
pub(super) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) => "/",
        Some(end) => &path[..end],
        None => "",
    }
}

fn clean(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_and_cleaned() {
        for (directory, path, joined) in [
            ("/srv", "./d", "/srv/d"),
            ("/srv/a", "../d", "/srv/d"),
            ("", "./d", "d"),
            ("sub", "d", "sub/d"),
            ("sub", "../../d", "../d"),
            ("/srv", "/x/", "/x/"),
            ("/srv", "~/d", "~/d"),
            ("/", "../..", "/"),
            ("/srv", "d//e/.", "/srv/d/e"),
            ("", ".", "."),
        ] {
            assert_eq!(join(directory, path), joined, "{directory} {path}");
        }
        assert_eq!(parent("/a/b"), "/a");
        assert_eq!(parent("/a"), "/");
        assert_eq!(parent("a"), "");
    }
}
